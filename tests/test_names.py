"Whose class is whose: what is forgiven in a name, and what never is"
import itertools, unicodedata
import pytest, torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from ddnb.core import ClassInfo
from ddnb.data.images import ImageData, Split
from ddnb.data.names import ClassNames, find_classes, fold, synonyms
from ddnb.data.subsets import imagenet_classes
from ddnb.errors import DdnbError
from ddnb.generators.base import match_classes
from ddnb.sets.distilled import DistilledSet
from ddnb.sets.exporters import export
from ddnb.sets.importers import import_set

WORDS = st.text(st.characters(categories=('Lu', 'Ll', 'Lo', 'Nd', 'So')), min_size=1, max_size=8)
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(' '.join)
def infos(names): return [ClassInfo(n) for n in names]

@settings(max_examples=100, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=8, unique_by=fold), st.randoms(), st.sampled_from('_- '), st.sampled_from(('NFC', 'NFD', 'NFKC')))
def test_a_name_written_otherwise_is_the_same_name(names, random, space, form):
    order = random.sample(range(len(names)), len(names))
    written = [unicodedata.normalize(form, names[i]).replace(' ', space) for i in order]
    assert find_classes(written, infos(names)) == order

@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=8, unique=True), st.randoms())
def test_a_name_to_the_letter_is_its_own_class(names, random):
    order = random.sample(range(len(names)), len(names))
    assert [ClassNames(infos(names)).find(ClassInfo(names[i])) for i in order] == [[i] for i in order]

@settings(max_examples=100, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=2, unique_by=fold))
def test_two_names_never_become_one(names):
    a, b = names
    if not a.isdecimal() or not b.isdecimal(): assert find_classes([ClassInfo(a)], infos([b])) == [None] or a.partition('_')[2] == b

def test_different():
    unlike = ['C', 'C++', 'C#', '鸟', '狗', 'café', 'cafe', '-1', '1', '1.5', '15', 'm&m', 'mm', 'A+', 'A', 'Maße', 'Masse']
    assert [(a, b) for a,b in itertools.permutations(unlike, 2) if find_classes([a], infos([b])) != [None]] == []

def test_spellings_of_one_list_are_told_apart_and_a_third_is_refused():
    both = infos(['a b', 'a-b'])
    assert find_classes(['a-b', 'a b'], both) == [1, 0]
    with pytest.raises(DdnbError, match="'a_b' could be class 0 'a b' or class 1 'a-b' of x; give each class its own name"): find_classes(['a_b'], both, 'x')
    with pytest.raises(DdnbError, match='both fit class 0'): find_classes(['A B', 'a_b'], both[:1])

def test_two_cranes_need_their_ids():
    thousand = list(imagenet_classes())
    assert find_classes(thousand, thousand) == list(range(1000))
    assert find_classes([ClassInfo('crane', thousand[517].wnid)], thousand) == [517]
    with pytest.raises(DdnbError, match='give WordNet ids'): find_classes(['crane'], thousand)

def test_synonyms_of_a_generator():
    names = ['tench, Tinca tinca', 'great white shark, white shark, man-eater, Carcharodon carcharias', 'cock', 'hen']
    def labels(*folders): return match_classes(ImageData('fish', infos(folders), 8, None), names, None, 1000, 'the model').tolist()
    assert labels('great_white_shark', 'Tench') == [1, 0] and labels('man-eater', 'tinca-tinca', 'HEN') == [1, 0, 3]
    with pytest.raises(DdnbError, match="the model cannot make 'shark'"): labels('shark')

def test_numbers_are_numbers():
    assert find_classes(['10', '2', '001'], infos(['1', '2', '10'])) == [2, 1, 0]
    assert synonyms('1,000 islands, thousand islands') == {'1.000 islands', 'thousand islands'}

def folder(root, classes):
    for k,c in enumerate(classes):
        root.joinpath(c).mkdir(parents=True)
        Image.new('RGB', (8, 8), (20*k, 0, 0)).save(root/c/'0.png')

def test_a_set_of_another_bird_is_refused_and_ones_own_classes_are_found(ddnb, tmp_path):
    for part in ('train', 'test'):
        folder(tmp_path/'pets'/part, ['cat', '狗'])
        folder(tmp_path/'tiere'/part, ['猫', '犬', '鳥'])
    folder(tmp_path/'other', ['cat', '鸟'])
    folder(tmp_path/'own', ['鳥', '猫', '犬'])
    code, _, err = ddnb('import', 'other', '--data', 'pets', '--out', 'a')
    assert code == 2 and "'鸟' fits no class of pets" in err
    assert ddnb('import', 'own', '--data', 'tiere', '--out', 'b')[0] == 0

def test_a_label_meets_the_class_called_by_it(tmp_path):
    import torch, warnings
    from ddnb.data.load import load_data
    from ddnb.errors import DataWarning
    from ddnb.sets.importers import import_set
    for part in ('train', 'test'): folder(tmp_path/'years'/part, ['1', '2', '10'])
    years = load_data(tmp_path/'years', size=8)
    torch.save([torch.rand(3, 3, 8, 8), torch.tensor([10, 1, 2])], tmp_path/'s.pt')
    with warnings.catch_warnings():
        warnings.simplefilter('error', DataWarning)
        s = import_set(tmp_path/'s.pt', years, format='idc')
    x = torch.load(tmp_path/'s.pt', weights_only=True)[0]
    want = {'10': x[0], '1': x[1], '2': x[2]}
    for i,c in enumerate(years.classes): assert torch.allclose(s.images[s.labels == i].float(), want[c.name][None], atol=1e-2)
    torch.save([torch.rand(3, 3, 8, 8), torch.tensor([0, 1, 2])], tmp_path/'t.pt')
    with pytest.warns(DataWarning, match='order of years was assumed'): import_set(tmp_path/'t.pt', years, format='idc')

SIGNS = ('C', 'C++', 'C#', 'a/b', 'a\\b', 'a b', 'a-b', '.net', '猫', 'что?', 'что!', '🐈', '🐕', 'con', 'x'*300, 'x'*301, ' y ', 'y')
@pytest.mark.parametrize('format', ('imagefolder', 'parquet', 'pt', 'safetensors'))
def test_signs_survive_every_format(tmp_path, format):
    if format == 'parquet': pytest.importorskip('pyarrow')
    n = len(SIGNS)
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 3, 4, 4).contiguous()
    data = ImageData('signs', [ClassInfo(c) for c in SIGNS], 4, Split(torch.arange(n), 4, images=images))
    s = DistilledSet(images, torch.arange(n), data.classes, info=dict(method='demo', seed=0, options={}))
    for known in (data, None) if format != 'imagefolder' else (data,):
        back = import_set(export(s, tmp_path/f'{known is None}.{format}', format), known)
        assert torch.equal(back.images, images) and torch.equal(back.labels, s.labels) and list(back.classes) == data.classes
