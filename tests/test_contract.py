"What every method keeps. A new method joins with one line in SMALL."
import inspect
import pytest, torch
from ddnb.contract import METHODS, get_method
from ddnb.errors import DdnbError
from ddnb.sets.distilled import DistilledSet
from ddnb.sets.folder import SetWriter
from ddnb.data.load import load_data
from ddnb.generators.diffusion.latent import LatentDiffusion
from ddnb.generators.mar.transformer import MAR

SMALL = dict(                                       # options that make a call end within five seconds
    mgd3=dict(num_steps=4, batch_size=16),
    plain=dict(num_steps=4, batch_size=16),
    random=dict(),
    herding=dict(),
    k_center=dict(),
    el2n=dict(networks=2, epochs=2),
    forgetting=dict(epochs=2),
    aum=dict(epochs=2),
    ccs=dict(epochs=2, strata=5),
    confident=dict(),
    medoids=dict(),
    nearest=dict(),
    d4m=dict(num_steps=6, batch_size=16),
    set_guide=dict(num_steps=4, batch_size=16),
    rded=dict(subset=20, crops=2),
    minimax=dict(num_steps=4, batch_size=16, steps=2),
    cao2=dict(num_steps=4, batch_size=16, iterations=2),
    cao2_on_mar=dict(generator='digits_mar', num_steps=4, num_iter=4, batch_size=16, iterations=2),
    dc=dict(iterations=2, batch_real=2, width=4),
    dsa=dict(iterations=2, batch_real=2, width=4),
    dm=dict(iterations=2, batch_real=2, width=4),
    mtt=dict(iterations=2, syn_steps=2, experts=1, max_start_epoch=1, width=4),
    glad=dict(iterations=2, batch_real=2, width=4),
    slfd=dict(iterations=2, batch_real=2, width=4, draws=4, rank=2),
    ruo=dict(iterations=2, first_iterations=3, batch_real=2, width=4, mse=1e-4),
)
SHAPES = dict(cao2={16, 2*16}, cao2_on_mar={16, 2*16})                       # shapes of the network's work where not that of guidance alone
UNSEEDED = {'herding', 'k_center', 'confident', 'medoids'}                  # no random number in them: every seed gives the same images
methods = pytest.mark.parametrize('name', sorted(SMALL))
def method(name): return name.split('_on_')[0]
@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as m: m.setenv('DDNB_CACHE', str(tmp_path_factory.mktemp('cache'))); yield
@pytest.fixture(scope='module')
def data(): return load_data('digits')
def make(name, data, seed=0, ipc=2, **kw): return get_method(method(name))(data, ipc=ipc, seed=seed, progress=False, **SMALL[name] | kw)
def same(a, b): return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and (a.latents is None or torch.equal(a.latents, b.latents))

def test_every_method_is_here(): assert {method(n) for n in SMALL} == set(METHODS)

@methods
def test_signature(name):
    p = list(inspect.signature(get_method(method(name))).parameters)
    assert p[0] == 'data' and {'ipc', 'seed', 'out', 'progress'} <= set(p)
    if 'generator' in p: assert p[1] == 'generator' and 'batch_size' in p

@methods
def test_number_labels_range(name, data):
    s = make(name, data)
    assert s.labels.tolist() == [c for c in range(10) for _ in range(2)] and s.classes == data.classes
    assert s.images.shape == (20, 3, 32, 32) and s.images.dtype in (torch.uint8, torch.float32) and s.images.float().std() > (.04 if s.images.is_floating_point() else 10)
    assert len({i.numpy().tobytes() for i in s.images}) == 20, 'an image comes twice'
    assert s.info['method'] == method(name) and s.info['seed'] == 0 and s.info['data']['name'] == 'digits'
    if 'batch_size' in SMALL[name]: assert s.info['options']['batch_size'] == SMALL[name]['batch_size']

@methods
def test_seed(name, data):
    state = torch.random.get_rng_state()
    assert same(make(name, data), make(name, data))
    assert torch.equal(make(name, data).images, make(name, data, seed=1).images) == (name in UNSEEDED)
    assert torch.equal(torch.random.get_rng_state(), state), 'the global random state was touched'

@methods
def test_other_batch_size(name, data):
    if 'batch_size' not in SMALL[name]: return
    a, b = make(name, data), make(name, data, batch_size=7)
    assert (a.latents-b.latents).abs().max() <= 1e-5*a.latents.abs().max()
    assert (a.images.int()-b.images.int()).abs().max() <= 1

@methods
def test_all_work_has_one_shape(name, data, monkeypatch):
    "Other shapes round differently; twenty images in batches of sixteen leave four, which are padded"
    if 'batch_size' not in SMALL[name]: return
    seen = set()
    def watched(f): return lambda self, x, *a: (seen.add(len(x)), f(self, x, *a))[1]
    for cls,part in ((LatentDiffusion, 'predict'), (MAR, 'encode')): monkeypatch.setattr(cls, part, watched(getattr(cls, part)))
    make(name, data)
    assert seen == SHAPES.get(name, {2*16})

@methods
def test_killed_and_resumed(name, data, tmp_path, monkeypatch):
    whole = make(name, data, out=tmp_path/'whole')
    put, count = SetWriter.put, []
    def dying(self, *a, **kw):
        if len(count) == 3: raise KeyboardInterrupt
        count.append(1); return put(self, *a, **kw)
    monkeypatch.setattr(SetWriter, 'put', dying)
    with pytest.raises(KeyboardInterrupt): make(name, data, out=tmp_path/'x')
    with pytest.raises(DdnbError, match='not finished'): DistilledSet.load(tmp_path/'x')
    monkeypatch.setattr(SetWriter, 'put', put)
    s = make(name, data, out=tmp_path/'x')
    assert same(s, whole) and s.verify() == []
    files = lambda d: {p.relative_to(d).as_posix(): p.read_bytes() for p in d.rglob('*') if p.is_file() and p.name != 'dataset.json'}
    assert files(tmp_path/'x') == files(tmp_path/'whole')

@methods
def test_saved_is_loaded_and_a_second_call_does_nothing(name, data, tmp_path, monkeypatch):
    s = make(name, data, out=tmp_path/'x')
    assert same(DistilledSet.load(tmp_path/'x'), s) and same(make(name, data), s)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path/'x').rglob('*.png') if p.parent.name != 'x'}
    monkeypatch.setattr(SetWriter, 'put', lambda *a, **kw: pytest.fail('a finished class was made again'))
    assert same(make(name, data, out=tmp_path/'x'), s)
    assert before == {p: p.stat().st_mtime_ns for p in before}

@methods
def test_verify_notices_one_flipped_bit(name, data, tmp_path):
    s = make(name, data, out=tmp_path/'x')
    for f in sorted(p for p in (tmp_path/'x').rglob('*') if p.is_file() and p.name != 'dataset.json')[::7]:
        kept = f.read_bytes(); b = bytearray(kept); b[len(b)//2] ^= 1; f.write_bytes(b)
        assert s.verify() == [f'changed: {f.relative_to(tmp_path/"x").as_posix()}']
        f.write_bytes(kept)
    m = tmp_path/'x/dataset.json'; m.write_text(m.read_text().replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(DdnbError, match='changed after it was written'): s.verify()

@methods
def test_bad_input_leaves_nothing(name, data, tmp_path):
    for bad in (dict(ipc=0), dict(ipc=-1), dict(ipc=1.5)):
        with pytest.raises(DdnbError, match='ipc must be'): make(name, data, out=tmp_path/'x', **bad)
    assert not (tmp_path/'x').exists()
    make(name, data, ipc=1, out=tmp_path/'x')
    with pytest.raises(DdnbError, match='another set: seed is 0 there and 1 here'): make(name, data, seed=1, ipc=1, out=tmp_path/'x')
