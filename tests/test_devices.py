"Everything runs on the device it was told to, and on no other: shown on an emulated accelerator"
import inspect
import pytest, torch
from dataclasses import replace
from emulated import emulated, Mixed
from test_contract import SMALL, method
from ddnb.contract import get_method
from ddnb.data.load import load_data

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
