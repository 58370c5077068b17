"Mode discovery at the size of ImageNet: time for a class, and one class in memory"
import time, weakref
import pytest, torch
from ddnb.core import ClassInfo
from ddnb.data.images import ImageData, Split
from ddnb.mgd3.clusters import ALGORITHMS, find_modes
from ddnb.mgd3.discovery import discover

@pytest.fixture(scope='module')
def latents():
    "1,300 latents of 4x32x32 around twenty centres of unequal size"
    g = torch.Generator().manual_seed(0)
    own = torch.randint(0, 20, (1300,), generator=g)*torch.randint(0, 2, (1300,), generator=g)
    return .5*torch.randn(20, 4, 32, 32, generator=g)[own] + torch.randn(1300, 4, 32, 32, generator=g)

@pytest.mark.parametrize('k', (10, 50))
@pytest.mark.parametrize('name', ALGORITHMS)
def test_a_class_of_imagenet_takes_under_20_seconds(name, k, latents):
    t0 = time.time(); m = find_modes(latents, k, name)
    assert time.time()-t0 < 20
    assert m.shape == (k, 4, 32, 32) and m.isfinite().all() and torch.pdist(m.flatten(1)).min() > 1

class Watching:
    "A generator whose latents are counted while they live"
    id = 'watching'
    def __init__(self): self.alive, self.most = weakref.WeakSet(), 0
    def describe(self): return dict(id=self.id)
    def encode(self, images, batch_size=64):
        z = images.float().mean(1, keepdim=True)
        self.alive.add(z); self.most = max(self.most, sum(len(a) for a in self.alive))
        return z

def test_one_class_in_memory():
    n, each = 12, 8
    labels = torch.arange(n).repeat_interleave(each)
    images = torch.randint(0, 256, (n*each, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data, gen = ImageData('many', [ClassInfo(str(c)) for c in range(n)], 8, Split(labels, 8, images=images)), Watching()
    modes = discover(gen, data, 3, progress=False)
    assert len(modes) == n and gen.most == each
