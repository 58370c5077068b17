"Folders of strangers: what a generator is, what its network predicts, on which betas, and in which precision it decodes"
import json, shutil
from types import SimpleNamespace
import pytest, torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import load_file, save_file
from conftest import ROOT
from ddnb.baselines import plain
from ddnb.errors import DdnbError
from ddnb.generators.diffusion.prediction import BETAS, PREDICTIONS, process_of, to_noise, zero_terminal_snr
from ddnb.generators.diffusion.schedule import Schedule, linear_betas, predict_x0, q_sample
from ddnb.generators.model_files import fetch, pick_weights
from ddnb.generators.open import load_generator

SHIPPED = ROOT/'ddnb/weights/digits'

@pytest.fixture
def digits(tmp_path):
    "A copy of the shipped generator, to change"
    return shutil.copytree(SHIPPED, tmp_path/'digits')

def change(folder, part, **options):
    "Change a configuration; None takes an option away"
    file = folder/part
    config = {k: v for k,v in (json.loads(file.read_text()) | options).items() if v is not None}
    file.write_text(json.dumps(config))
def scheduler(folder, **options): change(folder, 'scheduler/scheduler_config.json', **options)

def drawn(generator, **options):
    return plain.distill('digits', generator, ipc=1, num_steps=2, progress=False, **options).latents

# what a network predicts

@settings(deadline=None, max_examples=60)
@given(st.sampled_from(PREDICTIONS), st.sampled_from(sorted(BETAS)), st.booleans(), st.integers(0, 999), st.integers(0, 10**6))
def test_exact_answers_of_every_kind_give_the_noise_back(prediction, schedule, rescaled, t, seed):
    "On every named schedule; with no signal at the last step too, where a network that predicts noise has nothing to say"
    betas = BETAS[schedule](1000, 1e-4, .02)
    if rescaled: betas = zero_terminal_snr(betas)
    s, g = Schedule(betas), torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, 2, 3, 4, 4, generator=g)
    a = s.abar[t]
    x = q_sample(s, x0, t, eps)
    answer = dict(epsilon=eps, sample=x0, v_prediction=a.sqrt()*eps.double()-(1-a).sqrt()*x0.double())[prediction].float()
    back = to_noise(answer, x, s.abar[[t]*2], prediction)
    assert (back-eps).abs().max() < 1e-4 + 1e-6/(1-a).sqrt()
    assert (q_sample(s, predict_x0(s, x, t, back), t, back)-x).abs().max() < 1e-4

@pytest.mark.parametrize('prediction', ['v_prediction', 'sample'])
def test_a_folder_says_what_its_network_predicts(digits, prediction):
    "Taken for noise, it would draw other latents; the manifest says what it was taken for"
    scheduler(digits, prediction_type=prediction)
    gen, plain_gen = load_generator(digits, 'cpu'), load_generator('digits', 'cpu')
    x, labels = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 10])
    with torch.no_grad(): said, got = plain_gen.predict(x, 700, labels)[0], gen.predict(x, 700, labels)[0]
    torch.testing.assert_close(got, to_noise(said, x, gen.abar[[700]*2], prediction))
    assert gen.describe()['prediction'] == prediction and 'prediction' not in plain_gen.describe()
    assert not torch.allclose(drawn(gen), drawn('digits'))

def test_trained_betas_are_the_same_process(digits):
    scheduler(digits, trained_betas=linear_betas().tolist(), beta_start=None, beta_end=None, beta_schedule=None)
    assert torch.equal(drawn(digits), drawn('digits'))

def test_half_a_set_of_betas_is_not_guessed(digits):
    scheduler(digits, trained_betas=[.1]*10)
    with pytest.raises(DdnbError, match='10 trained_betas for 1000'): load_generator(digits)

@pytest.mark.parametrize('options,says', [
    (dict(_class_name='FlowMatchEulerDiscreteScheduler'), 'flow-matching'), (dict(prediction_type='flow_prediction'), 'flow-matching'),
    (dict(use_flow_sigmas=True), 'flow-matching'), (dict(_class_name='EDMEulerScheduler'), 'another kind of process'),
    (dict(beta_schedule='cubic'), 'beta_schedule'), (dict(rescale_betas_zero_snr=True), 'v_prediction'), (dict(prediction_type='score'), 'score'),
    (dict(beta_end='much'), 'scheduler'), (dict(num_train_timesteps=-3), 'scheduler')])
def test_other_processes_are_refused_in_one_line(digits, options, says):
    scheduler(digits, **options)
    with pytest.raises(DdnbError, match=says) as e: load_generator(digits)
    assert '\n' not in str(e.value)

@pytest.mark.parametrize('schedule', sorted(BETAS))
def test_named_schedules_load_and_survive_saving(digits, tmp_path, schedule):
    scheduler(digits, beta_schedule=schedule, rescale_betas_zero_snr=True, prediction_type='v_prediction')
    gen = load_generator(digits, 'cpu')
    gen.save(tmp_path/'again', half=False)
    again = load_generator(tmp_path/'again', 'cpu')
    torch.testing.assert_close(again.betas, gen.betas, rtol=0, atol=1e-15)
    assert again.prediction == 'v_prediction' and drawn(gen).isfinite().all()

def test_spacing_of_the_configuration_reaches_schedulers_of_diffusers(digits):
    scheduler(digits, timestep_spacing='trailing', steps_offset=1)
    gen = load_generator(digits, 'cpu')
    assert gen.scheduler_options == dict(timestep_spacing='trailing', steps_offset=1, set_alpha_to_one=True)
    assert not torch.equal(drawn(gen, sampler='DDIMScheduler'), drawn('digits', sampler='DDIMScheduler'))
    assert torch.equal(drawn(gen), drawn('digits'))         # the papers' own samplers keep the papers' steps

@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(['_class_name', 'prediction_type', 'beta_schedule', 'beta_start', 'beta_end', 'trained_betas', 'num_train_timesteps', 'rescale_betas_zero_snr']),
    st.one_of(st.none(), st.booleans(), st.integers(-5, 1000), st.floats(), st.text(max_size=5), st.lists(st.floats(), max_size=4), st.sampled_from(['DDIMScheduler', 'linear', 'epsilon', 'v_prediction']))))
def test_any_configuration_gives_sound_betas_or_one_line(config):
    try: process = process_of(config)
    except DdnbError as e: assert '\n' not in str(e)
    else: assert process.betas.dim() == 1 and (process.betas > 0).all() and (process.betas < 1).all() and process.prediction in PREDICTIONS

# precision

def test_a_decoder_too_large_for_half_precision(digits):
    "Decoded in float32 as long as the configuration allows it; else an error and never black images"
    file = digits/'vae/diffusion_pytorch_model.safetensors'
    weights = {k: v.float() for k,v in load_file(file).items()}
    for k in ('decoder.conv_in.weight', 'decoder.conv_in.bias'): weights[k] = weights[k]*3e5        # group norm follows: the same images
    save_file(weights, file)
    whole = plain.distill('digits', load_generator(digits, 'cpu'), ipc=1, num_steps=2, progress=False)
    half = plain.distill('digits', load_generator(digits, 'cpu', torch.float16), ipc=1, num_steps=2, progress=False)
    assert half.info['generator']['vae_dtype'] == 'float32' and half.info['generator']['dtype'] == 'float16'
    assert (half.images.float()-whole.images.float()).abs().mean() < 3
    change(digits, 'vae/config.json', force_upcast=False)
    with pytest.raises(DdnbError, match='decode in float32'): plain.distill('digits', load_generator(digits, 'cpu', torch.float16), ipc=1, num_steps=2, progress=False)

# folders

def test_half_size_files_alone(digits):
    for file in digits.rglob('*.safetensors'): file.rename(file.with_name('diffusion_pytorch_model.fp16.safetensors'))
    gen = load_generator(digits, 'cpu')
    assert gen.describe()['sha256'] == load_generator('digits', 'cpu').describe()['sha256'] and torch.equal(drawn(gen), drawn('digits'))

@pytest.mark.parametrize('pipeline,says', [('StableDiffusionXLPipeline', 'SDXL'), ('StableDiffusion3Pipeline', 'Stable Diffusion 3'), ('FluxPipeline', 'Flux'),
    ('PixArtSigmaPipeline', 'PixArt'), ('KandinskyV22CombinedPipeline', 'Kandinsky'), ('SanaPipeline', 'SanaPipeline'), ('LDMPipeline', 'unconditional')])
def test_models_of_other_kinds_are_called_by_their_names(digits, pipeline, says):
    change(digits, 'model_index.json', _class_name=pipeline)
    with pytest.raises(DdnbError, match=f'{says}.*can be opened') as e: load_generator(digits)
    assert '\n' not in str(e.value)

@pytest.mark.parametrize('kind,says', [('FluxTransformer2DModel', 'FluxTransformer2DModel'), ('PixArtTransformer2DModel', 'PixArtTransformer2DModel')])
def test_a_part_of_another_kind(digits, kind, says):
    change(digits, 'transformer/config.json', _class_name=kind)
    with pytest.raises(DdnbError, match=says): load_generator(digits)

def test_pixart_is_no_dit(digits):
    "Its transformer once had DiT's class name"
    change(digits, 'transformer/config.json', _class_name='Transformer2DModel', norm_type='ada_norm_single')
    with pytest.raises(DdnbError, match='no DiT|cannot load'): load_generator(digits)

def test_the_older_class_name_of_dit(digits):
    change(digits, 'transformer/config.json', _class_name='Transformer2DModel')
    assert torch.equal(drawn(digits), drawn('digits'))

def _cut(file): file.write_bytes(file.read_bytes()[:5000])
def _pointer(file): file.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')
def _lacking(file):
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file)
def _junk(file): file.write_bytes(b'\0'*100)

@pytest.mark.parametrize('part', ['vae', 'transformer'])
@pytest.mark.parametrize('damage', [_cut, _pointer, _lacking, _junk, lambda file: file.unlink()])
def test_damaged_weights_are_one_line(digits, part, damage):
    damage(digits/part/'diffusion_pytorch_model.safetensors')
    with pytest.raises(DdnbError) as e: load_generator(digits)
    assert '\n' not in str(e.value) and str(digits) in str(e.value)

@pytest.mark.parametrize('file', ['model_index.json', 'vae/config.json', 'transformer/config.json', 'scheduler/scheduler_config.json'])
@pytest.mark.parametrize('text', ['', '{', '[]', 'null', '"x"', '{"id2label": 3, "_class_name": 7}', '{"num_layers": "many"}'])
def test_damaged_configurations_are_one_line(digits, file, text):
    (digits/file).write_text(text)
    try: load_generator(digits)
    except DdnbError as e: assert '\n' not in str(e)

def test_own_folders_damaged(tmp_path):
    for name in ('digits_mar', 'digits_stylegan'):
        folder = shutil.copytree(ROOT/'ddnb/weights'/name, tmp_path/name)
        config = json.loads((folder/'config.json').read_text())
        for text in ('{', '[]', '{"_class_name": "Nothing"}', json.dumps(config | dict(width='wide', z_dim='deep', prediction_type='sample'))):
            (folder/'config.json').write_text(text)
            with pytest.raises(DdnbError) as e: load_generator(folder)
            assert '\n' not in str(e.value)

# fetching

@settings(deadline=None)
@given(st.lists(st.sampled_from(['config.json', 'diffusion_pytorch_model.safetensors', 'diffusion_pytorch_model.fp16.safetensors', 'model.safetensors', 'model.fp16.safetensors',
    'diffusion_pytorch_model.bin', 'diffusion_pytorch_model.ema.safetensors', 'diffusion_pytorch_model-00001-of-00002.safetensors', 'x.msgpack']), unique=True))
def test_full_weights_come_before_variants_and_safetensors_before_pickles(names):
    variant, picked = pick_weights(names)
    weights = [n for n in names if n.endswith(('.safetensors', '.bin'))]
    assert bool(picked) == bool(weights) and set(picked) <= set(weights)
    if any(n.endswith('.safetensors') for n in weights): assert all(n.endswith('.safetensors') for n in picked)
    if any(n.endswith('.safetensors') and '.fp16' not in n and '.ema' not in n for n in weights): assert variant is None

def test_a_model_id_is_fetched_with_a_line_and_never_more_than_is_read(monkeypatch, tmp_path, capsys):
    import huggingface_hub
    files = {'model_index.json': 500, 'README.md': 10**4, 'vae/config.json': 600, 'vae/diffusion_pytorch_model.safetensors': 330*10**6,
             'vae/diffusion_pytorch_model.fp16.safetensors': 165*10**6, 'vae/diffusion_pytorch_model.bin': 330*10**6}
    asked = []
    def model_info(self, model, **kw): return SimpleNamespace(siblings=[SimpleNamespace(rfilename=n, size=s) for n,s in files.items()])
    def snapshot(model, allow_patterns=None, local_files_only=False, **kw):
        if local_files_only: raise FileNotFoundError
        asked.append(allow_patterns)
        return str(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, 'model_info', model_info)
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', snapshot)
    monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
    assert fetch('some/model', ('vae',)) == tmp_path
    assert asked == [['model_index.json', 'vae/config.json', 'vae/diffusion_pytorch_model.safetensors']]
    said = capsys.readouterr().err
    assert 'some/model' in said and '330.0 MB' in said and said.count('\n') == 1
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(DdnbError, match='HF_HUB_OFFLINE forbids'): fetch('some/model', ('vae',))

@pytest.mark.parametrize('error', [ConnectionError('no route\nto host'), TimeoutError(), ValueError('unauthorised')])
def test_no_error_of_the_hub_reaches_a_user_raw(monkeypatch, error):
    import huggingface_hub
    def fails(*a, **kw): raise error
    monkeypatch.setattr(huggingface_hub.HfApi, 'model_info', fails)
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', fails)
    monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
    with pytest.raises(DdnbError) as e: load_generator('nobody/nothing')
    assert '\n' not in str(e.value) and type(error).__name__ in str(e.value)

def test_released_files_are_sent_to_their_converter(tmp_path):
    (tmp_path/'model.ckpt').write_bytes(b'x')
    with pytest.raises(DdnbError, match='single file.*convert'): load_generator(tmp_path/'model.ckpt')

def test_settings_that_travel_with_a_generator():
    "U-ViT's guidance is its own; a caller's is the caller's"
    from ddnb.contract import pick_options
    from ddnb.generators.diffusion.uvit import UViTGenerator
    table = dict(default=dict(cfg_scale=4.0, num_steps=50))
    assert pick_options(table, 'x', UViTGenerator.defaults)['cfg_scale'] == 1.4
    assert pick_options(table, 'x', UViTGenerator.defaults, cfg_scale=3.)['cfg_scale'] == 3.

def test_guidance_acts_on_no_more_channels_than_there_are():
    from ddnb.mgd3 import distill
    with pytest.raises(DdnbError, match='cfg_channels is 5, and latents of digits have 4 channels'):
        distill('digits', ipc=1, num_steps=2, cfg_channels=5, progress=False)
