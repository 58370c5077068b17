"Evaluation across files and folders: class order, bad input, protocols on the command line"
import csv, shutil
import pytest, torch
from PIL import Image
from ddnb.baselines.random import distill
from ddnb.core import ClassInfo
from ddnb.errors import DdnbError
from ddnb.sets.distilled import DistilledSet
from ddnb.data.load import load_data
from ddnb.errors import DataWarning
from ddnb.evaluate import evaluate, train_teacher
from ddnb.classifiers.teachers import save_teacher
from ddnb.sets.importers import import_set

QUICK = ('--repeats', 1, '--epochs', 6)
NAMES = ['ant', 'bee', 'cow', 'dog', 'elk', 'fox', 'gnu', 'hen', 'ibex', 'jay']
@pytest.fixture(scope='module')
def digits(): return load_data('digits')
@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch): monkeypatch.setenv('DDNB_CACHE', str(tmp_path/'cache'))

def tree(root, digits, names=NAMES, train=30, test=20):
    "The digits as folders of PNGs, digit i under names[i]"
    for part,split,n in (('train', digits.train, train), ('test', digits.test, test)):
        for i,name in enumerate(names):
            (root/part/name).mkdir(parents=True)
            for k in split.of_class(i)[:n].tolist(): Image.fromarray(split.images[k].permute(1, 2, 0).numpy()).save(root/part/name/f'{k:05d}.png')
    return load_data(root)

def test_a_teacher_whose_folders_were_shuffled_is_refused(tmp_path, digits):
    data = tree(tmp_path/'right', digits); shuffled = tree(tmp_path/'shuffled', digits, NAMES[3:]+NAMES[:3])
    opts = dict(epochs=12, net=(('width', 16),), flip=0.)
    good, bad = train_teacher(data, 'convnet3', device='cpu', **opts), train_teacher(shuffled, 'convnet3', device='cpu', **opts)
    s, few = distill(data, ipc=2), dict(repeats=1, epochs=3, evals=1, progress=False, net=(('width', 8),), arch='convnet3', device='cpu')
    assert evaluate(s, data, 'soft', teacher=good, **few).mean > 0
    with pytest.raises(DdnbError, match="teacher convnet3 has its classes in another order: .*% are right, .*% after renaming"): evaluate(s, data, 'soft', teacher=bad, **few)
    save_teacher(bad, tmp_path/'bad.safetensors')
    with pytest.raises(DdnbError, match='another order'): evaluate(s, data, 'soft', teacher=tmp_path/'bad.safetensors', **few)

def test_a_set_whose_folders_were_shuffled_is_refused(tmp_path, ddnb):
    tree(tmp_path/'real', load_data('digits', size=16), train=10, test=10)
    for i,name in enumerate(NAMES): shutil.copytree(tmp_path/'real/train'/name, tmp_path/'set'/NAMES[(i+1) % 10])
    with pytest.raises(DdnbError, match='a student of this set has its classes in another order: .*% are right, .*% after renaming'):
        evaluate(import_set(tmp_path/'set', tmp_path/'real'), load_data(tmp_path/'real'), 'dc', repeats=1, progress=False, epochs=60, evals=1, net=(('width', 32),), device='cpu')

def test_renamed_folders_are_no_harm(tmp_path, digits):
    "The same pictures under names that sort otherwise: labels follow the names"
    a, b = tree(tmp_path/'a', digits), tree(tmp_path/'b', digits, NAMES[::-1])
    s = distill(b, ipc=3); aligned = DistilledSet(s.images, s.labels, [ClassInfo(NAMES[9-NAMES.index(c.name)]) for c in s.classes])
    kw = dict(repeats=1, epochs=60, evals=1, progress=False, net=(('width', 16),), lr=.03, device='cpu')
    assert evaluate(aligned, a, 'dc', **kw).mean > 35

def test_protocols_and_tables(ddnb, tmp_path):
    distill('digits', ipc=1, out=tmp_path/'x')
    assert ddnb('evaluate', 'x', '--protocol', 'glad', *QUICK)[0] == 0
    code, out, err = ddnb('evaluate', 'x', '--protocol', 'soft', '--teacher', 'convnet3', *QUICK, '--table', 'x.csv')
    assert (code, err) == (0, '') and 'protocol: soft, scaled down for digits, epochs=6' in out and 'differ by' in out
    assert [r['set'] for r in csv.DictReader(open(tmp_path/'x.csv'))] == ['random', 'herding', 'x']
    assert ddnb('evaluate', 'x', '--repeats', 1, '--epochs', 1, '--table', 'x.tex')[0] == 0 and (tmp_path/'x.tex').read_text().endswith('\\end{tabular}')

def test_one_clear_line(ddnb, tmp_path, digits):
    distill(digits, ipc=1, out=tmp_path/'x')
    for part in ('train', 'test'):
        for c in 'abc': (tmp_path/'other'/part/c).mkdir(parents=True); Image.new('RGB', (32, 32)).save(tmp_path/'other'/part/c/'0.png')
    save_teacher(train_teacher(load_data(tmp_path/'other'), 'convnet3', device='cpu', epochs=1, cache=False, net=(('width', 8),)), tmp_path/'three.safetensors')
    soft = ('--protocol', 'soft')
    for argv,said in {('--data', 'other'): "the set's 10 classes are not the 3 of other", soft: 'needs a teacher', (*soft, '--teacher', 'nowhere.pth'): 'no teacher file nowhere.pth',
                      (*soft, '--teacher', 'three.safetensors'): "with 3 outputs does not know '0'", ('--protocol', 'fkd'): 'this set has none',
                      (*soft, '--teacher', 'convnet33'): 'did you mean convnet3', ('--repeats', 0): 'repeats must be a whole number of at least 1', ('--protocol', 'sof'): 'did you mean soft'}.items():
        code, out, err = ddnb('evaluate', 'x', *argv, '--epochs', 2)
        assert code == 2 and said in err and err.count('\n') == 1, (argv, err)

def test_images_and_labels_that_cannot_be_read(ddnb, tmp_path, digits):
    s = distill(digits, ipc=1, out=tmp_path/'x')
    (tmp_path/'x/3/00000.png').write_bytes(b'no picture')
    code, _, err = ddnb('evaluate', 'x', *QUICK)
    assert code == 2 and '3/00000.png' in err and err.count('\n') == 1, err
    soft = torch.zeros(10, 10); soft[4, 2] = float('nan')
    DistilledSet(s.images, s.labels, s.classes, soft, info=s.info).save(tmp_path/'nan')
    code, _, err = ddnb('evaluate', 'nan', '--protocol', 'fkd', *QUICK)
    assert code == 2 and '1 of 10 soft labels are not finite (first: image 4)' in err and err.count('\n') == 1, err

def test_another_size_is_said(tmp_path, digits):
    with pytest.warns(DataWarning, match='images of 16 pixels are resized to the 32 of digits'):
        evaluate(distill(load_data('digits', size=16), ipc=1), digits, repeats=1, progress=False, epochs=1, evals=1)

@pytest.mark.parametrize('arch', ('resnet50', 'resnet101'))
def test_deep_residual_networks_learn_from_both_kinds_of_labels(arch):
    "Forward and backward: every weight gets a finite gradient, from the last layer to the first"
    from ddnb.classifiers.learner import mixed_loss
    from ddnb.nets import make_net
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for y in (torch.arange(4), torch.randn(4, 10, generator=torch.Generator().manual_seed(1))):
        net = make_net(arch, 10, 32); mixed_loss(net(x), y, y.flip(0), .7, 20. if y.dim() > 1 else 1.).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        assert net.conv1.weight.grad.abs().sum() > 0 and net.fc.weight.grad.abs().sum() > 0

def test_the_residual_network_of_ruo_has_the_stem_of_its_pictures():
    from ddnb.nets import make_net
    stems = [make_net('resnet18_in', 10, img_size=size).conv1 for size in (32, 224)]
    assert [(c.kernel_size[0], c.stride[0]) for c in stems] == [(3, 1), (7, 2)]
