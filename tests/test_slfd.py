"GLaD and SLFD across rooms: the command line, what comes back from disk, what is refused"
import os, pickle
import numpy as np
import pytest, torch
from PIL import Image
from ddnb.errors import DdnbError
from ddnb.sets.distilled import DistilledSet
from ddnb.data.load import load_data
from ddnb.generators.open import load_generator
from ddnb.generators.gan.stylegan_xl import convert_stylegan
from ddnb.slfd import distill, glad
from ddnb.data.subsets import subset

QUICK = dict(iterations=2, batch_real=2, width=4, progress=False, device='cpu')
MTT = dict(matching='mtt', experts=1, max_start_epoch=1, expert_epochs=1, syn_steps=2)
ARGS = [a for k,v in QUICK.items() if k != 'progress' for a in ('--'+k.replace('_', '-'), v)]
@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch): monkeypatch.setenv('DDNB_CACHE', str(tmp_path/'cache'))

@pytest.mark.parametrize('method', ('glad', 'slfd'))
def test_command_line(ddnb, method):
    code, out, err = ddnb('distill', method, '--out', 'x', '--generator', 'stylegan_random', '--matching', 'dm', *ARGS)
    assert code == 0 and f'DistilledSet({method}: 10 images of 10 classes, 32x32)' in out, (out, err)
    s = DistilledSet.load('x'); assert s.info['generator']['id'] == 'stylegan_random' and s.info['options']['matching'] == 'dm' and s.verify() == []
    code, _, err = ddnb('distill', method, '--out', 'x', '--generator', 'stylegan_random', *ARGS); assert code == 2 and "matching is 'dm' there and 'dc' here" in err
    for argv,why in ((['--matching', 'mt'], 'did you mean mtt'), (['--layer', 6], 'layer must lie in 0..5'), (['--generator', 'digits'], 'no feature map'), (['--data', 'digits', '--size', 16], 'makes images of 32 pixels'), (['--ipc', 0], 'ipc must be')):
        code, _, err = ddnb('distill', method, '--out', 'y', *ARGS, *argv)
        assert code == 2 and why in err and len(err.strip().splitlines()) == 1 and not os.path.exists('y'), err
    assert ddnb('distill', method, '--dry-run')[0] == 0

def test_a_diffusion_method_refuses_a_gan(ddnb):
    code, _, err = ddnb('distill', 'plain', '--generator', 'digits_stylegan'); assert code == 2 and 'predicts no noise' in err

def test_trajectories_and_their_step_size(tmp_path):
    for f in (distill, glad.distill):
        out = tmp_path/f.__module__
        s = f('digits', out=out, **QUICK, **MTT); again = f('digits', out=out, **QUICK, **MTT)
        assert s.info['syn_lr'] == again.info['syn_lr'] > 0 and torch.equal(s.images, again.images)
    a, b = (distill('digits', **QUICK, **MTT, how=h).images for h in ('unrolled', 'constant_memory')); assert not torch.equal(a, b)

def test_options_change_the_set():
    base = distill('digits', **QUICK, lr_w=1.).images
    for kw in (dict(rank=0), dict(covariance='full'), dict(reduction='joint'), dict(draws=2), dict(draws=5, independent=True), dict(layer=1), dict(init='average'), dict(detach_heads=True)):
        assert not torch.equal(distill('digits', **QUICK, lr_w=1., **kw).images, base), kw
    for kw in (dict(draws=3), dict(rank=-1), dict(covariance='dense'), dict(reduction='x'), dict(batch_size=0), dict(init='average', ipc=2)):
        with pytest.raises(DdnbError): distill('digits', **QUICK | kw)

def test_images_are_decoded_in_chunks_of_any_size():
    a, b = (glad.distill('digits', **QUICK, batch_size=n).images for n in (10, 3)); assert (a-b).abs().max() < 1e-3

def test_latents_are_distilled_at_the_size_of_the_generator(tmp_path):
    gen = load_generator('digits_stylegan', 'cpu'); gen.save(tmp_path/'g')
    assert torch.equal(glad.distill('digits', tmp_path/'g', **QUICK).images, glad.distill('digits', gen, **QUICK).images)
    with pytest.raises(DdnbError, match='no StyleGAN belongs to'): glad.distill(load_data('digits').__class__('pets', load_data('digits').classes, 32, load_data('digits').train), **QUICK)

def test_a_malicious_pickle_is_refused(tmp_path):
    class Payload:
        def __reduce__(self): return open, (str(tmp_path/'pwned'), 'w')
    (tmp_path/'bad.pkl').write_bytes(pickle.dumps(dict(G_ema=Payload())))
    with pytest.raises(DdnbError, match='no place among'): convert_stylegan(tmp_path/'bad.pkl', tmp_path/'out')
    assert not (tmp_path/'pwned').exists() and not (tmp_path/'out').exists()

@pytest.mark.parametrize('size', (64, 128, 256))
def test_pathmnist_upsampled(tmp_path, size):
    x = np.random.default_rng(0).integers(0, 256, (9, 28, 28, 3), dtype=np.uint8)
    np.savez_compressed(tmp_path/'pathmnist.npz', **{f'{p}_{k}': v for p in ('train', 'val', 'test') for k,v in (('images', x), ('labels', np.arange(9, dtype=np.uint8)[:,None]))})
    d = load_data('pathmnist-28', root=tmp_path, size=size)
    assert (d.size, len(d.classes)) == (size, 9)
    assert torch.equal(d.train.batch(torch.tensor([4]))[0], torch.from_numpy(np.array(Image.fromarray(x[4]).resize((size, size), Image.BICUBIC))).permute(2, 0, 1))

def test_merged_subsets_have_every_class_once():
    ids = [c.wnid for c in subset('imagenet-slfd')]; assert len(ids) == len(set(ids)) == 94
