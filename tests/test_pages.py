"Pages as a reader meets them: what is shown can be read without what is hidden, and runs alone"
import ast, builtins, json, re
import pytest
from conftest import ROOT

PAGES = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if not any(q.startswith(('.', '_')) for q in p.relative_to(ROOT).parts))
pages = pytest.mark.parametrize('page', PAGES, ids=lambda p: p.relative_to(ROOT/'nbs').as_posix())
TESTS = {'test_eq', 'test_close', 'test_fail', 'test_ne', 'test_is', 'test_warns', 'test_stdout', 'test'}       # of fastcore.test
HIDDEN = {'hide', 'hide_input', 'export', 'exporti', 'default_exp'}

def shown(page, left_out=HIDDEN):
    "Source of the code cells that the site shows"
    for cell in json.loads(page.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        directives = re.findall(r'^#\|\s*([\w-]+)', source, re.M)
        if cell['cell_type'] != 'code' or 'show_doc(' in source or set(directives) & left_out or re.search(r'^#\| echo: false', source, re.M): continue
        yield '\n'.join(line for line in source.splitlines() if not line.startswith(('#|', '%', '!')))

def made_and_used(source):
    "Names that a cell binds, and names that it reads"
    nodes = list(ast.walk(ast.parse(source)))
    made = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    made |= {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)) and n.name}
    made |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    for n in nodes:
        if isinstance(n, (ast.Import, ast.ImportFrom)): made |= {a.asname or a.name.split('.')[0] for a in n.names}
    return made | (TESTS if 'from fastcore.test import *' in source else set()), {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}

@pages
def test_nothing_shown_uses_a_name_that_was_not_shown(page):
    known, unseen = set(dir(builtins)) | {'display', 'get_ipython'}, []
    for source in shown(page):
        made, used = made_and_used(source)
        unseen += sorted(used - made - known)
        known |= made
    assert unseen == []

@pages
def test_every_picture_says_in_words_what_it_shows(page):
    cells = [c for c in json.loads(page.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
    pictures = [''.join(c['source']) for c in cells if any('image/png' in o.get('data', {}) for o in c['outputs'])]
    assert [s for s in pictures if not re.search(r'^#\| fig-alt: \S.{20,}', s, re.M)] == []

@pytest.mark.slow
@pages
def test_what_is_shown_runs_alone(page, monkeypatch, tmp_path):
    from execnb.nbio import mk_cell, new_nb
    from execnb.shell import CaptureShell
    monkeypatch.chdir(page.parent)
    monkeypatch.setenv('DDNB_CACHE', str(tmp_path))
    shell = CaptureShell(page)
    shell.run_all(new_nb([mk_cell(source) for source in shown(page, HIDDEN | {'slow', 'gpu'})]), exc_stop=True)
