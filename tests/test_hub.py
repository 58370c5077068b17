"Sets in the hub client's cache, named hf:owner/name, without a network"
import os
from pathlib import Path
import pytest, torch
from test_cli import one_line
from ddnb.baselines.random import distill
from ddnb.sets.exporters import export
from ddnb.sets.importers import import_set

@pytest.fixture
def hub(tmp_path, monkeypatch):
    "A cache of the client, and a function that puts a folder into it as someone/NAME"
    constants = pytest.importorskip('huggingface_hub.constants')
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path/'cache'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    def put(name, folder):
        repo, commit = tmp_path/f'cache/datasets--someone--{name}', 'c'*40
        for i,f in enumerate(sorted(p for p in Path(folder).rglob('*') if p.is_file())):
            blob, link = repo/'blobs'/f'{i:040x}', repo/'snapshots'/commit/f.relative_to(folder)
            for p in (blob, link): p.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(f.read_bytes())
            link.symlink_to(os.path.relpath(blob, link.parent))
        (repo/'refs').mkdir()
        (repo/'refs/main').write_text(commit)
    return put

@pytest.mark.parametrize('format, where', [('parquet', 'x/data'), ('imagefolder', 'x/data/train'), ('imagefolder', 'x'), ('pt', 'x/set.pt'), ('safetensors', 'x/set.safetensors')])
def test_every_format(hub, tmp_path, format, where):
    if format == 'parquet': pytest.importorskip('pyarrow')
    s = distill('digits', 2, progress=False)
    (tmp_path/where).parent.mkdir(parents=True, exist_ok=True)
    export(s, tmp_path/where, format=format)
    (tmp_path/'x/README.md').write_text('a card')
    hub('set', tmp_path/'x')
    got = import_set('hf:someone/set', 'digits')
    assert torch.equal(got.images, s.images) and torch.equal(got.labels, s.labels)

def test_evaluated_by_name(ddnb, hub, tmp_path):
    export(distill('digits', 1, progress=False), tmp_path/'x/train', format='imagefolder')
    hub('set', tmp_path/'x')
    code, out, err = ddnb('evaluate', 'hf:someone/set', '--data', 'digits', '--epochs', 1, '--repeats', 1, '--quiet')
    assert code == 0 and 'hf:someone/set' in out, err

@pytest.mark.parametrize('name, said', [('hf:someone/other', 'not in the cache'), ('hf:alone', 'hf:owner/name'), ('hf:someone/set/../x', 'hf:owner/name'), ('hf:someone/empty', 'no set that can be recognised')])
def test_mistakes(ddnb, hub, tmp_path, name, said):
    (tmp_path/'e').mkdir(exist_ok=True)
    (tmp_path/'e/README.md').write_text('a card')
    hub('empty', tmp_path/'e')
    one_line(ddnb('evaluate', name, '--data', 'digits'), said)
