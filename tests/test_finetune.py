"Fine-tuning on two processes learns what one process learns"
import subprocess, sys
import torch
from conftest import ROOT
from ddnb.data.load import load_data
from ddnb.generators.open import load_generator
from ddnb.generators.diffusion.finetune import finetune

RUN = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import torch; torch.set_num_threads(1)
from ddnb.data.load import load_data
from ddnb.generators.open import load_generator
from ddnb.generators.diffusion.finetune import finetune
finetune(load_generator('digits', 'cpu'), load_data('digits'), sys.argv[1], steps=3, batch_size=8, params='all', progress=False)
"""

def test_two_processes_learn_what_one_learns(tmp_path):
    (tmp_path/'run.py').write_text(RUN)
    r = subprocess.run([sys.executable, '-m', 'accelerate.commands.launch', '--cpu', '--num_processes', '2', '--num_machines', '1', '--mixed_precision', 'no', '--dynamo_backend', 'no', '--main_process_port', '0',
        str(tmp_path/'run.py'), str(tmp_path/'two')], capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr[-2000:]
    gen = load_generator('digits', 'cpu')
    one, _ = finetune(gen, load_data('digits'), steps=3, batch_size=8, params='all', progress=False)
    two = load_generator(tmp_path/'two/generator', 'cpu').net.state_dict()
    for n,v in one.net.state_dict().items(): torch.testing.assert_close(two[n], v, atol=2e-5, rtol=0)
    assert any((v-gen.net.state_dict()[n]).abs().max() > 1e-3 for n,v in two.items())
