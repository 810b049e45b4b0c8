"""`watchbudget run` where it cannot run, and where it is ended before it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
users: [{name: c, user: {token: t}}]
current-context: c
"""


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_a_context_that_is_not_there(log_format: str, tmp_path: Path):
    (tmp_path / "config").write_text(KUBECONFIG)
    argv = [sys.executable, "-m", "watchbudget", "run", "--kubeconfig", "config", "--context", "none-such"]
    argv += ["--port=0", "--probe-port=0", f"--log-format={log_format}"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    if log_format == "plain":
        assert done.stderr.startswith("Error: ")
        assert "none-such" in done.stderr
    else:
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert lines[-1]["severity"] == "CRITICAL"
        assert "It cannot run: " in lines[-1]["message"]
        assert "none-such" in lines[-1]["message"]


EARLY = """
import os, signal, sys

class Early:
    '''Asks for the end while the operator's modules are being loaded, as kubelet may.'''

    def find_spec(self, name, *_):
        if name == "kopf":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Early())
from watchbudget.cli.main import main
sys.argv = ["watchbudget", "run", "--kubeconfig", "config"]
main()
"""


def test_sigterm_is_heard_before_anything_is_loaded(tmp_path: Path):
    """Nobody ends the first process of a container by a signal that it has no handler for."""
    (tmp_path / "config").write_text(KUBECONFIG)
    done = subprocess.run(
        [sys.executable, "-c", EARLY], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
