"What several test files need"
import contextlib, io, os, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).parent.parent
CLI = [sys.executable, '-c', 'import sys; from ddnb.cli import main; sys.exit(main())']
os.environ.setdefault('OMP_NUM_THREADS', '2')

@pytest.fixture
def ddnb(tmp_path, monkeypatch):
    "The command line, run in a folder of its own; returns exit code, output, errors"
    from ddnb.cli import main
    monkeypatch.chdir(tmp_path)
    def run(*argv):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err): code = main([str(a) for a in argv])
        return code, out.getvalue(), err.getvalue()
    return run
