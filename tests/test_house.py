"Who may import whom: no circles, no climbing, no private names across modules"
import ast
from collections import defaultdict
import pytest
from conftest import ROOT

METHODS = ('mgd3', 'cao2', 'slfd', 'ruo')
LOOSE = {'augment', 'book', 'cli', 'contract', 'core', 'cost', 'errors', 'files', 'fused', 'nets', 'plots', 'ranges', 'threads',
         'options', 'console', 'counts', 'plugins'}       # modules on top; everything else has a room

def modules():
    "Name of every module of the package -> its file"
    found = {}
    for file in (ROOT/'ddnb').rglob('*.py'):
        if file.name == '_modidx.py': continue
        parts = file.relative_to(ROOT).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = file
    return found
FILES = modules()

def imports(module):
    "(module imported from, name) for every import statement in a module, wherever it stands"
    file = FILES[module]
    package = module if file.name == '__init__.py' else module.rpartition('.')[0]
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split('.')[0] == 'ddnb': yield alias.name, None
        if not isinstance(node, ast.ImportFrom): continue
        above = package.split('.')[:len(package.split('.'))-node.level+1] if node.level else []
        base = '.'.join([*above, *([node.module] if node.module else [])])
        if base.split('.')[0] != 'ddnb': continue
        for alias in node.names:
            whole = f'{base}.{alias.name}'
            yield (whole, None) if whole in FILES else (base, alias.name)

ARROWS = {m: [(t, n) for t,n in imports(m) if t != m] for m in FILES}
def room(module): return module.split('.')[1] if '.' in module else ''

def circles(graph):
    "Groups of nodes that can reach each other (Tarjan)"
    index, low, stack, found = {}, {}, [], []
    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in graph.get(v, ()):
            if w not in index: visit(w)
            if w in stack: low[v] = min(low[v], low[w])
        if low[v] != index[v]: return
        group = stack[stack.index(v):]
        del stack[stack.index(v):]
        if len(group) > 1: found.append(sorted(group))
    for v in graph:
        if v not in index: visit(v)
    return found

def test_circles_are_found(): assert circles(dict(a='b', b='c', c='a', d='a')) == [['a', 'b', 'c']]

def test_no_circle_of_modules():
    assert circles({m: sorted({t for t,_ in a}) for m,a in ARROWS.items()}) == []

def test_no_circle_of_rooms():
    "But for the search over a method's options, which trains and scores sets and so stands above evaluation"
    graph = defaultdict(set)
    for m,arrows in ARROWS.items():
        if m in ('ddnb.mgd3.search', 'ddnb.mgd3'): continue
        for t,_ in arrows:
            if room(t) != room(m): graph[room(m)].add(room(t))
    assert circles({r: sorted(t) for r,t in graph.items()}) == []

def test_no_private_name_crosses_a_module():
    crossing = [(m, t, n) for m,arrows in ARROWS.items() for t,n in arrows if n and n.startswith('_') and not n.startswith('__')]
    assert crossing == []

def test_methods_know_no_other_method_and_no_baseline():
    bad = [(m, t) for m,arrows in ARROWS.items() if room(m) in METHODS for t,_ in arrows if room(t) in (*METHODS, 'baselines') and room(t) != room(m)]
    assert bad == []

@pytest.mark.parametrize('below', ['errors', 'files', 'core', 'nets', 'augment', 'data', 'sets', 'generators', 'matching', 'classifiers'])
def test_lower_rooms_know_no_method_and_no_evaluation(below):
    bad = [(m, t) for m,arrows in ARROWS.items() if room(m) == below for t,_ in arrows if room(t) in (*METHODS, 'baselines', 'evaluate', 'cli')]
    assert bad == []

def test_evaluation_knows_one_baseline():
    used = {t for m,arrows in ARROWS.items() if room(m) == 'evaluate' for t,_ in arrows if room(t) == 'baselines'}
    assert used <= {'ddnb.baselines.random'}

def test_inside_the_package_imports_name_the_defining_module():
    "`from ddnb.data import load_data` is for users"
    def defines(module, name):
        tree = ast.parse(FILES[module].read_text(encoding='utf-8')).body
        targets = [t for n in tree if isinstance(n, (ast.Assign, ast.AnnAssign)) for t in (n.targets if isinstance(n, ast.Assign) else [n.target])]
        names = {n.name for n in tree if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        return name in names | {x.id for t in targets for x in ast.walk(t) if isinstance(x, ast.Name)}
    facades = ('ddnb.evaluate.learner', 'ddnb.evaluate.teachers')          # old paths, kept for users
    bad = [(m, t, n) for m,arrows in ARROWS.items() for t,n in arrows
           if n and (FILES[t].name == '__init__.py' or t in facades) and m != t and not defines(t, n)]
    assert bad == []

def test_loose_modules_are_few():
    assert {room(m) for m,f in FILES.items() if m.count('.') == 1 and f.name != '__init__.py'} <= LOOSE

def test_no_submodule_is_called_like_a_public_function():
    assert not {m for m in FILES if m.rpartition('.')[2] in ('distill', 'refine', 'compress', 'evaluate', 'compare')} - {'ddnb.evaluate'}
