"""An accelerator for machines that have none: tensors that lie on `apart:0`, compute on the CPU, and refuse to mix with the CPU's.

It shows a tensor left behind, a `device=` that was not passed on, `.numpy()` without `.cpu()`, random numbers that were never moved. It does not
show kernels that round differently, memory, half precision, or what is written for `cuda` alone. Activation checkpointing does not run on
it (torch asks the device's own module for its random state): `plain_checkpoint` calls the function instead."""
import contextlib
from importlib import import_module
import pytest, torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = 'apart'
_setup_privateuseone_for_python_backend(NAME)
for name in ('get_rng_state', 'set_rng_state'):        # torch asks every device's own module for them; here the CPU's numbers are drawn
    setattr(getattr(torch, NAME), name, lambda *state, name=name, **kw: getattr(torch.random, name)(*[s for s in state if isinstance(s, torch.Tensor)]))
HERE, aten = torch.device(NAME, 0), torch.ops.aten

INDEXING = {aten.index.Tensor, aten._unsafe_index.Tensor, aten.index_put_.default, aten.index_put.default,
            aten._index_put_impl_.default}              # a tensor of the device may be indexed from the CPU, not the other way
COPIES = {aten.copy_.default, aten._to_copy.default}
MAY_CROSS = COPIES | INDEXING | {aten._local_scalar_dense.default, aten.is_same_size.default}

class Mixed(RuntimeError):
    "One operation met tensors of both devices"

class Apart(torch.Tensor):
    "A tensor of the device; its numbers are in a CPU tensor that nobody else sees"
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, layout=inner.layout, device=HERE)

    def __init__(self, inner): self.inner = inner
    def __repr__(self): return f'Apart({self.inner!r})'
    def tolist(self): return self.inner.tolist()
    def numpy(self, *args, **kwargs): raise TypeError(f"can't convert a tensor of {HERE} to numpy; use Tensor.cpu() first")
    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None): return run(op, args, kwargs or {})

def inner(value): return value.inner if isinstance(value, Apart) else value
def outer(value): return Apart(value) if isinstance(value, torch.Tensor) and not isinstance(value, Apart) else value
def tensors_of(*values): return [v for v in tree_flatten(values)[0] if isinstance(v, torch.Tensor)]
def named(tensors): return ', '.join(f"{'apart' if isinstance(t, Apart) else 'cpu'}{tuple(t.shape)}" for t in tensors)

def refuse_mixing(op, args, kwargs):
    tensors = tensors_of(args, kwargs)
    sides = {isinstance(t, Apart) for t in tensors if t.dim()}          # numbers without dimensions may come from anywhere
    if len(sides) > 1 and op not in MAY_CROSS: raise Mixed(f'{op}: {named(tensors)}')
    if op in INDEXING and not isinstance(args[0], Apart) and any(isinstance(t, Apart) for t in tensors):
        raise Mixed(f'{op}: a cpu tensor indexed by {named(tensors[1:])}')

def lies_apart(op, args, kwargs):
    "Whether the result belongs to the device"
    if kwargs.get('device') is not None: return torch.device(kwargs['device']).type == NAME
    if op in COPIES: return isinstance(args[0], Apart)
    return any(isinstance(t, Apart) for t in tensors_of(args, kwargs))

def run(op, args, kwargs):
    "An operation, on the tensors inside"
    refuse_mixing(op, args, kwargs)
    apart = lies_apart(op, args, kwargs)
    if kwargs.get('device') is not None: kwargs = kwargs | dict(device=torch.device('cpu'))
    if 'pin_memory' in kwargs: kwargs = kwargs | dict(pin_memory=None)
    result, returns = op(*tree_map(inner, args), **tree_map(inner, kwargs)), op._schema.returns
    in_place = len(returns) == 1 and returns[0].alias_info is not None and returns[0].alias_info.is_write
    if in_place and isinstance(result, torch.Tensor): return kwargs.get('out', args[0])
    return tree_map(outer, result) if apart else result

class Everything(TorchDispatchMode):
    "Factories have no tensor to dispatch on; a mode sees them"
    def __torch_dispatch__(self, op, types, args=(), kwargs=None): return run(op, args, kwargs or {})

def empty_strided(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
    return Apart(torch.empty_strided(size, stride, dtype=dtype, device='cpu'))
def empty(size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    return Apart(torch.empty(size, dtype=dtype, device='cpu'))
def copy_from(source, target, non_blocking=False):
    inner(target).copy_(inner(source))
    return target
BELOW = torch.library.Library('aten', 'IMPL')           # torch.tensor(..., device=) asks below the mode
BELOW.impl('empty_strided', empty_strided, 'PrivateUse1')
BELOW.impl('empty.memory_format', empty, 'PrivateUse1')
BELOW.impl('_copy_from', copy_from, 'PrivateUse1')

CHECKPOINTING = ('ddnb.matching.trajectories', 'ddnb.ruo.codec', 'ddnb.ruo.entropy')
def plain_checkpoint(function, *args, use_reentrant=None, preserve_rng_state=None): return function(*args)

def apply(self, function, recurse=True):
    "`nn.Module._apply` without pointers below: what moves is put in the old one's place, what is there stays"
    for child in self.children() if recurse else (): child._apply(function)
    for name,old in self._parameters.items():
        if old is None: continue
        with torch.no_grad(): new = function(old)
        if (new.device, new.dtype) == (old.device, old.dtype): continue
        self._parameters[name] = torch.nn.Parameter(new, old.requires_grad)
    for name,old in self._buffers.items():
        if old is not None: self._buffers[name] = function(old)
    return self

@contextlib.contextmanager
def emulated():
    "Inside, `device='apart'` exists"
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(torch.nn.Module, '_apply', apply)
        for name in CHECKPOINTING: patches.setattr(import_module(name), 'checkpoint', plain_checkpoint, raising=False)
        with Everything(), torch.autograd.set_multithreading_enabled(False): yield NAME
