"The wheel holds everything, weights too, and works away from the checkout"
import os, re, shutil, subprocess, sys, sysconfig, venv, zipfile
import pytest, yaml
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

def test_weights_come_with_a_card():
    for w in (ROOT/'ddnb/weights').iterdir():
        card = (w/'README.md').read_text(encoding='utf-8')
        assert 'Licence of the weights' in card and 'Trained by' in card, w.name
        assert (ROOT/re.search(r'nbs/[\w/]+\.ipynb', card)[0]).is_file(), f'{w.name}: the page that trains it is not there'

def test_source_distribution_builds_the_same_wheel(wheel, tmp_path):
    source = wheel.parent.parent/'src'
    r = subprocess.run([sys.executable, '-m', 'build', '--sdist', '--no-isolation', '--outdir', tmp_path, source], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr[-2000:]
    import tarfile
    with tarfile.open(next(tmp_path.glob('*.tar.gz'))) as t: packed = {n.partition('/')[2] for n in t.getnames()}
    names = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith('ddnb/')}
    assert names <= packed, sorted(names - packed)[:5]

def test_release_workflow_names_what_exists():
    "As far as it goes without a network: the tag is compared with the version, and the commands are the package's"
    flow = yaml.safe_load((ROOT/'.github/workflows/release.yml').read_text())
    steps = [s['run'] for s in flow['jobs']['build']['steps'] if 'run' in s]
    version = re.search(r'^version = (.+)$', (ROOT/'settings.ini').read_text(), re.M)[1]
    check = next(s for s in steps if 'settings.ini' in s)
    for tag,ok in ((f'v{version}', True), ('v99.0.0', False)):
        r = subprocess.run(['bash', '-c', check], cwd=ROOT, env=os.environ | dict(GITHUB_REF_NAME=tag))
        assert (r.returncode == 0) == ok
    assert flow['jobs']['publish']['permissions'] == {'id-token': 'write'} and flow['jobs']['publish']['needs'] == 'build'
