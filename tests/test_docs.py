"The documentation builds, every notebook is in it, links lead to the right source, and the README is the index"
import json, os, re, shutil, subprocess, sys
import pytest, yaml
from conftest import ROOT

NBS = sorted(p.relative_to(ROOT/'nbs').as_posix() for p in (ROOT/'nbs').rglob('*.ipynb') if not any(q.startswith(('_', '.')) for q in p.parts))
def html(nb): return re.sub(r'(^|/)\d+[a-zA-Z0-9]*_([^/]+)$', r'\1\2', nb).replace('.ipynb', '.html')

def test_every_notebook_is_in_the_sidebar():
    def walk(x): return [x] if isinstance(x, str) else sum((walk(c.get('contents', []) if isinstance(c, dict) else c) for c in x), [])
    listed = walk(yaml.safe_load((ROOT/'nbs/sidebar.yml').read_text())['website']['sidebar']['contents'])
    assert sorted(listed) == NBS and listed[0] == 'index.ipynb'

def test_page_names_do_not_collide(): assert len({html(n) for n in NBS}) == len(NBS)

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    copy = tmp_path_factory.mktemp('docs')/'ddnb'
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns('.git', '_proc', '_docs', '__pycache__', 'runs', '*.egg-info'))
    env = os.environ | dict(PATH=os.pathsep.join([str(ROOT/'tests/tools'), os.path.dirname(sys.executable), os.environ['PATH']]), PYTHONPATH=str(copy), MPLBACKEND='Agg')
    r = subprocess.run(['nbdev_docs'], cwd=copy, env=env, capture_output=True, text=True)
    assert r.returncode == 0, (r.stdout+r.stderr)[-3000:]
    return copy

def test_every_page_is_built(site):
    for n in NBS: assert (site/'_docs'/html(n)).is_file(), f'{n} has no page'

def test_source_links_lead_to_the_right_module(site):
    "A bare name that several modules have would link to the alphabetically first"
    for page,module in (('05_mgd3/mgd3', 'mgd3/sampling.py'), ('05_mgd3/sampling', 'mgd3/sampling.py'), ('09_baselines/random', 'baselines/random.py'), ('09_baselines/plain', 'baselines/plain.py')):
        links = re.findall(r'href="[^"]*/blob/[^"]*/ddnb/([^"#]*\.py)[^"]*"', (site/'_docs'/f'{page}.html').read_text())
        assert module in links and not {l for l in links if l != module and l.startswith(('mgd3', 'baselines'))}, (page, links)

def test_no_raw_link_in_code_and_every_source_link_has_a_line(site):
    "The page that explains how links are made shows some on purpose"
    raw, lines = {}, {}
    for page in (site/'_docs').rglob('*.html'):
        text = page.read_text()
        blocks = [re.sub('<[^>]+>', '', b) for b in re.findall(r'<pre.*?</pre>', text, re.S)]
        if page.stem != 'book': raw[page.name] = sum('](http' in b for b in blocks)
        lines[page.name] = text.count('#LNone')
    assert not any(raw.values()) and not any(lines.values())

def test_every_documented_name_links_to_its_own_module(site):
    "Source links of a page lead to the module that the page exports"
    wrong = []
    for nb in NBS:
        exported = re.search(r'default_exp ([\w.]+)', (ROOT/'nbs'/nb).read_text())
        links = re.findall(r'href="[^"]*/blob/[^"]*/(ddnb/[^"#]*\.py)#L\d+"', (site/'_docs'/html(nb)).read_text())
        own = f"ddnb/{exported[1].replace('.', '/')}.py" if exported else None
        room = own.removesuffix('__init__.py') if own and own.endswith('__init__.py') else None      # a chapter's page shows what its room offers
        wrong += [(nb, link) for link in set(links) if link != own and not (room and link.startswith(room))]
    assert wrong == []

def test_readme_is_the_index():
    cells = json.loads((ROOT/'nbs/index.ipynb').read_text())['cells']
    readme = (ROOT/'README.md').read_text()
    shown = '\n\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
    squeeze = lambda s: re.sub(r'\s+', ' ', s)
    for h in re.findall(r'^#+ .+$', shown, re.M): assert h in readme, f'README lacks the heading {h}'
    for block in re.findall(r'```\w*\n(.*?)```', shown, re.S): assert squeeze(block.strip()) in squeeze(readme), f'README lacks {block}'
    numbers = [n for c in cells if c['cell_type'] == 'code' for o in c.get('outputs', []) for n in re.findall(r'[\d.]+ ± [\d.]+', json.dumps(o, ensure_ascii=False))]
    assert len(numbers) >= 9
    for n in numbers: assert n in readme, f'README lacks the result {n}'
