"Notebooks stay readable: small cells, words between them, assertions in them"
import json, re
import pytest
from conftest import ROOT

NBS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if not any(q.startswith(('.', '_')) for q in p.relative_to(ROOT).parts))
def lines(src): return [l for l in src.splitlines() if l.strip() and not l.strip().startswith('#')]
def imports_alone(src): return all(re.match(r'(from|import|\s|\)|_all_)', l) for l in lines(src))

@pytest.mark.parametrize('nb', NBS, ids=lambda p: p.stem)
def test_house_style(nb):
    cells = json.loads(nb.read_text(encoding='utf-8'))['cells']
    code = [''.join(c['source']) for c in cells if c['cell_type'] == 'code']
    words = sum(len(''.join(c['source']).split()) for c in cells if c['cell_type'] == 'markdown')
    exported = sorted(len(lines(s)) for s in code if re.match(r'#\| exports?i?\b', s) and not imports_alone(s))
    assert len(cells) <= 80 and nb.stat().st_size <= (250_000 if exported else 1_000_000)
    assert not any('eval: false' in s for s in code), 'a cell that never runs'
    assert re.match(r'# .+\n\n> .+', ''.join(cells[0]['source'])), 'begin with a title and a one-line summary'
    if not exported: return
    assert exported[len(exported)//2] <= 12, 'median exported cell over 12 lines'
    assert exported[-1] <= 45, 'an exported cell over 45 lines'
    assert sum(exported) <= 300, 'over 300 exported lines'
    assert words >= 2*sum(exported), 'fewer than two words of prose for each exported line'
    assert any(re.search(r'\btest_\w+\(|\bassert\b', s) for s in code), 'no assertion'

def test_no_page_writes_modules_when_it_runs():
    assert [nb.name for nb in NBS if 'nbdev_export' in nb.read_text(encoding='utf-8')] == []

@pytest.mark.parametrize('nb', NBS, ids=lambda p: p.relative_to(ROOT/'nbs').as_posix())
def test_at_most_120_columns(nb):
    cells = json.loads(nb.read_text(encoding='utf-8'))['cells']
    wide = [l for c in cells if c['cell_type'] == 'code' for l in ''.join(c['source']).splitlines() if len(l) > 120]
    assert wide == []

def test_public_functions_say_what_they_are():
    "Every public function and class of a module has a docstring, and functions annotate what they take"
    import importlib, inspect, pkgutil, ddnb
    for m in pkgutil.walk_packages(ddnb.__path__, 'ddnb.'):
        if m.name.endswith('_modidx'): continue
        mod = importlib.import_module(m.name)
        for name in getattr(mod, '__all__', []):
            f = getattr(mod, name)
            if getattr(f, '__module__', None) != m.name or not (inspect.isfunction(f) or inspect.isclass(f)): continue
            assert f.__doc__, f'{m.name}.{name} has no docstring'
            if inspect.isfunction(f): assert f.__annotations__ or not inspect.signature(f).parameters, f'{m.name}.{name} has no type hints'
