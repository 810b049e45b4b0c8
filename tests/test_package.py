"""The source root is called operator/, and must never shadow the standard library's module."""

from __future__ import annotations

import operator
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from conftest import ROOT
from watchbudget import __version__
from watchbudget.cli.main import cli


def test_operator_stays_the_standard_library_s():
    assert Path(operator.__file__).is_relative_to(sysconfig.get_path("stdlib"))
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_a_python_started_in_the_checkout_finds_the_standard_operator():
    done = subprocess.run(
        [sys.executable, "-c", "import operator, collections; print(operator.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(sysconfig.get_path("stdlib"))


def test_both_console_scripts_start():
    for name in ("watchbudget", "kubectl-watchbudget"):
        script = Path(sys.executable).parent / name
        done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"watchbudget, version {__version__}"


def test_help_imports_no_kubernetes_client():
    code = (
        "import sys; from watchbudget.cli.main import cli; cli(['--help'], standalone_mode=False); "
        "sys.exit('kubernetes' in sys.modules or 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout


def test_a_missing_extra_is_named():
    code = "import runpy, sys; sys.modules['cryptography'] = None; sys.argv = ['watchbudget', 'demo']; "
    code += "runpy.run_module('watchbudget', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'watchbudget[localcluster]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "missing", ["aiohttp", "cryptography", "httptools", "jsonpatch", "kopf", "pythonjsonlogger"]
)
def test_what_the_operator_needs_is_named(missing: str):
    code = f"import runpy, sys; sys.modules['{missing}'] = None; "
    code += "sys.argv = ['watchbudget', 'run', '--log-format=json', '--context=none-such']; "
    code += "runpy.run_module('watchbudget', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'watchbudget[operator]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_has_help():
    for name in cli.list_commands(None):
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0, (name, result.output)
        assert "Usage:" in result.output


def test_completion_for_three_shells():
    for shell, word in (("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")):
        result = CliRunner().invoke(cli, ["completion", shell])
        assert result.exit_code == 0, result.output
        assert word in result.output
        assert "_WATCHBUDGET_COMPLETE" in result.output


def test_a_fault_of_ours_does_not_look_like_findings():
    code = (
        "import runpy, sys; sys.modules['watchbudget.cli.audit'] = 7; sys.argv = ['watchbudget', 'audit']; "
    )
    code += "runpy.run_module('watchbudget', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "please report it" in done.stderr
