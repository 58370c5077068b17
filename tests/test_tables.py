"Tables that were interrupted measure what is missing, and nothing of another recipe"
import csv, os, random, signal, subprocess, sys
import pytest, torch
from conftest import ROOT
from PIL import Image
from ddnb.baselines.random import distill
from ddnb.classifiers import learner
from ddnb.data.load import load_data
from ddnb.errors import DataWarning
from ddnb.evaluate import units
from ddnb.evaluate.comparison import compare
from ddnb.evaluate.scores import evaluate, evaluation_units
from ddnb.sets import resume

FEW = dict(epochs=4, evals=1, net=(('width', 8),), progress=False, device='cpu')

@pytest.fixture(scope='module')
def data(): return load_data('digits')
@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch): monkeypatch.setenv('DDNB_CACHE', str(tmp_path/'cache'))
@pytest.fixture
def trained(monkeypatch):
    "Seeds of the trainings that were really run"
    seeds, own = [], units.train_student
    def counted(*args, seed=0, **kw):
        run = own(*args, seed=seed, **kw)
        seeds.append(seed)
        return run
    monkeypatch.setattr(units, 'train_student', counted)
    return seeds

def accuracies(comparison): return {n: [(r['last'], r['best'], r['history']) for r in s.runs] for n,s in comparison.scores.items()}

def test_an_interrupted_table_ends_as_an_undisturbed_one(data, tmp_path, trained, monkeypatch):
    sets = dict(a=distill(data, 1, 5), b=[distill(data, 1, k) for k in (6, 7)])
    whole = compare(sets, data, repeats=2, **FEW)
    assert len(trained) == 2+2+2+4
    own, steps = learner.augment, []
    def dying(*args):
        steps.append(1)
        if len(steps) in (10, 25): raise KeyboardInterrupt      # of four steps each
        return own(*args)
    monkeypatch.setattr(learner, 'augment', dying)
    monkeypatch.setattr(resume, 'EVERY', 0.)
    trained.clear()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt): compare(sets, data, repeats=2, keep=tmp_path/'kept', **FEW)
    again = compare(sets, data, repeats=2, keep=tmp_path/'kept', **FEW)
    assert len(trained) == 10 and len(steps) == 40+2, 'what was done was done again'
    assert accuracies(again) == accuracies(whole)
    assert {f.suffix for f in (tmp_path/'kept').iterdir()} == {'.json'}

def test_what_else_is_another_training(data, tmp_path, trained):
    s, keep = distill(data, 1), dict(keep=tmp_path/'kept')
    first = evaluate(s, data, repeats=1, **keep, **FEW)
    for changes in (dict(lr=.02), dict(epochs=5), dict(cutmix=0.), dict(arch='convnet4'), dict(protocol='dc'), dict(seed=1), dict(net=(('width', 9),)),
                    dict(resize='squash'), dict(size=16)):
        trained.clear()
        evaluate(s, data, repeats=1, **FEW | keep | changes)
        assert len(trained) == 1, changes
    trained.clear()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before+1)
        evaluate(s, data, repeats=1, **FEW | keep)
    finally: torch.set_num_threads(before)
    assert len(trained) == 1
    assert evaluate(s, data, repeats=1, **FEW | keep).runs == first.runs and len(trained) == 1

def test_a_damaged_result_is_measured_again(data, tmp_path, trained):
    s, keep = distill(data, 1), dict(keep=tmp_path/'kept')
    first = evaluate(s, data, repeats=1, **keep, **FEW)
    file, = (tmp_path/'kept').iterdir()
    whole, r = file.read_bytes(), random.Random(0)
    for hurt in (b'', b'{}', whole[:-1], whole.replace(b'"last"', b'"lost"'), *(bytes([*whole[:k], whole[k] ^ 1, *whole[k+1:]]) for k in r.sample(range(len(whole)), 3))):
        file.write_bytes(hurt)
        trained.clear()
        with pytest.warns(DataWarning, match='measured again'): again = evaluate(s, data, repeats=1, **keep, **FEW)
        assert again.runs[0]['history'] == first.runs[0]['history'] and len(trained) == 1

def test_units_are_run_by_anyone_in_any_order(data, tmp_path):
    s = distill(data, 1)
    whole = evaluate(s, data, repeats=3, **FEW)
    more = {k: v for k,v in FEW.items() if k != 'progress'}
    def some(): return evaluation_units(s, data, repeats=3, keep=tmp_path/'kept', **more)
    for k in (2, 0): some()[k].run()
    assert [u.kept() is not None for u in some()] == [True, False, True]
    assert [r['history'] for r in evaluate(s, data, repeats=3, keep=tmp_path/'kept', **FEW).runs] == [r['history'] for r in whole.runs]

def test_the_command_line_keeps_by_itself(ddnb, tmp_path, trained):
    distill('digits', ipc=1, seed=5, out=tmp_path/'x')
    def call(*more): return ddnb('evaluate', 'x', '--epochs', 2, '--table', 't.csv', '--device', 'cpu', *more)
    assert call('--repeats', 1)[0] == 0 and len(trained) == 3
    code, out, err = call('--repeats', 2)
    assert code == 0 and len(trained) == 3+3 and '1 of 2 trainings were finished before' in out
    assert len(list(csv.DictReader(open(tmp_path/'t.csv')))) == 6
    assert call('--repeats', 2, '--keep', 'here')[0] == 0 and len(trained) == 12 and len(list((tmp_path/'here').iterdir())) == 6
    assert call('--repeats', 2, '--keep', 'none')[0] == 0 and len(trained) == 18
    assert call('--keep', 't.csv')[0] == 2

@pytest.mark.slow
def test_two_commands_share_a_table(tmp_path):
    distill('digits', ipc=1, seed=5, out=tmp_path/'x')
    argv = [sys.executable, '-W', 'ignore', '-m', 'ddnb.cli', 'evaluate', 'x', '--repeats', '4', '--epochs', '40', '--device', 'cpu', '--quiet']
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    def start(table): return subprocess.Popen([*argv, '--table', table], cwd=tmp_path, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    r = random.Random(1)
    for _ in range(2):                                  # and one that is killed
        p = start('killed.csv')
        try: p.wait(timeout=r.uniform(8, 16))
        except subprocess.TimeoutExpired: p.send_signal(signal.SIGKILL)
        p.wait()
    ps = [start(f'{k}.csv') for k in range(2)]
    for p in ps: assert (p.wait(), p.stderr.read()) == (0, '')
    rows = [[{k: v for k,v in row.items() if k != 'seconds'} for row in csv.DictReader(open(tmp_path/f'{k}.csv'))] for k in range(2)]
    assert rows[0] == rows[1] and len(rows[0]) == 3*4

def test_photos_are_read_as_the_protocol_reads_them(tmp_path):
    "Wide pictures, white in the middle: a crop sees more white than a squashed picture"
    for part in ('train', 'test'):
        for c in 'ab':
            (tmp_path/'d'/part/c).mkdir(parents=True)
            for k in range(3):
                img = Image.new('RGB', (96, 32))
                img.paste((255, 255, 255), (32, 0, 64, 32))
                img.putpixel((k, k), (9, 9, 9) if c == 'a' else (99, 9, 9))
                img.save(tmp_path/'d'/part/c/f'{k}.png')
    data = load_data(tmp_path/'d', size=32)
    s = distill(data, 1)
    few = dict(repeats=1, epochs=1, evals=1, arch='convnet3', device='cpu')
    for protocol,changes,way,white in (('hard', {}, 'torchvision', 1.), ('glad', {}, 'torchvision', 1.), ('dc', {}, 'squash', 1/3), ('dc', dict(resize='adm'), 'adm', 1.)):
        u, = evaluation_units(s, data, protocol, **few, **changes)
        assert u.r.resize == way == u.data.test.resize and u.data.train.resize == way
        assert abs(u.data.test.batch(torch.arange(6)).float().mean()/255 - white) < .02
