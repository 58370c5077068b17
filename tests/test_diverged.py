"A learning rate that blows up ends as one line that names it, whatever the method, and its folder serves the next try"
import pytest, torch
from ddnb.contract import get_method
from ddnb.data.load import load_data
from ddnb.errors import Diverged
from ddnb.generators.diffusion.finetune import finetune
from ddnb.generators.diffusion.train import make_optimizer, train_step
from ddnb.generators.open import load_generator
from ddnb.matching.pixels import check_images, start_images
from test_contract import SMALL

RATES = [('dc', 'lr_img'), ('dm', 'lr_img'), ('mtt', 'lr_img'), ('glad', 'lr_w'), ('ruo', 'lr'), ('minimax', 'lr')]
RATES += [pytest.param(*r, marks=pytest.mark.slow) for r in (('dsa', 'lr_img'), ('glad', 'lr_f'), ('slfd', 'lr_w'), ('slfd', 'lr_f'))]
@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as m: m.setenv('DDNB_CACHE', str(tmp_path_factory.mktemp('cache'))); yield
@pytest.fixture(scope='module')
def data(): return load_data('digits')

@pytest.mark.parametrize('method,rate', RATES)
def test_one_line_and_the_folder_is_free_again(method, rate, data, tmp_path):
    def run(**kw): return get_method(method)(data, ipc=1, progress=False, out=tmp_path/'x', **SMALL[method] | kw)
    with pytest.raises(Diverged, match=f'diverged.*lower .*{rate} \\(now 1e\\+06\\)') as e: run(**{rate: 1e6})
    assert '\n' not in str(e.value) and not (tmp_path/'x').exists()
    assert run().verify() == []

def test_other_files_of_the_folder_stay(data, tmp_path):
    (tmp_path/'x').mkdir(); (tmp_path/'x/.hidden').write_text('mine')
    with pytest.raises(Diverged): get_method('dm')(data, ipc=1, progress=False, out=tmp_path/'x', **SMALL['dm'], lr_img=1e6)
    assert [p.name for p in (tmp_path/'x').iterdir()] == ['.hidden']

@pytest.mark.parametrize('x,why', [(lambda x: x*float('nan'), 'infinite'), (lambda x: x*100, 'times as large'), (lambda x: x.index_fill(0, torch.tensor([3]), 2.), 'one colour')])
def test_what_is_no_picture(data, x, why):
    images, info = start_images(data, 2, 0), dict(method='demo', options=dict(lr_img=3.))
    check_images(images, data, info)
    with pytest.raises(Diverged, match=f'demo diverged: .*{why}.*lr_img \\(now 3\\)'): check_images(x(images), data, info)

def test_training(data):
    net = torch.nn.Linear(1, 1)
    opt, sched = make_optimizer(net, .5, 3)
    with pytest.raises(Diverged, match='lower lr \\(now 0.5\\)'): train_step(net(torch.full((1, 1), float('inf'))).mean()*0, opt, sched)
    with pytest.raises(Diverged, match='lower lr \\(now 1e\\+06\\)'): finetune(load_generator('digits'), data, steps=4, lr=1e6, progress=False)
