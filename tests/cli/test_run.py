"""`watchbudget run` where it cannot run: why, in the format that was asked for, and exit code 2."""

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
