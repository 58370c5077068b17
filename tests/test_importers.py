"What an importer is given is looked at before it is believed"
import pytest, torch
from ddnb.data.load import load_data
from ddnb.errors import DataWarning, DdnbError
from ddnb.sets.importers import import_set

Y = torch.arange(10).repeat_interleave(2)
X = torch.randint(0, 256, (20, 3, 8, 8), generator=torch.Generator().manual_seed(0))
@pytest.fixture(scope='module')
def data(): return load_data('digits', size=8)
def read(tmp_path, data, x, y=Y, **kw):
    torch.save([x, y], tmp_path/'x.pt')
    return import_set(tmp_path/'x.pt', data, **kw)

@pytest.mark.parametrize('change,said', [(lambda x: x.float(), 'taken as bytes'), (lambda x: x/127.5-1, 'taken as signed'), (lambda x: (x/255).permute(0, 2, 3, 1), 'channels last')])
def test_scales_and_channels_are_told_apart_and_said(tmp_path, data, change, said):
    with pytest.warns(DataWarning, match=said): assert torch.equal(read(tmp_path, data, change(X)).images, X.to(torch.uint8))

@pytest.mark.parametrize('x,y,why', [
    (X.float().index_fill(0, torch.tensor([7]), float('nan')), Y, '1 images with NaN'), (X.float()*300, Y, 'which are not'), (X-1, Y, '0 to 255 are expected'),
    (X/255, Y-1, '2 images with a label below 0'), (X/255, Y+.5, 'no whole numbers'), (X/255, [str(i) for i in Y.tolist()], 'no numbers'), (X[:, :2]/255, Y, '2 channels')])
def test_what_is_refused(tmp_path, data, x, y, why):
    with pytest.raises(DdnbError, match=why) as e: read(tmp_path, data, x, y)
    assert '\n' not in str(e.value)

def test_labels_from_one_and_one_hot(tmp_path, data):
    with pytest.warns(DataWarning, match='from 1 to 10'): assert torch.equal(read(tmp_path, data, X/255, Y+1).labels, Y)
    s = read(tmp_path, data, X/255, torch.nn.functional.one_hot(Y, 10))
    assert torch.equal(s.labels, Y) and s.soft_labels is None

def table(file, labels):
    import io
    pa = pytest.importorskip('pyarrow')
    import pyarrow.parquet as pq
    from PIL import Image
    buf = io.BytesIO()
    Image.new('RGB', (8, 8), 'teal').save(buf, 'PNG')
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(image=[dict(bytes=buf.getvalue(), path='x.png') for _ in labels], label=labels)), file)
    return file

def test_parquet_labels_and_splits(tmp_path, data):
    assert import_set(table(tmp_path/'text.parquet', [str(i) for i in range(10)]), data).labels.tolist() == list(range(10))
    for none in (-1, None):
        with pytest.warns(DataWarning, match='1 of 11 rows'): assert len(import_set(table(tmp_path/'a.parquet', [*range(10), none]), data)) == 10
    with pytest.raises(DdnbError, match='float labels'): import_set(table(tmp_path/'b.parquet', [.5]*10), data)
    for part in ('train', 'test'): table(tmp_path/f'hub/data/{part}-00000-of-00001.parquet', list(range(10)))
    with pytest.warns(DataWarning, match='1 of 2 parquet files'): assert len(import_set(tmp_path/'hub', data)) == 10
