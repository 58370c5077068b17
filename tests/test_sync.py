"The package is exactly what the notebooks export, and the notebooks are clean"
import json, re
from conftest import ROOT
from nbdev.doclinks import nbglob
from nbdev.export import nb_export

def code(p): return [l for l in p.read_text(encoding='utf-8').splitlines() if not l.startswith('# ')]

def test_modules_are_what_the_notebooks_export(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    lib, new = ROOT/'ddnb', tmp_path/'ddnb'
    for f in sorted(nbglob(as_path=True), key=lambda p: p.name): nb_export(f, lib_path=new)
    fresh = {p.relative_to(new): code(p) for p in new.rglob('*.py')}
    kept = {p.relative_to(lib): code(p) for p in lib.rglob('*.py')}
    assert not {p for p in kept if p.name not in ('__init__.py', '_modidx.py')} - set(fresh), 'modules that no notebook exports'
    assert not {p for p in fresh if fresh[p] != kept.get(p)}, 'out of date: run nbdev_export'

def test_no_two_notebooks_export_one_module():
    found = [m for p in (ROOT/'nbs').rglob('*.ipynb') for m in re.findall(r'#\| default_exp (\S+?)(?:\\n|")', p.read_text())]
    assert len(found) == len(set(found)) and len(found) > 15

def test_notebooks_are_clean():
    for p in sorted((ROOT/'nbs').rglob('*.ipynb')):
        cells = json.loads(p.read_text())['cells']
        assert all(c.get('execution_count') is None for c in cells), f'{p.name}: run nbdev_clean'
        assert not any(o.get('output_type') == 'error' for c in cells for o in c.get('outputs', [])), f'{p.name} has a saved error'
        shown = json.dumps([o for c in cells for o in c.get('outputs', []) if 'image/png' not in o.get('data', {})])
        assert not re.search(r'(/home/|/root/|/tmp/|/Users/|C:\\)', shown), f'{p.name} shows a path of one machine'

def test_every_exporting_notebook_ran():
    "Cells with something to print have their output saved"
    for p in sorted((ROOT/'nbs').rglob('*.ipynb')):
        printing = [c for c in json.loads(p.read_text())['cells'] if c['cell_type'] == 'code' and re.search(r'^print\(', ''.join(c['source']), re.M)]
        assert all(c['outputs'] for c in printing), f'{p.name}: run it and save the outputs'
