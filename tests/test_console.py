"The command line as a program: signals, pipes, consoles, somebody else's methods"
import os, signal, subprocess, sys, time
from pathlib import Path
import pytest
from conftest import CLI, ROOT
from test_contract import SMALL, method
from ddnb import contract

ENV = os.environ | dict(PYTHONPATH=str(ROOT))

@pytest.mark.parametrize('number, code, word', [(signal.SIGINT, 130, 'interrupted'), (signal.SIGTERM, 143, 'ended by SIGTERM')])
@pytest.mark.parametrize('after', [.4, 2.])                 # in the imports, and a little later
def test_a_signal_has_its_line_and_its_code(number, code, word, after, tmp_path):
    heard = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)       # a shell's background jobs ignore Ctrl-C
    p = subprocess.Popen([*CLI, 'distill', 'plain', '--ipc', '50', '--out', 'x'], cwd=tmp_path, env=ENV, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    time.sleep(after)
    p.send_signal(number)
    err = p.communicate(timeout=60)[1]
    assert p.returncode == code and err.count('\n') == 1 and word in err, err

def test_nobody_reads_on():
    p = subprocess.run(f"{sys.executable} -m ddnb.cli distill | head -1", shell=True, env=ENV, cwd=ROOT, capture_output=True, text=True)
    assert p.stderr == '' and p.stdout.startswith('ddnb distill METHOD')

@pytest.mark.parametrize('encoding', ['ascii', 'latin1', 'cp437', 'cp1251', 'utf-8'])
def test_every_console_can_print_it(encoding):
    p = subprocess.run([*CLI, 'choose', '--help'], env=ENV | dict(PYTHONIOENCODING=encoding), capture_output=True)
    assert p.returncode == 0 and p.stderr == b'' and ('λ' if encoding == 'utf-8' else 'lambda') in p.stdout.decode(encoding)

def test_what_nobody_foresaw_is_one_line_and_a_file(ddnb, monkeypatch, tmp_path):
    def broken(data, ipc=1): raise TypeError('a bug')
    monkeypatch.setitem(contract.METHODS, 'broken', contract.Method('nowhere', 'broken'))
    monkeypatch.setattr('ddnb.cli.get_method', lambda name: broken)
    code, out, err = ddnb('distill', 'broken')
    assert code == 1 and err.count('\n') == 1 and 'TypeError: a bug' in err
    kept = Path(err.split('the traceback is in ')[1].split(',')[0])
    assert 'in broken' in kept.read_text()
    kept.unlink()

FOREIGN = '''
from typing import Literal, Optional
import ddnb.baselines.random as random_images
def distill(
    data,
    ipc: int = 1,                       # images per class
    share: float = 0.5,                 # 100 % at most
    size: Literal['small', 'large'] = 'small',
    scales: tuple[float, ...] = (1.,),
    repeats: Optional[int] = None,
    fast: bool = True,
    thing: 'Nowhere | None' = None,
):
    "Somebody's method, written without postponed annotations"
    assert (type(ipc), share, size, scales, repeats, fast, thing) == (int, .25, 'large', (1., 2.), 3, False, None)
    return random_images.distill(data, ipc)
'''
def test_a_method_of_somebody_else(ddnb, monkeypatch, tmp_path):
    (tmp_path/'foreign_method.py').write_text(FOREIGN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(contract.METHODS, 'foreign', contract.Method('foreign_method', 'Somebody\'s method'))
    code, out, err = ddnb('distill', 'foreign', '--ipc', 2, '--share', .25, '--size', 'large', '--scales', '1,2', '--repeats', 3, '--no-fast')
    assert code == 0 and '20 images' in out, err
    assert '100 % at most' in ddnb('distill', 'foreign', '--help')[1] and '--thing' not in ddnb('distill', 'foreign', '--help')[1]
    code, out, err = ddnb('distill', 'foreign', '--ipc', 0)
    assert code == 2 and 'ipc must be a whole number of at least 1' in err
    code, out, err = ddnb('distill', 'foreign', '--size', 'medium')
    assert code == 2 and 'small, large' in err

@pytest.mark.parametrize('name', sorted(SMALL))
def test_every_method_has_a_command(name, ddnb, monkeypatch, tmp_path):
    monkeypatch.setenv('DDNB_CACHE', str(tmp_path/'cache'))
    words = [w for k,v in SMALL[name].items() for w in ('--'+k.replace('_', '-'), v)]
    code, out, err = ddnb('distill', method(name), '--ipc', 1, '--out', 'x', *words)
    assert code == 0 and '10 images of 10 classes' in out, err
    assert (tmp_path/'x/dataset.json').is_file() and ddnb('distill', method(name), '--help')[0] == 0

def test_evaluation_without_test_images_is_known_beforehand(ddnb, tmp_path):
    from test_cli import fake, one_line
    one_line(ddnb('distill', 'random', '--data', fake(tmp_path/'pets', parts=('train',)), '--ipc', 1, '--out', 'x', '--evaluate'), 'pets has no test images')
    assert not (tmp_path/'x').exists()
