"The command line, from outside"
import json, os, signal, subprocess, time
import torch
from PIL import Image
from conftest import CLI, ROOT
from ddnb.sets.distilled import DistilledSet

QUICK = ('--num-steps', 4, '--batch-size', 16)

def fake(root, classes=('cat', 'dog'), n=4, size=32, parts=('train', 'test')):
    for part in parts:
        for k,c in enumerate(classes):
            (root/part/c).mkdir(parents=True)
            for i in range(n): Image.new('RGB', (size, size), (60*k, 30*i, 100)).save(root/part/c/f'{i}.png')
    return root

def one_line(result, *words):
    code, out, err = result
    assert code == 2 and err.count('\n') == 1 and err.startswith('ddnb: ') and 'Traceback' not in err, (code, out, err)
    for w in words: assert w in err, err

def test_main_job(ddnb, tmp_path):
    code, out, err = ddnb('distill', 'mgd3', '--data', 'digits', '--ipc', 1, '--out', 'runs/x', '--evaluate', '--repeats', 1, '--epochs', 9, *QUICK)
    assert code == 0, err
    assert 'random' in out and 'mgd3' in out and 'contact.png' in out and '±' in out and 'scaled down for digits' in out
    assert Image.open(tmp_path/'runs/x/contact.png').size[1] > 600
    assert '\r' not in out and '█' not in out, 'progress bars belong to terminals'
    meta = [json.loads(l) for l in (tmp_path/'runs/x/metadata.jsonl').read_text().splitlines()]
    assert len(meta) == 10 and meta[3] == dict(file_name='3/00000.png', label=3, class_name='3')
    assert ddnb('verify', 'runs/x')[0] == 0
    code, out, _ = ddnb('evaluate', 'runs/x', '--repeats', 1, '--epochs', 3)
    assert code == 0 and 'runs/x' in out and 'epochs=3' in out

def test_a_killed_run_continues(ddnb, tmp_path):
    args = ['distill', 'plain', '--ipc', '2', '--num-steps', '20', '--batch-size', '4', '--out', 'x']
    p = subprocess.Popen([*CLI, *args], cwd=tmp_path, env=os.environ | dict(PYTHONPATH=str(ROOT)))
    t0 = time.time()
    while len(list(tmp_path.glob('x/.parts/*.json'))) < 2 and time.time()-t0 < 100: time.sleep(.02)
    p.send_signal(signal.SIGKILL); p.wait()
    assert 2 <= len(list(tmp_path.glob('x/.parts/*.json'))) < 10
    one_line(ddnb('verify', 'x'), 'not finished')
    assert ddnb(*args)[0] == 0 and ddnb(*args[:-1], 'y')[0] == 0
    a, b = DistilledSet.load(tmp_path/'x'), DistilledSet.load(tmp_path/'y')
    assert torch.equal(a.images, b.images) and torch.equal(a.latents, b.latents) and a.verify() == []

def test_names(ddnb):
    one_line(ddnb('distil'), "unknown command 'distil'; did you mean distill")
    one_line(ddnb('distill', 'mdg3'), 'did you mean mgd3')
    one_line(ddnb('distill', 'mgd3', '--data', 'cifar1O'), "unknown data set 'cifar1O'; did you mean cifar10")
    one_line(ddnb('distill', 'mgd3', '--generator', 'digitz'), 'did you mean digits')
    one_line(ddnb('distill', 'mgd3', '--mode-guidence', 1), 'did you mean --mode-guidance')

def test_ipc(ddnb, tmp_path):
    one_line(ddnb('distill', 'mgd3', '--ipc', 0, '--out', 'x'), 'ipc must be')
    one_line(ddnb('distill', 'mgd3', '--ipc', 1000, '--out', 'x'), 'ipc 1000 is more than', 'training images of class')
    one_line(ddnb('distill', 'random', '--ipc', 'many', '--out', 'x'), "'many' is not a whole number")
    assert not (tmp_path/'x').exists()

def test_folders(ddnb, tmp_path):
    one_line(ddnb('distill', 'random', '--data', tmp_path/'nowhere'), 'no folder')
    one_line(ddnb('distill', 'random', '--data', tmp_path), 'has no train/ folder')
    root = fake(tmp_path/'pets'); (root/'train/eel').mkdir(); (root/'test/eel').mkdir()
    one_line(ddnb('distill', 'random', '--data', root, '--ipc', 1, '--out', 'x'), 'eel holds no images')
    (tmp_path/'thesis').mkdir(); (tmp_path/'thesis/main.tex').write_text('')
    one_line(ddnb('distill', 'random', '--ipc', 1, '--out', 'thesis'), 'other files')
    assert [p.name for p in (tmp_path/'thesis').iterdir()] == ['main.tex'] and not (tmp_path/'x').exists()

def test_another_set(ddnb, tmp_path):
    assert ddnb('distill', 'random', '--ipc', 1, '--out', 'x')[0] == 0
    kept = {p: p.read_bytes() for p in (tmp_path/'x').rglob('*') if p.is_file()}
    one_line(ddnb('distill', 'random', '--ipc', 2, '--out', 'x'), 'another set: ipc is 1 there and 2 here')
    one_line(ddnb('distill', 'mgd3', '--ipc', 1, '--out', 'x', *QUICK), "another set: method is 'random' there")
    assert kept == {p: p.read_bytes() for p in (tmp_path/'x').rglob('*') if p.is_file()}

def test_a_corrupt_image(ddnb, tmp_path):
    root = fake(tmp_path/'pets'); (root/'train/dog/9.png').write_bytes((root/'train/dog/0.png').read_bytes()[:40])
    for method in ('random', 'mgd3'):
        extra = ('--generator', twoclass(tmp_path/'gen'), *QUICK) if method == 'mgd3' else ()
        one_line(ddnb('distill', method, '--data', root, '--ipc', 2, '--out', 'x', *extra), 'dog/9.png', '--skip-bad')
        assert not (tmp_path/'x').exists()
        code, _, err = ddnb('distill', method, '--data', root, '--ipc', 2, '--out', method, '--skip-bad', *extra)
        assert code == 0, err
        assert json.loads((tmp_path/method/'dataset.json').read_text())['data']['skipped'] == ['dog/9.png: not a readable image']

def twoclass(folder):
    "A generator of random weights for cats and dogs, in the format that every generator has"
    from ddnb.generators.diffusion.latent import LatentDiffusion
    from ddnb.generators.diffusion.schedule import linear_betas
    from ddnb.generators.diffusion.train import small_dit, small_vae
    if not folder.exists(): LatentDiffusion(small_vae(), small_dit(2), linear_betas(), class_names=['cat', 'dog'], device='cpu').save(folder)
    return folder

def test_own_folder_and_own_generator(ddnb, tmp_path):
    root, gen = fake(tmp_path/'pets', size=48), twoclass(tmp_path/'gen')
    code, out, err = ddnb('distill', 'mgd3', '--data', root, '--generator', gen, '--ipc', 2, '--out', 'x', *QUICK)
    assert code == 0, err
    s = DistilledSet.load(tmp_path/'x')
    assert s.images.shape == (4, 3, 32, 32) and [c.name for c in s.classes] == ['cat', 'dog'] and len(s.info['generator']['sha256']) == 64
    code, out, err = ddnb('evaluate', 'x', '--data', root, '--repeats', 1, '--epochs', 2)
    assert code == 0 and 'pets' in out, err
    one_line(ddnb('distill', 'mgd3', '--data', root, '--ipc', 1), 'no generator belongs to pets', f'ddnb train --data {root} --out gen')
    one_line(ddnb('distill', 'mgd3', '--data', root, '--generator', 'digits', '--ipc', 1), "cannot make 'cat'")
    one_line(ddnb('distill', 'mgd3', '--generator', tmp_path, '--ipc', 1), 'is no generator')
    one_line(ddnb('distill', 'mgd3', '--data', root, '--generator', gen, '--size', 48, '--ipc', 1, '--out', 'z', *QUICK), 'works at 32 px')
    assert not (tmp_path/'z').exists()
