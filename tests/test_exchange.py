"Other projects' sets through the command line, and sets of ours out and back"
import subprocess, sys
import numpy as np
import pytest, torch
from PIL import Image
from ddnb.baselines.random import distill
from ddnb.sets.distilled import DistilledSet
from ddnb.data.load import load_data
from ddnb.sets.importers import import_set
from ddnb.data.zca import ZCA

@pytest.fixture(scope='module')
def digits(): return load_data('digits')

def score(out, name): return float(next(l for l in out.splitlines() if l.startswith(name)).split()[1])

@pytest.mark.parametrize('fmt,name', [('imagefolder', 'x'), ('parquet', 'x'), ('pt', 'x.pt'), ('safetensors', 'x.safetensors')])
def test_export_and_import(ddnb, tmp_path, fmt, name):
    s = distill('digits', ipc=2, out=tmp_path/'s')
    code, out, err = ddnb('export', 's', '--format', fmt, '--out', name)
    assert (code, out.strip(), err) == (0, name, '')
    code, _, err = ddnb('import', name, '--out', 'back', *(('--data', 'digits') if fmt == 'imagefolder' else ()))
    back = DistilledSet.load(tmp_path/'back')
    assert (code, err) == (0, '') and torch.equal(back.images, s.images) and torch.equal(back.labels, s.labels) and back.classes == s.classes
    code, _, err = ddnb('export', 's', '--format', fmt, '--out', name)
    assert code == 2 and 'is there already' in err and err.count('\n') == 1

def test_an_export_scores_as_the_set_does(ddnb, tmp_path):
    "Two sets and random ones trained alike: the parquet file, which names its data itself, and the folder give one number"
    distill(load_data('digits', size=16), ipc=1, seed=3, out=tmp_path/'s'); ddnb('export', 's', '--format', 'parquet', '--out', 'p')
    code, out, err = ddnb('evaluate', 's', 'p', '--repeats', 1, '--epochs', 6)
    assert code == 0 and score(out, 's ') == score(out, 'p '), (out, err)

def test_a_whitened_set_is_judged_on_whitened_images(ddnb, tmp_path):
    digits = load_data('digits', size=16)
    s = distill(digits, ipc=5); z = ZCA().fit(digits)
    (tmp_path/'mtt').mkdir()
    for k,t in dict(images=z(s.images), images_zca=s.images/255, labels=s.labels).items(): torch.save(t, tmp_path/'mtt'/f'{k}_best.pt')
    assert import_set(tmp_path/'mtt', digits).info['space'] == 'zca'
    code, out, err = ddnb('evaluate', 'mtt', '--data', 'digits', '--repeats', 1, '--epochs', 20)
    assert code == 0 and score(out, 'mtt') > 25, (out, err)
    back = import_set(tmp_path/'mtt', digits, space='rgb')
    assert torch.equal(back.images, s.images) and back.info['space'] == 'rgb'
    distill(digits, ipc=5, out=tmp_path/'plain')
    code, _, err = ddnb('evaluate', 'mtt', 'plain', '--data', 'digits', '--repeats', 1, '--epochs', 1)
    assert code == 2 and 'some of these sets are whitened' in err and err.count('\n') == 1

def test_import_writes_a_verified_set(ddnb, tmp_path, digits):
    x = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    m, s = (torch.tensor(t).view(-1, 1, 1) for t in digits.stats)
    torch.save({'data': [[(x-m)/s, torch.arange(10).repeat_interleave(2)]], 'accs_all_exps': {'ConvNet': [np.float64(9.)]}}, tmp_path/'res_DC.pt')
    code, out, err = ddnb('import', 'res_DC.pt', '--data', 'digits', '--out', 'dc')
    assert (code, err) == (0, '') and 'contact.png' in out
    assert ddnb('verify', 'dc')[0] == 0
    d = DistilledSet.load(tmp_path/'dc')
    assert (d.images-x).abs().max() < 1e-6 and d.info['options']['format'] == 'dc' and len(d.info['ancestors'][0]['sha256']) == 64

def test_a_pickle_is_not_run(ddnb, tmp_path):
    "A file that would run code when unpickled does not, and the refusal is one line"
    (tmp_path/'evil.py').write_text("import os, torch\nclass E:\n    def __reduce__(self): return (os.mkdir, ('owned',))\ntorch.save(E(), 'evil.pt')\n")
    subprocess.run([sys.executable, 'evil.py'], cwd=tmp_path, check=True)
    code, _, err = ddnb('import', 'evil.pt', '--data', 'digits', '--out', 'x')
    assert code == 2 and err.count('\n') == 1 and 'a pickle can run any code' in err
    assert not (tmp_path/'owned').exists() and not (tmp_path/'x').exists()

def test_the_class_order_is_said(ddnb, tmp_path):
    for part in ('train', 'test'):
        for w in ('n02096294', 'n02087394'):                    # not in sorted order below
            (tmp_path/'dogs'/part/w).mkdir(parents=True)
            for i in range(3): Image.new('RGB', (32, 32), (40*i, int(w[-3:])%256, 0)).save(tmp_path/'dogs'/part/w/f'{i}.png')
    for k in range(2):
        (tmp_path/'set'/f'{k:05d}').mkdir(parents=True); Image.new('RGB', (32, 32), (100*k, 0, 0)).save(tmp_path/'set'/f'{k:05d}'/'a.jpg')
    (tmp_path/'order.txt').write_text('n02096294\nn02087394\n')
    code, _, err = ddnb('import', 'set', '--data', 'dogs', '--out', 'a')
    assert code == 0 and err.startswith('ddnb: note: ') and 'order of dogs was assumed (0 = Rhodesian ridgeback n02087394' in err and err.count('\n') == 1
    code, _, err = ddnb('import', 'set', '--data', 'dogs', '--order', 'order.txt', '--out', 'b')
    assert (code, err) == (0, '')
    a, b = DistilledSet.load(tmp_path/'a'), DistilledSet.load(tmp_path/'b')
    assert torch.equal(a.images, b.images.flip(0)) and a.classes == b.classes

def test_a_resplit_is_noted(ddnb, tmp_path):
    from ddnb.data.subsets import subset
    for c in subset('imagewoof'):
        for part,n in (('train', 1), ('val', 51)):
            (tmp_path/'data/imagewoof'/part/c.wnid).mkdir(parents=True)
            for i in range(n): Image.new('RGB', (16, 16)).save(tmp_path/'data/imagewoof'/part/c.wnid/f'{i}.png')
    code, _, err = ddnb('distill', 'random', '--data', 'imagewoof', '--root', 'data', '--ipc', 1)
    assert code == 0 and err.count('\n') == 1 and 'this is a re-split' in err
