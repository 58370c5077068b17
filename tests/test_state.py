"State on disk is believed only if it is what was written: a damaged file costs a piece of work or is refused in one line, and never gives other images"
import random, subprocess, sys
from pathlib import Path
from collections import Counter
from dataclasses import replace
import pytest, torch
from ddnb.classifiers.teachers import train_teacher
from ddnb.core import ClassInfo
from ddnb.data.images import Split
from ddnb.data.load import load_data
from ddnb.data.zca import ZCA
from ddnb.errors import DdnbError
from ddnb.files import read_state, write_state
from ddnb.generators.diffusion.finetune import finetune
from ddnb.generators.open import load_generator
from ddnb.matching.trajectories import Experts, make_experts
from ddnb.mgd3.discovery import discover
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

COUNT = Counter()
def survives(file, use, n):
    "Whatever one file becomes, `use` gives what it gave, or one line"
    whole, expected = file.read_bytes(), use()
    for hurt in mutations(whole, n, file.name):
        file.write_bytes(hurt)
        try: found = use()
        except DdnbError as e: assert '\n' not in str(e); COUNT[file.name, 'refused'] += 1
        else: assert len(found) == len(expected) and all(map(torch.equal, found, expected)), file; COUNT[file.name, 'the same'] += 1
    file.write_bytes(whole)
    use()

def kept_survive(kind, tmp_path, n, monkeypatch):
    "Experts, teachers, modes, whitenings, fine-tunings"
    monkeypatch.setenv('DDNB_CACHE', str(tmp_path/'cache'))
    data = load_data('digits', size=16)
    data = replace(data, train=Split(data.train.labels[:60], 16, images=data.train.images[:60]))
    if kind == 'experts':
        def make(): return make_experts(tmp_path/'e', data, 2, epochs=1, progress=False, width=4, families='')
        make()
        for k in (0, 1): survives(tmp_path/f'e/expert_{k:04d}.safetensors', lambda: [w for i in (0, 1) for w in Experts(tmp_path/'e', data).at(i, 0, 1)], n)
    if kind == 'teacher':
        def use(): return list(train_teacher(data, 'convnet3', net=(('width', 4),), epochs=1).net.state_dict().values())
        use()
        survives(next((tmp_path/'cache/teachers').iterdir()), use, n)
    if kind == 'modes':
        gen, full = load_generator('digits'), load_data('digits')
        def use(): return list(discover(gen, full, 2, [3], progress=False, folder=tmp_path/'m').values())
        use()
        for file in sorted(tmp_path.glob('m/*/*')): survives(file, use, n)
    if kind == 'whitening':
        ZCA().fit(data).save(tmp_path/'z.safetensors')
        def use(): return [(z := ZCA.load(tmp_path/'z.safetensors')).W, z.W_inv, z.mean, torch.tensor(z.shape)]
        survives(tmp_path/'z.safetensors', use, n)
    if kind == 'fine-tuning':
        gen = load_generator('digits')
        full = load_data('digits')
        full = replace(full, train=Split(full.train.labels[:16], 32, images=full.train.images[:16]))
        def use(): return [p for p in finetune(gen, full, tmp_path/'f', steps=1, batch_size=2, progress=False)[0].net.parameters()]
        use()
        for file in ('finetune.json', 'step-1.safetensors'): survives(tmp_path/'f'/file, use, n)

KINDS = pytest.mark.parametrize('kind', ('experts', 'teacher', 'modes', 'whitening', 'fine-tuning'))
@KINDS
def test_what_is_kept(kind, tmp_path, monkeypatch): kept_survive(kind, tmp_path, 1, monkeypatch)
@pytest.mark.slow
@KINDS
def test_much_of_what_is_kept(kind, tmp_path, monkeypatch): kept_survive(kind, tmp_path, 100, monkeypatch)

def test_a_teacher_under_another_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv('DDNB_CACHE', str(tmp_path))
    data = load_data('digits', size=16)
    data = replace(data, train=Split(data.train.labels[:60], 16, images=data.train.images[:60]))
    def train(seed): return train_teacher(data, 'convnet3', seed, net=(('width', 4),), epochs=1)
    train(0)
    one = next((tmp_path/'teachers').iterdir())
    kept = one.read_bytes()
    one.unlink(); train(1)
    next((tmp_path/'teachers').iterdir()).write_bytes(kept)
    with pytest.raises(DdnbError, match="another job's teacher .*delete it"): train(1)

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
