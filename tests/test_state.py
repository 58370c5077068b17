"State on disk is believed only if it is what was written: a damaged file costs a piece of work or is refused in one line, and never gives other images"
import random, subprocess, sys
from pathlib import Path
import pytest, torch
from ddnb.core import ClassInfo
from ddnb.errors import DdnbError
from ddnb.files import read_state, write_state
from ddnb.sets import resume
from ddnb.sets.distilled import DistilledSet
from ddnb.sets.folder import SetWriter

CLASSES = [ClassInfo(n) for n in ('猫', 'кошка', 'a b', 'a-b', '🐈')]
INFO = dict(method='demo', seed=0, ipc=2, options={})
IMAGES = torch.rand(5, 2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
LATENTS = torch.rand(5, 2, 1, 2, 2, generator=torch.Generator().manual_seed(1))

def run(out, classes=range(5), info=INFO):
    w = SetWriter(out, info, CLASSES)
    for c in classes:
        if c not in w.done: w.put(c, IMAGES[c], LATENTS[c])
    return w.close() if len(w.done) == 5 else None

def mutations(data, n, seed):
    "Copies of a file's bytes, each hurt in one way"
    r = random.Random(seed)
    yield from (b'', b'{}', b'[]', b'null', data[:len(data)//2], data[1:], data[:-1], data+b'x', b'['*100_000)
    for _ in range(n):
        hurt = bytearray(data)
        hurt[r.randrange(len(data))] ^= 1 << r.randrange(8)
        yield bytes(hurt)

def walk(keep, stop=None):
    x, seen = torch.zeros(3), []
    opt = torch.optim.SGD([x], .1, momentum=.9)
    for it in keep.steps(6, dict(x=x, opt=opt, seen=seen), show=False):
        if it == stop: raise KeyboardInterrupt
        x.grad = torch.full((3,), float(it))
        opt.step()
        seen.append(it)
    return x

def parts_survive(tmp_path, n, only=None):
    run(tmp_path/'x', range(3))
    for file in sorted((tmp_path/'x/.parts').iterdir())[:only]:
        whole = file.read_bytes()
        for k,hurt in enumerate(mutations(whole, n, file.name)):
            copy = tmp_path/f'{file.name}-{k}'
            subprocess.run(['cp', '-r', tmp_path/'x', copy], check=True)
            (copy/'.parts'/file.name).write_bytes(hurt)
            try: s = run(copy)
            except DdnbError as e: assert '\n' not in str(e)
            else: assert s.images.equal(IMAGES.flatten(0, 1)) and s.latents.equal(LATENTS.flatten(0, 1)) and s.verify() == []

def states_survive(tmp_path, n, monkeypatch):
    monkeypatch.setattr(resume, 'EVERY', 0.)
    whole = walk(resume.Resume())
    with pytest.raises(KeyboardInterrupt): walk(resume.Resume(tmp_path/'.parts', lambda: (tmp_path/'.parts').mkdir(exist_ok=True)), stop=1)
    file = tmp_path/'.parts/steps.pt'
    kept = file.read_bytes()
    for hurt in mutations(kept, n, 0):
        file.write_bytes(hurt)
        try: assert walk(resume.Resume(tmp_path/'.parts')).equal(whole)
        except DdnbError as e: assert 'delete it' in str(e) and '\n' not in str(e)

def test_parts(tmp_path): parts_survive(tmp_path, 1, only=2)
def test_states(tmp_path, monkeypatch): states_survive(tmp_path, 20, monkeypatch)
@pytest.mark.slow
def test_many_parts(tmp_path): parts_survive(tmp_path, 100)
@pytest.mark.slow
def test_many_states(tmp_path, monkeypatch): states_survive(tmp_path, 3000, monkeypatch)

def test_parts_of_other_classes_and_other_runs(tmp_path):
    run(tmp_path/'a', range(3))
    run(tmp_path/'b', range(3), INFO | dict(seed=1))
    parts = tmp_path/'a/.parts'
    for end in ('.json', '.safetensors'):
        one, two = (parts/f'{k}{end}' for k in (0, 1))
        kept = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(kept)
    (parts/'2.json').write_bytes((tmp_path/'b/.parts/2.json').read_bytes())
    assert list(SetWriter(tmp_path/'a', INFO, CLASSES).done) == []
    assert run(tmp_path/'a').images.equal(IMAGES.flatten(0, 1))

def test_a_noted_part_that_is_missing_is_an_error(tmp_path):
    w = SetWriter(tmp_path/'x', INFO, CLASSES)
    for c in range(5): w.put(c, IMAGES[c], LATENTS[c])
    (tmp_path/'x/.parts/3.safetensors').unlink()
    with pytest.raises(DdnbError, match='3.safetensors'): w.close()
    assert run(tmp_path/'x').latents.equal(LATENTS.flatten(0, 1))
    w = SetWriter(tmp_path/'y', INFO, CLASSES)
    for c in range(5): w.put(c, IMAGES[c], LATENTS[c] if c else None)
    with pytest.raises(DdnbError, match='other tensors'): w.close()

def test_killed_before_its_first_manifest(tmp_path):
    (tmp_path/'x/.parts').mkdir(parents=True)
    (tmp_path/'x/.DS_Store').write_bytes(b'')
    assert run(tmp_path/'x').verify() == []

def test_two_runs_of_one_job(tmp_path):
    code = "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; from test_state import run; assert run(Path(sys.argv[1])).verify() == []"
    ps = [subprocess.Popen([sys.executable, '-W', 'ignore', '-c', code, str(tmp_path/'x'), str(Path(__file__).parent)], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for p in ps: assert (p.communicate()[1], p.returncode) == ('', 0)
    s = DistilledSet.load(tmp_path/'x')
    assert s.images.equal(IMAGES.flatten(0, 1)) and s.latents.equal(LATENTS.flatten(0, 1)) and not (tmp_path/'x/.parts').exists()

def test_a_full_disk_keeps_finished_classes(tmp_path, monkeypatch):
    import os
    run(tmp_path/'x', range(2))
    def full(*_): raise OSError(28, 'No space left on device')
    with monkeypatch.context() as m:
        m.setattr(os, 'fsync', full)
        with pytest.raises(DdnbError, match='No space left on device'): run(tmp_path/'x')
    assert list(SetWriter(tmp_path/'x', INFO, CLASSES).done) == [0, 1]
    assert sorted(p.suffix for p in (tmp_path/'x/.parts').iterdir()) == ['.json']*2 + ['.safetensors']*2
    assert run(tmp_path/'x').verify() == []

def test_damaged_state_says_which_file(tmp_path):
    write_state(tmp_path/'a.json', dict(x=1), about='job 1')
    for about in ('job 2', ''):
        with pytest.raises(DdnbError, match='a.json .*delete it'): read_state(tmp_path/'a.json', about)
