"A teacher whose training is killed at any moment ends as the one that was left alone"
import random, signal, subprocess, sys, time
import pytest, torch
from conftest import ROOT
from safetensors.torch import load_file
from ddnb.classifiers import learner, teachers
from ddnb.classifiers.teachers import train_teacher
from ddnb.data.load import load_data
from ddnb.errors import DdnbError
from ddnb.files import read_head
from ddnb.sets import resume

SMALL = dict(device='cpu', epochs=6, net=(('width', 8),))
TRAIN = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from ddnb.sets import resume
from ddnb.data.load import load_data
from ddnb.classifiers.teachers import train_teacher
resume.EVERY = 0.
data = load_data('digits')
Path(sys.argv[1]).touch()
train_teacher(data, 'convnet3', device='cpu', epochs=12, net=(('width', 8),))
"""

def only(folder, pattern): return next((folder/'teachers').glob(pattern))
def same(a, b):
    "The words and the weights; in which order a file lists its words is left to chance"
    one, two = (only(f, '*.safetensors') for f in (a, b))
    assert read_head(one, 'ddnb.teacher') == read_head(two, 'ddnb.teacher')
    one, two = load_file(one), load_file(two)
    return one.keys() == two.keys() and all(torch.equal(v, two[k]) for k,v in one.items())

@pytest.fixture
def cache(tmp_path, monkeypatch):
    def use(name):
        monkeypatch.setenv('DDNB_CACHE', str(tmp_path/name))
        return tmp_path/name
    return use

def dying(monkeypatch, after):
    "The training stops in the middle of a batch"
    own, seen = learner.augment, []
    def augment(*args):
        seen.append(1)
        if len(seen) > after: raise KeyboardInterrupt
        return own(*args)
    monkeypatch.setattr(learner, 'augment', augment)
    return seen

def test_interrupted_anywhere(cache, monkeypatch):
    data = load_data('digits')
    whole = cache('whole')
    train_teacher(data, 'convnet3', **SMALL)
    monkeypatch.setattr(resume, 'EVERY', 0.)
    broken, steps = cache('broken'), 0
    for after in (3, 25, 14, 1):                        # of about ten batches an epoch
        with monkeypatch.context() as m:
            seen = dying(m, after)
            with pytest.raises(KeyboardInterrupt): train_teacher(data, 'convnet3', **SMALL)
            steps += len(seen)
    state = only(broken, '*.state/*.pt')
    kept = bytearray(state.read_bytes())
    kept[len(kept)//2] ^= 1
    state.write_bytes(kept)
    with pytest.raises(DdnbError, match='damaged.*delete it'): train_teacher(data, 'convnet3', **SMALL)
    kept[len(kept)//2] ^= 1
    state.write_bytes(kept)
    train_teacher(data, 'convnet3', **SMALL)
    assert same(broken, whole)
    assert sorted(f.suffix for f in (broken/'teachers').iterdir()) == ['.safetensors'], 'the state of a finished training stays'

@pytest.mark.slow
def test_killed_at_random_moments(cache, tmp_path):
    (tmp_path/'train.py').write_text(TRAIN)
    r = random.Random(0)
    def start(name):
        cache(name)
        begun = tmp_path/'begun'
        begun.unlink(missing_ok=True)
        p = subprocess.Popen([sys.executable, '-W', 'ignore', str(tmp_path/'train.py'), str(begun)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        while not begun.exists() and p.poll() is None: time.sleep(.02)
        return p
    p = start('whole')
    t0 = time.monotonic()
    assert p.wait() == 0, p.stderr.read()
    takes, killed = time.monotonic()-t0, 0
    for _ in range(4):
        p = start('broken')
        try: p.wait(timeout=r.uniform(.03, .25)*takes)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            killed += 1
        p.wait()
    p = start('broken')
    assert p.wait() == 0, p.stderr.read()
    assert killed >= 2
    assert same(tmp_path/'broken', tmp_path/'whole')

def test_two_processes_train_one_teacher_once(cache, monkeypatch):
    "The second waits for the first, and reads what it made"
    import threading
    data, made, own = load_data('digits'), [], teachers._trained
    cache('two')
    monkeypatch.setattr(teachers, '_trained', lambda *a: made.append(1) or own(*a))
    nets = []
    both = [threading.Thread(target=lambda: nets.append(train_teacher(data, 'convnet3', **SMALL).net.state_dict())) for _ in range(2)]
    for one in both: one.start()
    for one in both: one.join()
    assert len(made) == 1 and all(torch.equal(v, nets[1][k]) for k,v in nets[0].items())
