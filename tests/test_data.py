"Real data sets, where they lie on this machine (DDNB_DATA); a missing one is skipped with its reason"
import pytest, torch
from ddnb.errors import DdnbError
from ddnb.data.load import load_data
from ddnb.evaluate import evaluate
from ddnb.baselines import random as random_images

def load(name, **kw):
    try: return load_data(name, download=False, **kw)
    except DdnbError as e:
        if 'found: looked for' not in str(e): raise             # only a folder that is not there is a reason to skip
        pytest.skip(str(e).split(':')[0])

@pytest.mark.parametrize('name,size,classes,first,test', [('cifar10', 32, 10, 'airplane', 10_000), ('mnist', 28, 10, '0', 10_000),
    ('fashion_mnist', 28, 10, 'T-shirt-top', 10_000), ('mednist', 64, 6, 'AbdomenCT', 1_200)])
def test_small_sets(name, size, classes, first, test):
    d = load(name)
    assert (d.size, len(d.classes), d.classes[0].name) == (size, classes, first) and len(d.test) >= test
    x = d.train.batch(torch.arange(0, len(d.train), max(1, len(d.train)//500)))
    assert x.dtype == torch.uint8 and x.shape[1:] == (3, size, size) and x.float().std() > 20
    assert set(d.train.labels.tolist()) == set(range(classes)) == set(d.test.labels.tolist())
    if name != 'cifar10': assert (x[:,0] == x[:,1]).all(), 'grey pictures have three equal channels'

def test_a_validation_part_is_kept_apart():
    d, v = load('mnist'), load('mnist', val=50)
    assert v.val.labels.bincount().tolist() == [50]*10 and len(v.train) + len(v.val) == len(d.train)
    assert {*v.train.paths}.isdisjoint(v.val.paths) and v.val.paths == load('mnist', val=50).val.paths

def test_imagenette_is_found_by_wordnet_id():
    d = load('imagenette', size=64)
    assert d.classes[0].wnid == 'n01440764' and d.classes[0].name.startswith('tench') and d.generator == 'facebook/DiT-XL-2-256'
    assert d.train.batch(d.train.of_class(3)[:2]).shape == (2, 3, 64, 64)

def test_a_judge_learns_from_real_images():
    "Fifty real CIFAR-10 images teach a small network more than chance"
    s = evaluate(random_images.distill(d:=load('cifar10'), ipc=5), d, repeats=1, epochs=60, arch='convnet3', net=(('width', 16),), progress=False)
    assert s.mean > 15
