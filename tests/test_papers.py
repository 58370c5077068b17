"Printed tables: every row fits the house, every number is counted, and a row runs, is interrupted and goes on"
import inspect, json
import pytest
from ddnb.contract import check_options, get_method
from ddnb.data.load import is_known
from ddnb.evaluate.recipes import PROTOCOLS, get_recipe
from ddnb.nets import make_net
from ddnb.papers.setups import GENERATORS, paper_setup, setups
from ddnb.papers.tables import PAPERS, count_rows, read_paper, table_names, table_rows

# numbers printed in each table, counted in the papers
PRINTED = dict(
    mgd3={'1': 54, '2': 36, '3': 20, '4': 45, '5': 9, '6': 8, '7': 6, '8': 123, '9': 33, '10': 8},
    cao2={'1': 72, '2': 78, '3': 16, '4': 8, '5': 16, '6': 8, '7': 8, '8': 8, '9': 12, '10': 10, '11': 8, '11b': 8, '12': 12, '13': 12, 'fig7': 4},
    slfd={'1': 120, '2': 15, '3': 10, '4': 20, '5': 6, '6': 20, '7': 30},
    ruo={'1': 66, '2': 25, '3': 88, 'A3': 29, 'A4': 48, 'A4b': 5, 'A5': 116, 'A6': 88, 'A7': 20})
LOST = {('mgd3', '1'): 3, ('mgd3', '5'): 6, ('mgd3', '8'): 9}        # numbers that the text at hand has lost
NOT_OF_A_METHOD = {'data', 'generator', 'ipc', 'bpc', 'seed', 'batch_size', 'out', 'progress', 'device', 'dtype', 'mode_folder', 'expert_folder'}
papers = pytest.mark.parametrize('paper', PAPERS)

@papers
def test_every_printed_number_is_a_row(paper):
    assert {t: n for t,(n,_) in count_rows(paper).items()} == PRINTED[paper]
    assert {t: n-held for t,(n,held) in count_rows(paper).items() if n != held} == {t: n for (p, t),n in LOST.items() if p == paper}

@papers
def test_options_are_the_methods_own_and_all_of_them(paper):
    for r in table_rows(paper):
        if r.method is None: continue
        fn = get_method(r.method)
        check_options(fn, r.options)
        takes = set(inspect.signature(fn).parameters)
        assert set(r.options) <= takes, (r.table, r.label)
        if '*' not in r.open: assert takes - NOT_OF_A_METHOD <= set(r.options) | set(r.open), (r.table, r.label)

@papers
def test_data_protocols_networks_and_generators_exist(paper):
    for r in table_rows(paper):
        assert is_known(r.data) if r.data else r.mean_of, (r.table, r.label)
        assert set(r.protocol) <= set(PROTOCOLS) and (r.protocol or r.unit != '%')
        assert r.generator is None or r.generator in GENERATORS
        assert r.reported in (('last', 'best') if r.unit == '%' else ('',)) and r.std is None or r.std >= 0
        for p in r.protocol: get_recipe(p, r.data or 'imagenette', r.ipc or 1, 10, r.size, r.arch[0], **r.changes)
        if r.method and r.unit == '%' and not r.mean_of: assert r.ipc and r.size and r.arch, (r.table, r.label)

def test_networks_can_be_built():
    for name in {a for p in PAPERS for r in table_rows(p) for a in r.arch}: make_net(name, 10, 64)

@papers
def test_every_entry_of_a_file_is_used(paper):
    doc = read_paper(paper)
    said = {x.get('uses') for t in doc['tables'].values() for x in (t['all'], *t['columns'], *t['rows'])}
    assert set(doc['methods']) <= said

def test_numbers_checked_by_hand():
    "One of every table kind, read off the papers"
    def one(paper, table, **asked):
        found = [r for r in table_rows(paper, table) if all(getattr(r, k) == v for k,v in asked.items())]
        assert len(found) == 1, found
        return found[0].mean, found[0].std
    assert one('mgd3', 2, label='DiT + MGD3', ipc=20, arch=('resnetap10',)) == (33.9, 1.1)
    assert one('mgd3', 8, label='DiT + MGD3', ipc=100, arch=('resnet18_in',)) == (68.8, .7)
    assert one('mgd3', 10, label='MGD3, soft labels', ipc=50) == (69.2, .4)
    assert one('cao2', 1, label='CaO2', data='imagewoof', ipc=10, arch=('resnet50',)) == (40.1, .1)
    assert one('cao2', 2, label='D4M', ipc=50, arch=('resnet101',)) == (63.4, 0.)
    assert one('slfd', 1, label='DM, SLFD-Conv', data='imagefruit') == (35.44, .72)
    assert one('slfd', 4, label='SLFD G_t', arch=('vit_glad',)) == (28.45, .33)
    assert one('ruo', 'A5', label='TM-RUO', data='imagemeow', arch=('vgg11_in',)) == (49.6, 1.4)
    assert one('ruo', 'A3', label='TM-RUO', ipc=15) == (69.2, 1.5)

@papers
def test_small_scale_has_something_to_run_in_every_table_of_accuracies(paper):
    for t in table_names(paper):
        found = setups(table_rows(paper, t), 'small')
        for s in found:
            if not s.missing: check_options(get_method(s.row.method), s.options)
        if found[0].row.unit == '%' and (paper, t) != ('ruo', '2'): assert any(not s.missing for s in found), t

def test_what_cannot_be_run_says_why():
    for p in PAPERS:
        for r in table_rows(p):
            s = paper_setup(r, 'given')
            if s.missing: assert '\n' not in s.missing
            else: assert s.data and s.ipc and s.size and s.protocol and not set(s.options.values()) & {None}

FEW = dict(
    mgd3=('1', 'imagenette digits ipc=1', 'num_steps=3 iterations=2 steps=2'),
    cao2=('3', 'imagewoof ipc=10', 'num_steps=3 iterations=1 t_hat=1'),
    slfd=('1', 'imagenet-a SLFD DM', 'iterations=1 batch_real=4'),
    ruo=('A3', 'TM-RUO ipc=1', 'iterations=2 first_iterations=2 tries=1 experts=1 syn_steps=2 max_start_epoch=1'))

@pytest.mark.parametrize('paper', ['mgd3', *(pytest.param(p, marks=pytest.mark.slow) for p in PAPERS[1:])])
def test_a_row_is_interrupted_and_goes_on(ddnb, tmp_path, monkeypatch, paper):
    import ddnb.papers.referee as referee
    table, only, few = FEW[paper]
    line = ['reproduce', paper, '--table', table, '--only', only, '--scale', 'small', '--sets', '2', '--trainings', '1', '--epochs', '1', '--with', few, '--out', 'runs', '--quiet']
    real, calls = referee.evaluate, []
    def stops(*a, **kw):
        calls.append(1)
        if len(calls) == 2: raise KeyboardInterrupt
        return real(*a, **kw)
    monkeypatch.setattr(referee, 'evaluate', stops)
    code, out, err = ddnb(*line)
    assert code == 130 and 'the same command continues' in err and not list(tmp_path.glob('runs/*.json'))
    kept = {f: f.stat().st_mtime_ns for f in tmp_path.glob('runs/*/**/*') if f.is_file() and f.suffix in ('.json', '.png')}
    assert len([f for f in kept if f.parts[-4] == 'trainings']) == 1
    code, out, err = ddnb(*line)
    assert code == 0 and out.startswith(f'{paper}, table {table}'), err
    assert {f: f.stat().st_mtime_ns for f in kept} == kept, 'what was finished was made again'
    rows = json.loads((tmp_path/f'runs/{paper}-{table}.json').read_text())['rows']
    assert all(len(r['runs']) == 2 for r in rows if 'runs' in r) and any('runs' in r for r in rows)

@pytest.mark.parametrize('words, said', [
    ('mgd3 --table 12 --dry-run', 'table of mgd3'), ('mgd5', 'mgd3'), ('mgd3 --table 1', '--out'), ('mgd3 --table 1 --scale big --dry-run', 'small'),
    ('mgd3 --table 1 --only nonsense --dry-run', 'nonsense'), ('mgd3 --table 1 --sets 0 --dry-run', 'at least 1'), ('mgd3 --table 1 --with steps --out x', 'option=value')])
def test_mistakes(ddnb, tmp_path, words, said):
    code, out, err = ddnb('reproduce', *words.split())
    assert code == 2 and said in err and err.count('\n') == 1 and not out
    assert not (tmp_path/'x').exists()

@papers
def test_tables_are_listed(ddnb, paper):
    code, out, err = ddnb('reproduce', paper)
    assert code == 0 and out.count('--table') == len(PRINTED[paper])

def test_dry_run_without_anything(ddnb, tmp_path):
    code, out, err = ddnb('reproduce', 'mgd3', '--table', '1', '--only', 'imagenette ipc=10', '--dry-run', '--root', tmp_path)
    assert code == 0 and '1,800 images' in out and 'missing: data' in out and '3.4 GB' in out and not err
