"codes.ruo: one file gives one set everywhere, and nothing else is taken for one"
import hashlib, os, re, subprocess, sys
import numpy as np
import pytest
import torch
from conftest import ROOT
from ddnb.core import rng
from ddnb.errors import DdnbError
from ddnb.sets.distilled import DistilledSet
from ddnb.data.load import load_data
from ddnb.ruo.bitstream import pack, read_codes, unpack, write_codes
from ddnb.ruo.whole import render
from ddnb.ruo.codec import DECODERS, MODULES, Codec, copy_codec, init_codec
from ddnb.ruo.entropy import OFFSETS, to_symbols
from ddnb.ruo.quantise import COLUMNS, round_networks, slice_bits

GOLDEN = ROOT/'tests/vectors/codes.ruo'     # two slices, a bright outlier, names, a learning rate
BLOB = GOLDEN.read_bytes()
SYMBOLS, IMAGES = '6505b3546ea2805f', 'da499b767be87030'
ASK = '''import hashlib, sys, torch
from ddnb.ruo.bitstream import pack, read_codes
from ddnb.ruo.whole import render
from ddnb.ruo.entropy import to_symbols
torch.set_num_threads(int(sys.argv[2])); batch = int(sys.argv[3])
c = read_codes(sys.argv[1], batch)
for b in (b''.join(s.int().numpy().tobytes() for s in to_symbols(c.latents)), (render(c, batch)*65535).round().int().numpy().tobytes(), pack(c, batch)): print(hashlib.sha256(b).hexdigest())'''

def sha(b): return hashlib.sha256(b).hexdigest()
def resign(b): return b[:-8] + hashlib.blake2b(b[:-8], digest_size=8).digest()

def rounded(c, steps):
    "`c` on grids with these exponents, the same for every slice"
    q = copy_codec(c); q.steps = torch.tensor([steps]*len(c))
    for m in MODULES: setattr(q, m, round_networks(getattr(q, m), q.steps.T[list(COLUMNS[m])]))
    return q

def noisy(counts, size, decoder, context, depth, seed=0):
    "A codec with something in every tensor"
    c, g = init_codec(counts, list(range(len(counts))), size, decoder, context, depth), rng(seed, 'noisy')
    c.latents = [torch.where(torch.rand(z.shape, generator=g) < .4, .3*torch.randn(z.shape, generator=g), torch.zeros(())) for z in c.latents]
    for m in ('arm', 'synthesis', 'upsampling'): setattr(c, m, [p+.1*torch.randn(p.shape, generator=g) for p in getattr(c, m)])
    return c

def test_the_file_means_the_same_as_when_it_was_written():
    "Symbols and images as hashed on the machine that wrote the file; a change here breaks every file there is"
    c = read_codes(GOLDEN)
    assert sha(b''.join(s.int().numpy().tobytes() for s in to_symbols(c.latents)))[:16] == SYMBOLS
    assert sha((render(c)*65535).round().int().numpy().tobytes())[:16] == IMAGES
    assert pack(c) == BLOB and [k.name for k in c.classes] == ['tench', 'goldfish'] and c.counts == [3, 2] and c.syn_lr == pytest.approx(.01)

@pytest.mark.parametrize('threads,batch,env', [(1, 512, {}), (2, 2, dict(ATEN_CPU_CAPABILITY='default', MKL_CBWR='COMPATIBLE', OMP_WAIT_POLICY='passive'))], ids=['one', 'two'])
def test_threads_batches_and_instruction_sets_change_nothing(threads, batch, env):
    "Another process, other threads, another batch size, and the processor's oldest instructions"
    env = os.environ | env | dict(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    got = subprocess.run([sys.executable, '-c', ASK, GOLDEN, str(threads), str(batch)], capture_output=True, text=True, env=env, check=True).stdout.split()
    assert [got[0][:16], got[1][:16], got[2]] == [SYMBOLS, IMAGES, sha(BLOB)]

@pytest.mark.parametrize('context', OFFSETS)
def test_every_context_and_decoder_comes_back(context):
    for i,decoder in enumerate(list(DECODERS)[:8]):
        if i % 4 != list(OFFSETS).index(context): continue
        q = rounded(noisy([2, 1, 2], (9, 12), decoder, context, 1+i % 3, i), [i, 16-i, 15-i, i+2, 12])
        r = unpack(pack(q))
        assert torch.equal(r.steps, q.steps) and all(torch.equal(a, b) for m in MODULES for a,b in zip(getattr(q, m), getattr(r, m)))
        valid = torch.tensor([[1, 1], [1, 0], [1, 1]]).bool()
        assert all(torch.equal(a[valid], b[valid]) for a,b in zip(to_symbols(q.latents), to_symbols(r.latents)))
        assert torch.equal(render(q)[valid], render(r)[valid]) and torch.equal(render(r, 1), render(r))

def test_extreme_symbols_survive():
    c = noisy([1], (8, 8), 'v4-40', 8, 1); c.latents[0][0,0,0] = torch.tensor([1e5, -1e5, 2000, -3000, 0, 60, -61, 1])
    q = rounded(c, [8, 16, 15, 15, 15]); r = unpack(pack(q))
    assert torch.equal(to_symbols(r.latents)[0], to_symbols(q.latents)[0]) and torch.isfinite(render(r)).all()
    c.latents[0][0,0,0,0] = 1e6
    with pytest.raises(DdnbError, match='largest symbol here is 16000000'): pack(rounded(c, [8, 16, 15, 15, 15]))

def mutations(n, blob, seed=0):
    "Bits flipped, bytes changed, cut off, put in, taken out, swapped; and other people's files"
    r = np.random.default_rng(seed)
    for k in range(n):
        b, i, j = bytearray(blob), int(r.integers(len(blob))), int(r.integers(1, 40))
        kind = k % 8
        if kind == 0: b[i] ^= 1 << int(r.integers(8))
        elif kind == 1: b[i] = (b[i]+j) % 256
        elif kind == 2: b = b[:i]
        elif kind == 3: b[i:i] = r.bytes(j)
        elif kind == 4: del b[i:i+j]
        elif kind == 5: b[i:i+j] = r.bytes(j)
        elif kind == 6: b += r.bytes(j)
        else: b = (b'', b'\x89PNG\r\n\x1a\n', b'PK\x03\x04', b'RUO1', b'RUO2')[k//8 % 5] + r.bytes(i)
        if bytes(b) != blob: yield bytes(b)

def test_ten_thousand_mutated_files(tmp_path):
    seen = 0
    for k,bad in enumerate(mutations(10_100, BLOB)):
        with pytest.raises(DdnbError) as e: unpack(bad)
        assert '\n' not in str(e.value) and len(str(e.value)) < 200; seen += 1
    assert seen >= 10_000
    for bad in mutations(16, BLOB, 1):
        (tmp_path/'x.ruo').write_bytes(bad)
        with pytest.raises(DdnbError, match='x.ruo'): read_codes(tmp_path/'x.ruo')

def test_forged_checksums_end_in_one_line_too():
    "Damage behind the header with a fitting checksum: another set, or one clear line; never another exception"
    for k,bad in enumerate(mutations(120, BLOB, 2)):
        if bad[:40] != BLOB[:40] or len(bad) < 60: continue
        try: assert isinstance(unpack(resign(bad)), Codec)
        except DdnbError as e: assert '\n' not in str(e)
    for at,value in ((4, 9), (5, 12), (6, 0), (8, 0), (12, 0)):
        head = bytearray(BLOB); head[at:at+2 if at >= 8 else at+1] = bytes([value, 0][:2 if at >= 8 else 1])
        with pytest.raises(DdnbError, match='makes no sense'): unpack(resign(bytes(head)))

def test_nothing_is_left_when_writing_fails(tmp_path):
    with pytest.raises(DdnbError, match='not quantised'): write_codes(init_codec([1], [0], (8, 8), 'v4-40', 8, 1), tmp_path/'codes.ruo')
    assert not list(tmp_path.iterdir())

def test_size_is_the_estimate():
    "Latents drawn from the model itself: the file is within 1% and 64 bytes a class of the bill"
    from ddnb.ruo import bitstream as B
    r = np.random.default_rng(0)
    for context,spc in ((8, 2), (16, 5), (32, 1)):
        c = noisy([spc]*4, (32, 32), 'v4-40', context, 2, 7); c.arm[-2], c.arm[-1] = c.arm[-2]*.3, torch.tensor([0., 3.2]).repeat(4, 1)
        q = rounded(c, [8, 10, 10, 10, 10]); grids = B.lay_out(q)*0
        at = B.walk(q, grids, lambda s, mu, i: np.round(mu/2**16 + r.laplace(0, 2.**(i/16))).astype(np.int64), 64)
        q.latents = B.take_up(grids, at, q.size); estimate = sum(float(b.sum()) for b in slice_bits(q).values())/8
        assert abs(len(pack(q)) - estimate) <= .01*estimate + 64*4

QUICK = dict(ipc=2, loss='dm', iterations=4, first_iterations=6, width=4, batch_real=4, mse=1e-4, progress=False, device='cpu')
@pytest.fixture(scope='module')
def digits(): return load_data('digits', size=16)

def test_a_cap_that_cannot_be_met_names_one_that_can(digits):
    from ddnb.ruo import compress, distill
    with pytest.raises(DdnbError, match='bpc=0.05 cannot be met: the smallest file found has') as e: distill(digits, bpc=.05, **QUICK)
    least = float(re.search(r'has ([\d.]+) kB', str(e.value))[1])
    s = distill(digits, bpc=least, **QUICK)
    assert .9*least < s.bits_per_class/8192 <= least and s.info['reached']['lam2'] < 5
    with pytest.raises(DdnbError, match='the smallest file found has'): compress(s, bpc=.05, iterations=2, tries=1, mse=1e-4, progress=False)

def test_a_class_with_too_few_images_is_named(digits):
    from ddnb.ruo import distill
    with pytest.raises(DdnbError, match="ipc 175 is more than the .* training images of class"): distill(digits, **QUICK | dict(ipc=175))

def test_a_set_is_its_file(digits, tmp_path):
    "Size within 1% and 64 bytes a class of the estimate, the same set from memory, from disk and from its bytes alone"
    from ddnb.ruo import decode_codes, distill
    s, kept = distill(digits, **QUICK), distill(digits, **QUICK, out=tmp_path/'x')
    assert s.codes == kept.codes == (tmp_path/'x/codes.ruo').read_bytes() and torch.equal(s.images, kept.images) and torch.equal(decode_codes(s.codes)['images'], DistilledSet.load(tmp_path/'x').images)
    assert kept.info['bits_per_class'] == s.bits_per_class == 8*len(s.codes)/10 and not (tmp_path/'x/images.safetensors').exists()
    assert abs(s.bits_per_class - sum(s.info['rate'].values())) <= .01*s.bits_per_class + 64*8
    newer = resign(b'RUO9'+s.codes[4:])
    with pytest.raises(DdnbError, match='version 9'): decode_codes(newer)
    (tmp_path/'x/codes.ruo').write_bytes(newer)
    with pytest.raises(DdnbError, match='codes.ruo is damaged'): DistilledSet.load(tmp_path/'x')
