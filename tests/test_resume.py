"Optimisations that are interrupted between two states on disk end where undisturbed ones end."
import pytest, torch
from ddnb.sets import resume
from ddnb.contract import get_method

RUNS = dict(                        # method: options; each takes four steps
    dsa=dict(iterations=4, batch_real=2, width=4),
    minimax=dict(steps=4, num_steps=2, batch_size=16),
    dm=dict(iterations=4, batch_real=2, width=4),
    mtt=dict(iterations=4, syn_steps=2, experts=1, max_start_epoch=1, width=4),
    glad=dict(iterations=4, batch_real=2, width=4),
    ruo_by_tm=dict(loss='tm', iterations=4, first_iterations=3, syn_steps=2, experts=1, max_start_epoch=1, width=4, mse=1e-4),
    slfd_by_mtt=dict(matching='mtt', iterations=4, batch_real=2, width=4, draws=4, rank=2, syn_steps=2, experts=1, max_start_epoch=1),
)

class Interrupted(Exception): pass

@pytest.fixture(autouse=True)
def often(monkeypatch, tmp_path): monkeypatch.setattr(resume, 'EVERY', 0.); monkeypatch.setenv('DDNB_CACHE', str(tmp_path/'cache'))

@pytest.mark.parametrize('name', RUNS)
def test_the_same_end(name, tmp_path, monkeypatch):
    make = lambda out=None: get_method(name.split('_by_')[0])('digits', ipc=1, out=out, progress=False, device='cpu', **RUNS[name])
    whole, own, walked = make(), resume.Resume.steps, []; last = 1 if name.startswith('ruo') else 3      # RUO: two halves of two steps
    def broken(self, *a, **kw):
        for it in own(self, *a, **kw):
            if it == last: raise Interrupted
            yield it
    def counted(self, *a, **kw):
        for it in own(self, *a, **kw): walked.append(it); yield it
    monkeypatch.setattr(resume.Resume, 'steps', broken)
    with pytest.raises(Interrupted): make(tmp_path/'x')
    monkeypatch.setattr(resume.Resume, 'steps', counted)
    s = make(tmp_path/'x')
    assert walked == ([1, 0, 1] if name.startswith('ruo') else [3]), 'steps that were done are done again'
    assert torch.equal(s.images, whole.images) and s.info.get('syn_lr') == whole.info.get('syn_lr')
    assert not (tmp_path/'x/.parts').exists()
