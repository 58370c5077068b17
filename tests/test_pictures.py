"Files that people really have: trees with strange things in them, pictures of every kind, and data that changes under its name"
import os, time
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from ddnb.baselines.random import distill
from ddnb.data.folders import class_order, is_hidden, list_files
from ddnb.data.identity import file_hashes
from ddnb.data.images import Split, decode_image, describe, read_image, resized, to_rgb
from ddnb.data.load import load_data
from ddnb.errors import DataWarning, DdnbError

def picture(k=0, side=16): return Image.fromarray(np.random.default_rng(k).integers(0, 256, (side, side, 3), dtype=np.uint8))
def tree(root, classes=('a', 'b'), n=2, inside='', suffix='.png', side=16):
    for part in ('train', 'test'):
        for c in classes:
            folder = root/part/c/inside
            folder.mkdir(parents=True)
            for i in range(n): picture(i, side).save(folder/f'{i}{suffix}', format='JPEG' if suffix == '.jfif' else None)
    return root

# trees
def test_what_machines_leave_behind_is_left_alone(tmp_path, ddnb):
    root = tree(tmp_path/'pets')
    for name in ('a/._0.png', 'a/.ipynb_checkpoints/0.png', 'b/__MACOSX/0.png', 'a/Thumbs.db', 'b/.DS_Store', '.hidden/0.png'):
        (root/'train'/name).parent.mkdir(exist_ok=True)
        (root/'train'/name).write_bytes(bytes(range(200)))
    d = load_data(root)
    assert (d.size, len(d.train), len(d.classes), d.skipped) == (16, 4, 2, [])
    assert ddnb('distill', 'random', '--data', root, '--ipc', 1, '--out', 's')[0] == 0
    (tmp_path/'s/.DS_Store').touch()
    assert ddnb('verify', 's')[0] == 0

def test_images_in_a_folder_of_the_class_keep_their_size(tmp_path): assert load_data(tree(tmp_path/'t', inside='images', side=24)).size == 24
def test_other_endings(tmp_path): assert len(load_data(tree(tmp_path/'t', suffix='.jfif')).train) == 4

def test_links_are_followed_once(tmp_path):
    root = tree(tmp_path/'pets')
    (tmp_path/'more').mkdir()
    picture(7).save(tmp_path/'more/x.png')
    (root/'train/a/more').symlink_to(tmp_path/'more')
    (root/'train/a/loop').symlink_to(root/'train')
    (root/'train/c').symlink_to(root/'train/b')
    (root/'test/c').symlink_to(root/'test/b')
    with pytest.warns(DataWarning, match='listed already'): d = load_data(root)
    assert [c.name for c in d.classes] == ['a', 'b', 'c'] and d.train.labels.bincount().tolist() == [3, 2, 2]

@pytest.mark.parametrize('wrong', ['html', 'empty', 'link', 'pipe', 'bomb'])
def test_a_bad_file_is_named_or_left_out(tmp_path, ddnb, wrong):
    root = tree(tmp_path/'pets', n=1)
    picture(5).save(root/'train/a/good.png')
    bad = root/'train/a/0.png'
    bad.unlink()
    if wrong == 'link': bad.symlink_to('nowhere')
    elif wrong == 'pipe': os.mkfifo(bad)
    elif wrong == 'bomb': Image.new('1', (12_000, 12_000)).save(bad)
    else: bad.write_bytes(b'<html>404</html>' if wrong == 'html' else b'')
    code, _, err = ddnb('distill', 'random', '--data', root, '--ipc', 1, '--out', 'o')
    assert code == 2 and 'a/0.png' in err and 'Traceback' not in err and not (tmp_path/'o/dataset.json').exists()
    assert ddnb('distill', 'random', '--data', root, '--ipc', 1, '--skip-bad', '--out', 'o')[0] == 0
    with pytest.warns(DataWarning, match='left out of .*train: a/0.png'): d = load_data(root, skip_bad=True)
    assert len(d.train) == 2 and d.skipped[0].startswith('a/0.png: ')

def test_what_is_left_out_is_counted(tmp_path):
    root = tree(tmp_path/'pets')
    for k in range(3): (root/f'train/a/{k}.heic').touch()
    with pytest.warns(DataWarning, match='3 of no image type \\(3 .heic\\)'): d = load_data(root)
    assert d.skipped == ['3 of no image type (3 .heic)'] and describe(d)['skipped'] == d.skipped

def test_numbered_folders_count_as_numbers(tmp_path):
    with pytest.warns(DataWarning, match='1, 10, 2'): d = load_data(tree(tmp_path/'t', classes=('10', '2', '1'), n=1))
    assert [c.name for c in d.classes] == ['1', '2', '10']

@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True), st.sampled_from(('', 'class_', 'n')), st.integers(1, 8))
def test_numbers_sort_as_numbers(numbers, prefix, width):
    assert class_order([f'{prefix}{n:0{width}d}' for n in numbers]) == [f'{prefix}{n:0{width}d}' for n in sorted(numbers)]

@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from(('a', 'b', '.c', 'Thumbs.db', 'd.png', '._d.png')), min_size=1, max_size=4), max_size=8))
def test_the_lister_shows_what_has_no_hidden_part(tmp_path_factory, names):
    root = tmp_path_factory.mktemp('tree')
    for parts in names:
        file = root.joinpath(*parts, 'file')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    shown = {root.joinpath(*parts, 'file') for parts in names if not any(map(is_hidden, parts))}
    assert list_files(root) == sorted(shown)

# pictures
def test_a_photograph_stands_upright(tmp_path):
    x, tag = np.zeros((32, 32, 3), np.uint8), Image.Exif()
    x[:16], tag[274] = 255, 6
    Image.fromarray(x).save(tmp_path/'p.jpg', exif=tag, quality=95)
    y = read_image(tmp_path/'p.jpg', 32).float().mean(0)
    assert y[:, 17:].mean() > 240 and y[:, :15].mean() < 15

@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 65535), min_size=2, max_size=64), st.sampled_from(('png', 'tiff')))
def test_sixteen_bits_keep_their_order_and_range(tmp_path_factory, values, kind):
    file = tmp_path_factory.mktemp('p')/f'x.{kind}'
    Image.fromarray(np.array([values], np.uint16)).save(file)
    x = np.asarray(decode_image(file, said=set()))[0,:,0]
    assert np.abs(x - np.array(values)/257).max() <= 0.5

@pytest.mark.parametrize('values,expected', [([0., .5, 1.], [0, 128, 255]), ([0., 100., 255.], [0, 100, 255]), ([-1., 0., 1.], [0, 128, 255]), ([10., 510., 1010.], [0, 128, 255])])
def test_floats_are_scaled_by_their_range(tmp_path, values, expected):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path/'x.tiff')
    said = set()
    assert np.asarray(decode_image(tmp_path/'x.tiff', said=said))[0,:,0].tolist() == expected and len(said) == 1
def test_no_number_is_no_picture(tmp_path):
    Image.fromarray(np.array([[np.nan, 1]], np.float32)).save(tmp_path/'x.tiff')
    with pytest.raises(DdnbError, match='no numbers'): decode_image(tmp_path/'x.tiff')

def test_transparent_parts_lie_on_white_and_it_is_said(tmp_path):
    root, clear = tree(tmp_path/'pets', n=1), Image.new('RGBA', (16, 16), (255, 0, 0, 0))
    clear.putpixel((0, 0), (255, 0, 0, 255))
    clear.save(root/'train/a/0.png')
    with pytest.warns(DataWarning, match='laid on white'): x = load_data(root).train.batch(torch.tensor([0]))[0]
    assert x[:, 0, 0].tolist() == [255, 0, 0] and (x[:, 1:] == 255).all()
    palette = Image.new('P', (2, 1))
    palette.putpalette([0, 255, 0, 9, 9, 9])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path/'p.png', transparency=1)
    assert np.asarray(decode_image(tmp_path/'p.png', said=set())).tolist() == [[[0, 255, 0], [255, 255, 255]]]

@settings(max_examples=40, deadline=None)
@given(st.sampled_from(('1', 'L', 'P', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'LA', 'I', 'F', 'HSV')), st.integers(1, 5), st.integers(1, 5))
def test_every_mode_becomes_rgb(mode, w, h):
    img = to_rgb(Image.new(mode, (w, h)))
    assert img.mode == 'RGB' and img.size == (w, h)

def test_an_animation_is_its_first_frame(tmp_path):
    Image.new('L', (4, 4), 10).save(tmp_path/'x.gif', save_all=True, append_images=[Image.new('L', (4, 4), 200)])
    assert np.asarray(decode_image(tmp_path/'x.gif')).max() == 10

@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from((b'', b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff\xe0', b'GIF89a', b'BM', b'II*\x00', b'RIFF\0\0\0\0WEBP')))
def test_bytes_that_are_no_picture_are_one_error(data, head):
    try: decode_image(head + data, 'it', set())
    except DdnbError as e: assert '\n' not in str(e)

def test_ways_to_a_square(tmp_path):
    root = tree(tmp_path/'pets', n=1)
    Image.fromarray(np.tile(np.arange(0, 240, 4, dtype=np.uint8), (30, 1))).save(root/'train/a/0.png')
    d = load_data(root, size=15)
    ways = {k: resized(d, resize=k) for k in ('adm', 'squash', 'torchvision')}
    span = {k: int(np.ptp(v.train.batch(torch.tensor([0])).numpy())) for k,v in ways.items()}
    assert span['squash'] > 200 and span['adm'] < 130 and span['torchvision'] < 130
    assert describe(ways['squash'])['resize'] == 'squash' and 'resize' not in describe(d)
    assert resized(d, 8).train.batch(torch.tensor([0])).shape[-1] == 8

# reading and identity
def test_one_image_costs_one_image(tmp_path, monkeypatch):
    d, read = load_data(tree(tmp_path/'pets', n=20)), []
    monkeypatch.setattr('ddnb.data.images.read_image', lambda path, *a: read.append(path) or torch.zeros(3, 16, 16, dtype=torch.uint8))
    d.train.batch(torch.tensor([7]))
    d.train.batch(torch.tensor([7, 9]))
    assert read == [d.train.paths[7], d.train.paths[9]]

@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=50))
def test_positions_of_a_class(labels):
    s = Split(torch.tensor(labels), 1)
    for c in range(7): assert s.of_class(c).tolist() == [i for i,label in enumerate(labels) if label == c]

def test_other_pixels_under_the_same_names_are_other_data(tmp_path):
    root = tmp_path/'mine'
    def write(shift):
        for part in ('train', 'test'):
            for c in range(2):
                (root/part/str(c)).mkdir(parents=True, exist_ok=True)
                Image.new('RGB', (8, 8), (100*((c+shift) % 2), 0, 0)).save(root/part/str(c)/'0.bmp')
    write(0)
    old = load_data(root)
    distill(old, ipc=1, out=tmp_path/'set', progress=False)
    kept = {p: p.stat() for p in list_files(root)}
    write(1)
    for p,s in kept.items(): os.utime(p, ns=(s.st_atime_ns, s.st_mtime_ns))
    new = load_data(root)
    assert describe(new)['fingerprint'] != describe(old)['fingerprint']
    with pytest.raises(DdnbError, match='holds another set'): distill(new, ipc=1, out=tmp_path/'set', progress=False)

def test_a_file_is_hashed_once(tmp_path, monkeypatch):
    monkeypatch.setenv('DDNB_CACHE', str(tmp_path/'cache'))
    (tmp_path/'x').write_bytes(b'one')
    time.sleep(2.1)
    first = file_hashes([tmp_path/'x'])
    monkeypatch.setattr('ddnb.data.identity._sha', lambda p: pytest.fail('read again'))
    monkeypatch.setattr('ddnb.data.identity._BOOKS', {})
    assert file_hashes([tmp_path/'x']) == first

@pytest.mark.parametrize('name,said', [('none', 'no folder|unknown data set'), ('x.zip', 'is a file'), ('.', 'has no train/ folder')])
def test_loading_errors_are_one_line(tmp_path, name, said):
    (tmp_path/'x.zip').touch()
    with pytest.raises(DdnbError, match=said): load_data(f'{tmp_path}/{name}')
def test_home_is_found(tmp_path, monkeypatch):
    tree(tmp_path/'pets')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert len(load_data('~/pets').train) == 4
