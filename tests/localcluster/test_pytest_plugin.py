"""The fixtures, in a pytest run of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
def test_needs_it(cluster):
    pass

def test_does_not():
    pass
"""


def run(tmp_path: Path, *arguments: str, **changed: str) -> str:
    (tmp_path / "test_it.py").write_text(TEST)
    env = dict(os.environ) | {"WATCHBUDGET_CACHE": str(tmp_path / "cache")} | changed
    env.pop("KUBEBUILDER_ASSETS", None)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-rsE"]
    argv += [*arguments, str(tmp_path)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)
    return done.stdout + done.stderr


NO_GO = """
import watchbudget.localcluster.toolchain as toolchain
toolchain.MINIMUM = (99, 0)
"""


@pytest.fixture(autouse=True)
def no_toolchain(tmp_path: Path):
    (tmp_path / "conftest.py").write_text(NO_GO)


def test_without_a_control_plane_tests_are_skipped_with_the_reason(tmp_path: Path):
    output = run(tmp_path, WATCHBUDGET_REQUIRE_ALL="0")
    assert "1 passed, 1 skipped" in output
    assert "NOT TESTED on a real control plane: No Go toolchain" in output


def test_where_everything_is_required_they_fail(tmp_path: Path):
    output = run(tmp_path, WATCHBUDGET_REQUIRE_ALL="1")
    assert "1 passed, 1 error" in output


def test_the_marker_selects(tmp_path: Path):
    assert "1 passed, 1 deselected" in run(tmp_path, "-m", "not cluster")


def test_the_plugin_imports_nothing_heavy():
    code = "import sys, watchbudget.localcluster.pytest_plugin; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"cryptography", "yaml", "rich", "click", "ssl"} & set(told.stdout.split())
