"The wheel holds everything, weights too, and works away from the checkout"
import os, shutil, subprocess, sys, sysconfig, venv, zipfile
import pytest
from conftest import ROOT

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    tmp = tmp_path_factory.mktemp('wheel')
    files = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split('\n')
    for f in filter(None, files):
        if f.startswith(('nbs/', 'tests/')) or not (ROOT/f).is_file(): continue
        (tmp/'src'/f).parent.mkdir(parents=True, exist_ok=True); shutil.copy(ROOT/f, tmp/'src'/f)
    r = subprocess.run([sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', tmp/'dist', tmp/'src'], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr[-2000:]
    return next((tmp/'dist').glob('*.whl'))

def test_contents(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for p in (ROOT/'ddnb').rglob('*'):
        if p.is_file() and '__pycache__' not in p.parts: assert p.relative_to(ROOT).as_posix() in names, f'{p.name} is not in the wheel'
    assert any(n.endswith('LICENSE') for n in names) and not any(n.startswith(('nbs/', 'tests/')) for n in names)

def test_weights_are_small():
    for w in (ROOT/'ddnb/weights').iterdir(): assert sum(p.stat().st_size for p in w.rglob('*') if p.is_file()) <= 5*2**20, f'{w.name} is over 5 MB'

def test_main_job_from_the_wheel(wheel, tmp_path):
    "Installed without dependencies into an environment that sees this one's packages, run outside the checkout"
    clean = {k: v for k,v in os.environ.items() if k != 'PYTHONPATH'}
    env, bin = tmp_path/'env', 'Scripts' if os.name == 'nt' else 'bin'
    venv.create(env, with_pip=False, symlinks=True)
    lib = env/os.path.relpath(sysconfig.get_path('purelib'), sys.prefix)
    r = subprocess.run([sys.executable, '-m', 'pip', '--python', str(env/bin/'python'), 'install', '-q', '--no-deps', '--no-index', str(wheel)], env=clean, cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    (lib/'seen.pth').write_text('\n'.join({sysconfig.get_path('purelib'), sysconfig.get_path('platlib')}))     # path lines only: an editable ddnb there stays unseen
    r = subprocess.run([env/bin/'ddnb', 'distill', 'mgd3', '--ipc', '1', '--num-steps', '3', '--batch-size', '10', '--out', 'x'], cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    assert len(list((tmp_path/'x').glob('*/*.png'))) == 10
    where = subprocess.run([env/bin/'python', '-c', 'import ddnb; print(ddnb.__file__)'], cwd=tmp_path, env=clean, capture_output=True, text=True).stdout
    assert str(env) in where
