"Every option of every method has a range, and what lies outside it is answered in one line before any work"
import inspect, math
import numpy as np
import pytest, torch
from ddnb.cao2.refinement import CONVENTIONS, NORMS
from ddnb.cao2.mar_refinement import MASKINGS
from ddnb.cao2.selection import STRATEGIES
from ddnb.cao2.stages import refine
from ddnb.contract import METHODS, RANGES, Choice, Device, Dtype, Flag, Many, Place, Real, Share, Text, Whole, get_method
from ddnb.errors import DdnbError
from ddnb.evaluate.comparison import compare
from ddnb.evaluate.recipes import PROTOCOLS
from ddnb.evaluate.rungs import RUNGS
from ddnb.evaluate.scores import evaluate
from ddnb.matching.dsa import FAMILIES
from ddnb.matching.pixels import INITS
from ddnb.matching.trajectories import HOW
from ddnb.mgd3.clusters import ALGORITHMS
from ddnb.mgd3.search import choose_guidance
from ddnb.ruo.joint import LOSSES
from ddnb.ruo.quantise import NN_RATES
from ddnb.ruo.sets import compress
from ddnb.slfd.glad import INITS as STARTS, MATCHINGS
from ddnb.slfd.heads import COVARIANCES
from ddnb.slfd.stochastic import REDUCTIONS

FUNCTIONS = {name: get_method(name) for name in METHODS} | {f.__name__: f for f in (refine, compress, choose_guidance, evaluate, compare)}
functions = pytest.mark.parametrize('name', FUNCTIONS)

class Untouchable:
    "Data that nobody may look at: whoever does has begun to work"
    def __getattr__(self, name): raise AssertionError(f'asked for {name}')

def options(fn): return [p for p in inspect.signature(fn).parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]

def nonsense(kind):
    "Values that no option of a kind can have"
    words = ('', 'x', [], {}, object())
    numbers = (math.nan, math.inf, -math.inf, 1e300, -1, -1e-9, np.float32('nan'), True)
    if isinstance(kind, Whole): return (*numbers, *words, kind.least-1, kind.most+1, 10**30, 1.5, '3')
    if isinstance(kind, Real): return (*numbers, *words, *([kind.least] if kind.above else []), kind.most*1.001, '0.1')
    if isinstance(kind, Choice): return (*numbers, *words, 0)
    if isinstance(kind, Share): return (math.nan, -1, 0, 0., 2.5, *words, True)
    if isinstance(kind, Many): return (0.1, 'x', (), (math.nan,), (-1,), ('x',), None and ())
    if isinstance(kind, Text): return ('no such name', 3, True, math.nan, [], *([] if kind.joined else ['', '  '])) if kind.choices else (3, True, '', '  ', [])
    if isinstance(kind, Flag): return ('yes', 1, 0, [], 'False')
    if isinstance(kind, Device): return ('', 'gpu', 'cuda:99', 'cpu:x', 'meta', 3.5, [])
    if isinstance(kind, Dtype): return ('float', 'int8', torch.int64, 3)
    if isinstance(kind, Place): return ('', '  ', 'a\0b', 3, True, [])
    return ('', '  ', 'a\0b', 3, True, math.nan)

@functions
def test_every_option_has_a_range_and_its_default_lies_in_it(name):
    fn = FUNCTIONS[name]
    for p in options(fn):
        if p.name in ('s', 'sets', 'changes', 'baselines', 'evaluation'): continue       # no options
        assert p.name in fn.ranges, p.name
        if p.default not in (None, p.empty): assert fn.ranges[p.name](p.name, p.default) == p.default

@functions
def test_nonsense_is_refused_before_any_work(name):
    fn = FUNCTIONS[name]
    first = next(iter(inspect.signature(fn).parameters))
    for p in options(fn):
        if p.name == first or p.name not in fn.ranges: continue
        for value in (*nonsense(fn.ranges[p.name]), *([None] if p.default is not None and p.name != 'data' else [])):
            if value is None and p.default is None: continue
            with pytest.raises(DdnbError) as e: fn(**{first: Untouchable(), p.name: value})
            assert '\n' not in str(e.value) and p.name.replace('_', ' ') in str(e.value).replace('_', ' '), (p.name, value, str(e.value))

@pytest.mark.parametrize('change', [dict(epochs=0), dict(lr=math.nan), dict(lr=-1), dict(batch_size=0), dict(momentum=2), dict(temperature=0)])
def test_constants_of_a_recipe_have_ranges(change):
    for fn in (evaluate, compare):
        with pytest.raises(DdnbError, match=next(iter(change))): fn(Untouchable(), **change)

def test_names_in_the_table_are_those_that_the_modules_know():
    for option, names in dict(modes=ALGORITHMS, strategy=STRATEGIES, norm=NORMS, timesteps=CONVENTIONS, masking=MASKINGS, init=INITS, how=HOW, matching=MATCHINGS, covariance=COVARIANCES,
                              reduction=REDUCTIONS, loss=LOSSES, nn_rate=NN_RATES, families=FAMILIES, protocol=PROTOCOLS, rung=RUNGS).items():
        assert set(RANGES[option].choices) == set(names), option
    assert set(FUNCTIONS['glad'].ranges['init'].choices) == set(STARTS) == set(FUNCTIONS['slfd'].ranges['init'].choices)

def test_numbers_of_numpy_and_paths_with_a_tilde_are_taken(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    s = FUNCTIONS['random']('digits', ipc=np.int64(1), seed=np.int32(3), out='~/set')
    assert s.info['ipc'] == 1 and type(s.info['ipc']) is int and (tmp_path/'set/dataset.json').is_file()
    assert RANGES['dtype']('dtype', 'float16') is torch.float16 and RANGES['lr']('lr', np.float32(.5)) == .5
