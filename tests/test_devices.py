"Everything runs on the device it was told to, and on no other: shown on an emulated accelerator"
import inspect, json, re
from importlib import import_module
import pytest, torch
from conftest import ROOT
from emulated import emulated, HERE, Mixed
from test_contract import SMALL, method
from ddnb.baselines.random import distill as random_images
from ddnb.classifiers.features import class_features
from ddnb.classifiers.learner import student
from ddnb.classifiers.selectors import open_selector, probabilities
from ddnb.classifiers.teachers import bind, train_teacher
from ddnb.contract import get_method
from ddnb.data.load import load_data
from ddnb.errors import DdnbError
from ddnb.evaluate.comparison import compare
from ddnb.evaluate.labels import relabel
from ddnb.evaluate.recipes import PROTOCOLS, get_recipe
from ddnb.evaluate.scores import evaluate
from ddnb.evaluate.together import train_together
from ddnb.generators.open import load_generator

slow = pytest.mark.slow
QUICK = ('plain', 'random')                             # the rest is in the second tier
FEW = dict(repeats=1, epochs=2, evals=1, progress=False)

@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as m:
        m.setenv('DDNB_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield
@pytest.fixture(scope='module')
def data(): return load_data('digits')
@pytest.fixture
def device():
    with emulated() as name: yield name

def test_the_emulated_device_refuses_to_mix(device):
    x, y = torch.ones(3, device=device), torch.ones(3)
    assert x.device.type == device and (x + 1).cpu().tolist() == [2, 2, 2]
    with pytest.raises(Mixed): x + y
    with pytest.raises(Mixed): y[torch.tensor([0, 1], device=device)]
    with pytest.raises(TypeError, match='use Tensor.cpu'): x.numpy()

@pytest.mark.parametrize('name', [pytest.param(n, marks=() if n in QUICK else slow) for n in sorted(SMALL)])
def test_methods(name, data, device):
    fn = get_method(method(name))
    options = SMALL[name] | (dict(device=device) if 'device' in inspect.signature(fn).parameters else {})
    s = fn(data, ipc=2, progress=False, **options)
    assert s.images.device.type == 'cpu' and s.labels.device.type == 'cpu' and len(s) == 20
    assert s.images.float().std() > (.04 if s.images.is_floating_point() else 10)

@pytest.mark.parametrize('asked', ['gpu', 'cuda:63', 'meta', ''])
def test_a_device_that_is_not_there(asked, data):
    with pytest.raises(DdnbError, match=f'device {asked!r} is not on this machine; there is cpu'):
        evaluate(random_images(data, ipc=1), data, device=asked, **FEW)

def test_training_stays_where_it_was_put(data, device):
    "fastai's own default device, a GPU where there is one, has no say"
    s = random_images(data, ipc=1)
    for asked in ('cpu', device):
        learn = student(s.images, s.labels, data, get_recipe('hard', 'digits', 1, 10, 32), device=asked)
        with learn.no_logging(): learn.fit(1)
        assert {p.device.type for p in learn.model.parameters()} == {asked} == {learn.dls.train.x.device.type}

@pytest.fixture(scope='module')
def teacher(data):
    "On the CPU, as it comes from a cache"
    return train_teacher(data, 'convnet3', device='cpu', epochs=3, net=(('width', 8),))

@pytest.mark.parametrize('protocol', [pytest.param(p, marks=() if p == 'hard' else slow) for p in PROTOCOLS])
def test_protocols(protocol, data, device, teacher):
    s, net = random_images(data, ipc=1), (('width', 8),)
    if protocol == 'fkd': s = relabel(s, data, teacher, epochs=2, device=device, progress=False)
    asked = dict(teacher=teacher) if protocol == 'soft' else {}
    there = evaluate(s, data, protocol, device=device, net=net, **asked, **FEW)
    here = evaluate(s, data, protocol, device='cpu', net=net, **asked, **FEW)
    assert there.runs[0]['history'] == here.runs[0]['history']      # the device computes on the CPU: the very same numbers

@slow
def test_repeats_together(data, device):
    s, r = random_images(data, ipc=1), get_recipe('dc', 'digits', 1, 10, 32, epochs=2, evals=1, net=(('width', 8),))
    there, here = (train_together(s.images, s.labels, data, r, None, [0, 1], d) for d in (device, 'cpu'))
    assert [a['history'] for a in there] == [b['history'] for b in here]

@slow
def test_comparison_and_metrics(data, device):
    c = compare(dict(a=random_images(data, ipc=1, seed=5)), data, device=device, **FEW)
    assert set(c.scores) == {'random', 'herding', 'a'}

@slow
def test_teachers_selectors_features(data, device):
    t = train_teacher(data, 'convnet3', device=device, cache=False, epochs=1, net=(('width', 8),))
    assert {p.device for p in t.net.parameters()} == {HERE}
    x = data.test.batch(torch.arange(8))
    assert probabilities(open_selector(t, data, device), x).device.type == 'cpu'
    assert class_features(data, 0, t.net).device.type == 'cpu'

def test_a_teacher_goes_where_the_student_is(data, device, teacher):
    ask = bind(train_teacher(data, 'convnet3', device='cpu', epochs=3, net=(('width', 8),)), data, device)
    assert ask(torch.zeros(2, 3, 32, 32, device=device)).device == HERE

def all_on(device, owner):
    "Every tensor of every network that an object holds"
    nets = [owner] if isinstance(owner, torch.nn.Module) else [v for v in vars(owner).values() if isinstance(v, torch.nn.Module)]
    found = {p.device for n in nets for p in (*n.parameters(), *n.buffers())}
    return found == {device}

@slow
@pytest.mark.parametrize('kind', ['digits', 'digits_mar', 'digits_stylegan', 'cifar10'])
def test_shipped_generators(kind, device): assert all_on(HERE, load_generator(kind, device=device))

def from_page(page, *names):
    "What a page's cells define, without running the rest of it"
    path, = (ROOT/'nbs/03_generators/diffusion').glob(f'[0-9][0-9]_{page}.ipynb')
    cells = json.loads(path.read_text())['cells']
    code = [''.join(c['source']).replace('fork_rng()', 'fork_rng(devices=[])') for c in cells if c['cell_type'] == 'code']
    module = next(m[1] for c in code if (m := re.search(r'#\| default_exp (\S+)', c)))
    found = dict(vars(import_module(f'ddnb.{module}')))
    for source in code:
        head = [l for l in source.splitlines() if l and not l.startswith('#')]
        if head and all(re.match(r'from|import| |\)', l) for l in head): exec(source, found)
    for name in names:
        source = next(c for c in code if f'def {name}(' in c)
        block = re.search(rf'^def {name}\(.*?(?=^\S|\Z)', source, re.M | re.S)[0]
        exec(block, found)
    return found

def uvit(folder):
    page = from_page('uvit', 'tiny_vae')
    net = page['UViT'](8, 4, 2, 32, 2, 4, num_classes=10)
    page['UViTGenerator'](page['tiny_vae'](), net, 'tiny', class_names=list('0123456789'), device='cpu').save(folder, half=False)
def latent_unet(folder):
    page = from_page('ldm_unet', 'tiny')
    betas = torch.linspace(.0015**.5, .0195**.5, 1000, dtype=torch.float64)**2
    page['LatentUNet'](*page['tiny'](), betas, 'tiny', class_names=list('0123456789'), device='cpu').save(folder)
def stable_diffusion(folder):
    folder.mkdir()
    from_page('stable_diffusion', 'tiny_parts')['tiny_parts'](folder)

@slow
@pytest.mark.parametrize('build', [uvit, latent_unet, stable_diffusion])
def test_other_generators(build, tmp_path):
    build(tmp_path/'g')
    with emulated() as device:
        g = load_generator(tmp_path/'g', device=device)
        assert all_on(HERE, g)
        for name in ('plain', 'mgd3', 'd4m'):
            s = get_method(name)(load_data('digits', size=g.size), g, ipc=1, device=device, progress=False, **SMALL[name])
            assert len(s) == 10 and s.images.device.type == 'cpu'

@slow
def test_refine_and_compress(data, device):
    from ddnb.cao2 import refine
    from ddnb.ruo import compress
    s = get_method('plain')(data, ipc=1, num_steps=4, batch_size=16, device=device, progress=False)
    assert refine(s, 'digits', iterations=2, batch_size=16, device=device, progress=False).images.device.type == 'cpu'
    small = compress(s, iterations=2, mse=1e-4, device=device, progress=False)
    assert small.images.device.type == 'cpu' and small.images.shape == s.images.shape
