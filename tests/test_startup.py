"What an import brings with it, and what it leaves alone"
import inspect, subprocess, sys
import pytest
from conftest import ROOT
from ddnb.contract import METHODS, get_method

HEAVY = ('fastai', 'matplotlib', 'pandas', 'sklearn', 'IPython')

def fresh(code, *heavy):
    "Which of these modules a fresh process has imported after running some code; nothing may be said on the error stream"
    code += f'\nimport sys; print(*[m for m in {heavy!r} if m in sys.modules])'
    p = subprocess.run([sys.executable, '-W', 'default', '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert p.returncode == 0 and p.stderr == '', p.stderr
    return p.stdout.splitlines()[-1].split()

def test_a_method_comes_without_what_it_may_never_use():
    assert fresh('from ddnb.mgd3 import distill', *HEAVY) == []

@pytest.mark.parametrize('argv', [['--help'], ['--version'], ['distill'], [], ['completion', 'bash']])
def test_help_lists_and_version_come_without_torch(argv):
    assert fresh(f'from ddnb.cli import main; assert main({argv!r}) == 0', 'torch', 'numpy', 'fastcore', *HEAVY) == []

@pytest.mark.parametrize('modules', ['ddnb.evaluate, ddnb.classifiers.learner, ddnb.cao2, ddnb.ruo', 'ddnb.evaluate.together'])
def test_imports_of_fastai_say_nothing(modules): assert fresh(f'import {modules}', 'fastai') == ['fastai']

def test_errors_and_contract_come_without_torch():
    assert fresh('import ddnb.errors, ddnb.contract, ddnb.cli', 'torch', 'numpy', 'fastcore') == []

@pytest.mark.parametrize('name', METHODS)
def test_the_table_says_what_the_docstring_says(name): assert METHODS[name].about == inspect.getdoc(get_method(name))

def test_threads_sleep_unless_the_user_says_otherwise():
    code = 'import os; {}; from ddnb.cli import main; main(["--version"]); print(os.environ.get("KMP_BLOCKTIME"), os.environ["OMP_WAIT_POLICY"])'
    run = lambda first: subprocess.run([sys.executable, '-c', code.format(first)], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert run('[os.environ.pop(k, 0) for k in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")]')[-2:] == ['0', 'passive']
    assert run('os.environ.pop("KMP_BLOCKTIME", 0); os.environ["OMP_WAIT_POLICY"] = "active"')[-2:] == ['None', 'active']
