"""`watchbudget demo`, small, from its first line to its last."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster


def test_the_demo_tells_the_whole_story(control_plane: None, tmp_path: Path):
    svg = tmp_path / "demo.svg"
    argv = [sys.executable, "-m", "watchbudget", "demo", "--nodes=20", "--namespaces=100", f"--svg={svg}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    story = iter(done.stdout.splitlines())
    for told in (
        r"^warn +logging/vector ",
        r"^agents +Warn +3 +2 ",
        r"^Warning: WatchBudget agents, unselective-watch: ",
        r"^daemonset.apps/vector-edge created",
        r"denied the request: DaemonSet logging/vector-edge ",
        r"^daemonset.apps/vector-edge created",
        r"^agents +Deny +4 +2 ",
        r"maxUnavailable lowered from 100% to 10",
        r"^logging/vector +20 ",
        r'^watchbudget.watchbudget.io "agents" deleted',
        r"^lists in flight",
        r"^ . ungated: [\d.]+ s, at most [1-9]\d* lists at once, 0 refused; ",
        r"^ . staged: [\d.]+ s, at most [1-9]\d* lists at once, 0 refused; ",
    ):
        assert any(re.search(told, line) for line in story), (
            f"{told!r} is not told:\n{done.stdout}{done.stderr}"
        )
    assert svg.read_text().startswith("<svg ")
