"Refinement of other methods' sets: the same contract, one shape of work, resume, and what it refuses"
import pytest, torch
from ddnb.cao2 import distill, refine, select
from ddnb.contract import get_method
from ddnb.errors import DdnbError
from ddnb.sets.distilled import DistilledSet
from ddnb.sets.folder import SetWriter
from ddnb.generators.diffusion.latent import LatentDiffusion
from ddnb.generators.sets import open_inputs

QUICK = dict(iterations=2, batch_size=8, progress=False)
@pytest.fixture(scope='module')
def inputs(): return open_inputs('digits', device='cpu')
@pytest.fixture(scope='module')
def sets(inputs): return {m: get_method(m)(*inputs, 1, num_steps=n, batch_size=8, progress=False) for m,n in (('mgd3', 4), ('plain', 4), ('d4m', 6))}
def same(a, b): return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and torch.equal(a.latents, b.latents)

@pytest.mark.parametrize('name', ('mgd3', 'plain', 'd4m'))
def test_refine_takes_the_set_of_every_diffusion_method(name, sets, inputs):
    state = torch.random.get_rng_state()
    s = sets[name]; r = refine(s, inputs[1], **QUICK)
    assert same(r, refine(s, inputs[1], **QUICK)) and not torch.equal(r.latents, refine(s, inputs[1], seed=1, **QUICK).latents)
    assert torch.equal(r.labels, s.labels) and r.classes == s.classes and r.images.dtype == torch.uint8
    assert 0 < (r.latents-s.latents).abs().max() <= 2*6e-4*1.01
    assert r.info['method'] == 'cao2.refine' and [a['method'] for a in r.info['ancestors']] == [name]
    assert torch.equal(torch.random.get_rng_state(), state)

def test_the_generator_of_the_set_is_found(sets, inputs):
    assert same(refine(sets['plain'], device='cpu', **QUICK), refine(sets['plain'], inputs[1], **QUICK))

def test_one_shape(sets, inputs, monkeypatch):
    seen, predict = set(), LatentDiffusion.predict
    monkeypatch.setattr(LatentDiffusion, 'predict', lambda self, x, *a: (seen.add(len(x)), predict(self, x, *a))[1])
    refine(sets['plain'], inputs[1], **QUICK)
    assert seen == {8}

def test_killed_and_resumed(sets, inputs, tmp_path, monkeypatch):
    s, whole = sets['plain'], refine(sets['plain'], inputs[1], out=tmp_path/'whole', **QUICK)
    put, count = SetWriter.put, []
    def dying(self, *a, **kw):
        if len(count) == 3: raise KeyboardInterrupt
        count.append(1); return put(self, *a, **kw)
    monkeypatch.setattr(SetWriter, 'put', dying)
    with pytest.raises(KeyboardInterrupt): refine(s, inputs[1], out=tmp_path/'x', **QUICK)
    monkeypatch.setattr(SetWriter, 'put', put)
    r = refine(DistilledSet.load(s.save(tmp_path/'s').path), inputs[1], out=tmp_path/'x', **QUICK)
    assert same(r, whole) and r.verify() == []
    monkeypatch.setattr(SetWriter, 'put', lambda *a, **kw: pytest.fail('a finished class was made again'))
    assert same(refine(s, inputs[1], out=tmp_path/'x', **QUICK), whole)
    with pytest.raises(DdnbError, match='another set: ancestors is'): refine(sets['mgd3'], inputs[1], out=tmp_path/'x', **QUICK)

def test_bad_input_leaves_nothing(sets, inputs, tmp_path):
    s, (data, gen) = sets['plain'], inputs
    for kw,says in ((dict(t_hat=0), 't_hat must'), (dict(norm='l7'), 'unknown norm'), (dict(condition='class'), 'unknown condition'), (dict(timesteps='raw'), 'unknown timesteps')):
        with pytest.raises(DdnbError, match=says): refine(s, gen, out=tmp_path/'x', **QUICK | kw)
    floats = DistilledSet(s.images.float()/255, s.labels, s.classes, info=s.info)
    with pytest.raises(DdnbError, match='holds floats'): refine(floats, gen, out=tmp_path/'x')
    with pytest.raises(DdnbError, match='pool must be a whole number of at least 1'): distill(data, gen, 3, pool=0, out=tmp_path/'x')
    with pytest.raises(DdnbError, match="more than the pool's 1 images"): select(s, data, 2, out=tmp_path/'x')
    assert not (tmp_path/'x').exists()

@pytest.fixture(scope='module')
def mar(inputs): return distill(inputs[0], 'digits_mar', 1, device='cpu', num_steps=4, num_iter=4, batch_size=8, iterations=0, selector='convnet3', progress=False)

def test_refine_takes_the_set_of_a_mar(mar, tmp_path):
    r = refine(mar, device='cpu', **QUICK)
    assert same(r, refine(mar, 'digits_mar', device='cpu', out=tmp_path/'x', **QUICK)) and not torch.equal(r.latents, refine(mar, device='cpu', seed=1, **QUICK).latents)
    assert 0 < (r.latents-mar.latents).abs().max() <= 2*1e-4*1.01 and torch.equal(r.labels, mar.labels)
    assert [a['method'] for a in r.info['ancestors']] == ['cao2'] and DistilledSet.load(tmp_path/'x').verify() == []
    with pytest.raises(DdnbError, match='t_hat is no option of CaO2 on digits_mar'): refine(mar, device='cpu', t_hat=3, **QUICK)
