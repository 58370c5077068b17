"What version 0.1.0 wrote is read for ever"
import hashlib, shutil
import pytest
from conftest import ROOT
from ddnb.baselines.random import distill
from ddnb.classifiers.teachers import train_teacher
from ddnb.data.load import load_data
from ddnb.sets.distilled import DistilledSet

OLD = ROOT/'tests/written_by_0_1_0'
IMAGES = dict(mgd3='94be1703f34c2375', ruo='9c732b66565a4a6b', dm='db5ae73ef287a8d4')      # taken with 0.1.0
def digest(s): return hashlib.sha256(s.images.contiguous().numpy().tobytes()).hexdigest()[:16]

@pytest.mark.parametrize('name', IMAGES)
def test_finished_sets(name):
    s = DistilledSet.load(OLD/name)
    assert digest(s) == IMAGES[name] and s.verify() == [] and len(s) == 10
    assert s.info['method'] == name and s.info['versions']['ddnb'] == '0.1.0'
    if name == 'mgd3': assert s.latents.shape == (10, 4, 8, 8)

def test_an_unfinished_run_continues(tmp_path):
    shutil.copytree(OLD/'unfinished', tmp_path/'x')
    kept = {p.relative_to(tmp_path): p.stat().st_mtime_ns for p in (tmp_path/'x').glob('[012]/*.png')}
    s = distill('digits', ipc=2, out=tmp_path/'x', progress=False)
    assert digest(s) == 'd81dfbb88a65ef72' and s.verify() == []
    assert kept and kept == {p: (tmp_path/p).stat().st_mtime_ns for p in kept}, 'a finished class was made again'

def test_a_cached_teacher(tmp_path, monkeypatch):
    shutil.copytree(OLD/'cache', tmp_path/'cache')
    monkeypatch.setenv('DDNB_CACHE', str(tmp_path/'cache'))
    monkeypatch.setattr('ddnb.classifiers.teachers.student', lambda *a, **k: pytest.fail('the teacher was trained again'))
    t = train_teacher(load_data('digits'), 'convnet3', epochs=2)
    assert round(t.info['accuracy'], 1) == 85.0
