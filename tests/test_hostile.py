"What strangers wrote is refused in one line, or read as what it is; nothing else happens"
import json, os, struct
import pytest, torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save_file
from ddnb import cao2
from ddnb.core import ClassInfo
from ddnb.data.load import load_data
from ddnb.errors import DdnbError
from ddnb.evaluate.comparison import latex_text, plain_cell
from ddnb.sets.distilled import DistilledSet
from ddnb.sets.exporters import export
from ddnb.sets.folder import verify_folder
from ddnb.sets.formats import decode
from ddnb.sets.importers import import_set
from ddnb.sets.manifest import as_json, self_sha

CLASSES = [ClassInfo('ant', 'n1'), ClassInfo('bee', 'n2')]
X = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 0, 1, 1])
def small(**info): return DistilledSet(X, Y, CLASSES, info=dict(method='demo', seed=0, options={}) | info)
def words(p): return dict(ddnb=json.dumps(p))
def refused(f, *a, match='', **kw):
    with pytest.raises(DdnbError, match=match) as e: f(*a, **kw)
    assert '\n' not in str(e.value)

GOOD = dict(ddnb=1, classes=[['ant', 'n1'], ['bee', None]])
BAD = ['', '[', 'null', '3', '[]', '"a"', '{}', '['*100_000, '{"a":'*100_000, '9'*5000, *(json.dumps(GOOD | d) for d in (
    dict(classes=3), dict(classes=[]), dict(classes=['ab', 'cd']), dict(classes=[[1, 2]]), dict(classes=[['a', 'b', 'c']]), dict(classes=[['ant', 'n1']]),
    dict(options=[]), dict(data='digits'), dict(generator=3), dict(ancestors={}), dict(data=dict(name=3)), dict(data=dict(mean='x'))))]
@pytest.mark.parametrize('text', BAD, ids=range(len(BAD)))
def test_a_broken_passport_is_one_line(tmp_path, text):
    save_file(dict(images=X, labels=Y), tmp_path/'s.safetensors', dict(ddnb=text))
    torch.save(dict(images=X, labels=Y, info=text), tmp_path/'s.pt')
    for name in ('s.safetensors', 's.pt'): refused(import_set, tmp_path/name)

@pytest.mark.parametrize('change', [
    dict(info=3), dict(info=None), dict(images=3), dict(labels=[0, 0, 1, 1]), dict(labels=Y.float()), dict(labels=Y[:0], images=X[:0]), dict(labels=Y-1), dict(labels=torch.tensor(0)),
    dict(soft_labels=torch.ones(3, 2)), dict(latents='x'), dict(scale='normalised', mean='abc', std=3), dict(images=torch.full((4, 3, 8, 8), float('nan')))])
def test_tensors_that_are_none_are_one_line(tmp_path, change):
    torch.save(dict(images=X, labels=Y, info=json.dumps(GOOD)) | change, tmp_path/'s.pt')
    refused(import_set, tmp_path/'s.pt')

@pytest.mark.parametrize('content', [{'data': [1, 2]}, {'data': [[X], [X]]}, [X[:0], Y], 3, None, [], {3: 4}])
def test_a_pt_file_of_no_format_is_one_line(tmp_path, content):
    torch.save(content, tmp_path/'s.pt')
    refused(import_set, tmp_path/'s.pt', load_data('digits', size=8))

ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=5), s, max_size=3), max_leaves=6)
KEYS = st.sampled_from(['classes', 'options', 'data', 'generator', 'ancestors', 'licences', 'seed', 'space', 'ipc', 'method', 'syn_lr'])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(KEYS, ANY, max_size=3) | ANY)
def test_any_json_is_a_set_or_one_line(tmp_path, changes):
    p = GOOD | changes if isinstance(changes, dict) else changes
    save_file(dict(images=X, labels=Y), tmp_path/'s.safetensors', words(p))
    try: assert isinstance(import_set(tmp_path/'s.safetensors'), DistilledSet)
    except DdnbError as e: assert '\n' not in str(e)

@pytest.mark.parametrize('flags,more', [(4, struct.pack('<H', 1)), (5, bytes(4)+struct.pack('<H', 1)), (0, struct.pack('<HH', 1, 0))])
def test_a_bitstream_of_28_bytes_takes_no_gigabytes(flags, more):
    refused(decode, 'codes.ruo', struct.pack('<4sBBBBHHHHH', b'RUO1', 0, 8, 1, flags, 65535, 65535, 1, 0, 0) + more + bytes(8), match='no honest file')

@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes here')
@pytest.mark.parametrize('name,fmt', [('x.pt', 'pt'), ('x.pt', None), ('x.safetensors', None), ('x.parquet', None)])
def test_a_pipe_is_no_file(tmp_path, name, fmt):
    if 'parquet' in name: pytest.importorskip('pyarrow')
    os.mkfifo(tmp_path/name)
    refused(import_set, tmp_path/name, format=fmt, match='pipe')

def test_a_pipe_in_a_sets_folder(tmp_path):
    folder = small().save(tmp_path/'s').path
    picture = next(folder.rglob('00000.png'))
    picture.unlink(); os.mkfifo(picture)
    refused(DistilledSet.load, folder, match='pipe')
    assert any('changed' in w for w in verify_folder(folder))

def test_pictures_of_several_sizes(tmp_path):
    from PIL import Image
    folder = small().save(tmp_path/'s').path
    picture = next(folder.rglob('00001.png'))
    Image.new('RGB', (9, 8)).save(picture)
    m = json.loads((folder/'dataset.json').read_text())
    import hashlib
    m['files'][picture.relative_to(folder).as_posix()] |= dict(bytes=picture.stat().st_size, sha256=hashlib.sha256(picture.read_bytes()).hexdigest())
    (folder/'dataset.json').write_bytes(as_json(m | dict(sha256=self_sha(m))))
    refused(DistilledSet.load, folder, match='several sizes')

def test_names_are_no_formulas_and_no_commands():
    for lead in '=+-@\t': assert plain_cell(lead + 'cmd()') == f"'{lead}cmd()"
    assert plain_cell('mgd3-a') == 'mgd3-a'
    assert latex_text(r'a_b\input{c}%$#&~^') == r'a\_b\textbackslash{}input\{c\}\%\$\#\&\textasciitilde{}\textasciicircum{}'

def test_a_generator_that_a_set_names_is_not_fetched_unasked(monkeypatch):
    from ddnb.cao2 import stages
    monkeypatch.setattr(stages, 'load_generator', lambda *a: pytest.fail('fetched'))
    refused(cao2.refine, small(generator=dict(id='somebody/weights')), match='name the generator')

@pytest.mark.parametrize('format', ['imagefolder', 'pt'])
def test_an_export_removes_nothing_that_lies_there(tmp_path, format):
    (tmp_path/'.x.tmp').mkdir(); (tmp_path/'.x.tmp/thesis.tex').write_text('mine')
    export(small(), tmp_path/'x', format)
    assert (tmp_path/'.x.tmp/thesis.tex').read_text() == 'mine' and sorted(p.name for p in tmp_path.iterdir()) == ['.x.tmp', 'x']

def test_an_export_needs_a_place(tmp_path):
    (tmp_path/'file').write_text('')
    for path in ('', tmp_path/'file', tmp_path/'file/x', 'a\0b'): refused(export, small(), path)

@pytest.mark.parametrize('x', [torch.eye(10)[None, None].expand(10, 3, 10, 10).to_sparse(), torch.empty(10, 3, 8, 8, device='meta'), torch.zeros(10, 3, 8, 8, dtype=torch.complex64)], ids=('sparse', 'meta', 'complex'))
def test_tensors_without_plain_numbers(tmp_path, x):
    torch.save([x, torch.arange(10)], tmp_path/'x.pt')
    refused(import_set, tmp_path/'x.pt', load_data('digits', size=8), match='plain numbers')

@pytest.mark.parametrize('dtype', [torch.bool, torch.int8, torch.int64, torch.float16, torch.bfloat16, torch.float64])
def test_images_of_every_type_of_numbers(tmp_path, dtype):
    save_file(dict(images=(X > 127).to(dtype), labels=Y), tmp_path/'s.safetensors', words(GOOD))
    s = import_set(tmp_path/'s.safetensors')
    assert s.save(tmp_path/'x').verify() == [] and s.images.dtype in (torch.uint8, torch.float32)
    if dtype == torch.bool: assert s.images.unique().tolist() == [0, 255]

@pytest.mark.parametrize('head', [dict(seed='x'), dict(seed=[1]), dict(seed=.5), dict(ipc='many'), dict(method=3), dict(space=3), dict(syn_lr='x'), dict(zca=[])])
def test_words_of_other_types(tmp_path, head):
    save_file(dict(images=X, labels=Y), tmp_path/'s.safetensors', words(GOOD | head))
    refused(import_set, tmp_path/'s.safetensors', match=f'{[*head][0]} is a')

def test_more_classes_than_images_could_fill(tmp_path):
    save_file(dict(images=X, labels=Y), tmp_path/'s.safetensors', words(GOOD | dict(classes=[[str(i), None] for i in range(200_000)])))
    refused(import_set, tmp_path/'s.safetensors', match='no honest file')

def test_names_that_are_no_unicode(tmp_path):
    s = DistilledSet(X, Y, [ClassInfo('\udcff'), ClassInfo('b\ud800')], info=dict(method='demo', seed=0, options={}))
    assert s.save(tmp_path/'s').verify() == [] and DistilledSet.load(tmp_path/'s').classes == s.classes
    for format in ('imagefolder', 'pt', 'safetensors'): export(s, tmp_path/format, format)
