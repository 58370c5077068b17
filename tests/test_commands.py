"Commands about sets that are there: info, list, refine, compress"
import json, re, shlex
import pytest, torch
from test_cli import one_line
from ddnb.cli import COMMANDS, main
from ddnb.contract import METHODS
from ddnb.sets.distilled import DistilledSet

@pytest.mark.parametrize('words', ['random --ipc 2 --seed 3', 'mgd3 --ipc 1 --num-steps 3 --batch-size 10 --stop-t 1', 'dm --ipc 1 --iterations 2 --batch-real 4 --space rgb'])
def test_a_set_says_how_it_is_made_again(ddnb, tmp_path, words):
    assert ddnb('distill', *words.split(), '--out', 'a b', '--quiet')[0] == 0
    code, out, err = ddnb('info', 'a b')
    assert code == 0 and 'a b/contact.png' in out and out.splitlines()[-1].startswith('again: ddnb distill'), err
    i = json.loads(ddnb('info', 'a b', '--json')[1])
    line = shlex.split(i['again'])
    assert i['images'] == 10*i['ipc'] and line[-1] == 'NEW' and 'files' not in i
    code, out, err = ddnb(*line[1:-1], 'c')
    assert code == 0, err
    a, c = DistilledSet.load('a b'), DistilledSet.load('c')
    assert torch.equal(a.images, c.images) and a.info['options'] == c.info['options']
    code, out, err = ddnb('list')
    assert code == 0 and [l.split(':')[0] for l in out.splitlines()] == ['a b', 'c']
    assert set(json.loads(ddnb('list', '--json')[1])) == {'a b', 'c'}

def test_refined_and_compressed(ddnb, tmp_path):
    assert ddnb('distill', 'plain', '--ipc', 1, '--num-steps', 3, '--out', 'p')[0] == 0
    code, out, err = ddnb('refine', 'p', '--out', 'r', '--iterations', 2, '--quiet')
    assert code == 0 and 'cao2.refine: 10 images' in out and err == '', err
    assert 'ddnb refine FOLDER' in ddnb('info', 'r')[1] and 'was before: plain' in ddnb('info', 'r')[1]
    code, out, err = ddnb('compress', 'p', '--out', 'k', '--iterations', 2, '--tries', 1, '--quiet')
    assert code == 0 and 'ruo.compress: 10 images' in out, err
    assert DistilledSet.load('k').codes and 'ddnb compress FOLDER' in ddnb('info', 'k')[1]

@pytest.mark.parametrize('words, said', [
    ('info nothing', 'nothing is no distilled set'), ('list nothing', 'no folder nothing'), ('refine nothing --out y', 'nothing is no distilled set'),
    ('refine nothing', '--out'), ('compress nothing --out y --bpc 0', 'bpc must be above 0'), ('compress nothing --out y --bcp 1', 'did you mean --bpc')])
def test_mistakes(ddnb, tmp_path, words, said):
    one_line(ddnb(*words.split()), said)
    assert not (tmp_path/'y').exists()

@pytest.mark.parametrize('name', [*COMMANDS, 'distill mgd3'])
def test_help(ddnb, name):
    code, out, err = ddnb(*name.split(), '--help')
    assert code == 0 and out.count(f'\n    ddnb {name}') == 2 and 'exit codes: 0 done' in out, err

@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_a_shell_takes_the_script_of_completions(ddnb, tmp_path, shell):
    import shutil, subprocess
    code, out, err = ddnb('completion', shell)
    assert code == 0 and err == '' and out.startswith(('_ddnb() {', '#compdef ddnb')), err
    (tmp_path/'script').write_text(out)
    if shutil.which(shell): assert subprocess.run([shell, '-n', tmp_path/'script'], capture_output=True).stderr == b''
    one_line(ddnb('completion', 'fish'), "unknown shell 'fish'")

def test_no_sets(ddnb): assert ddnb('list')[:2] == (0, '')

def test_rungs(ddnb, tmp_path):
    from test_cli import fake
    root = fake(tmp_path/'pets', size=32)
    assert ddnb('distill', 'random', '--data', root, '--ipc', 1, '--out', 'x', '--quiet')[0] == 0
    code, out, err = ddnb('evaluate', 'x', '--data', root, '--rung', 'glance', '--quiet', '--table', 't.csv')
    assert code == 0 and out.startswith('rung glance of glance, short, middle, long, full: at most 100 epochs, 1 trainings, a small network') and err == '', err
    assert 'protocol: hard, rung glance' in out and 'hard, rung glance' in (tmp_path/'t.csv').read_text()
    code, out, err = ddnb('evaluate', 'x', '--data', root, '--minutes', 1e-6, '--quiet')
    assert code == 0 and 'rung glance' in out and '(--rung glance)' in out, err
    one_line(ddnb('evaluate', 'x', '--data', root, '--rung', 'shrot'), 'did you mean short')
    one_line(ddnb('evaluate', 'x', '--data', root, '--rung', 'short', '--epochs', 3), 'a rung has its own epochs')

def test_unknown_data_on_a_cpu_has_a_rung(ddnb, tmp_path, monkeypatch):
    from test_cli import fake
    root = fake(tmp_path/'pets', size=32)
    monkeypatch.setattr('ddnb.evaluate.minutes.choose_rung', lambda *a, **kw: ('glance', 1.))
    code, out, err = ddnb('distill', 'random', '--data', root, '--ipc', 1, '--evaluate')
    assert code == 0 and 'pets has no protocol of its own and this is a CPU' in out and 'rung glance' in out.split('protocol:')[1], err



def test_every_name_in_the_list_of_methods_stands_alone(capsys):
    assert main(['distill']) == 0
    said = capsys.readouterr().out
    assert re.findall(r'^  (\S+)  ', said, re.M) == [*METHODS]
