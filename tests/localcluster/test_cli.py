"""The named cluster's whole life, through the command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from watchbudget.localcluster.binaries import cache_directory
from watchbudget.localcluster.process import ProcessId

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-c", "from watchbudget.cli.localcluster import localcluster as run; run()"]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control_plane: None) -> dict[str, str]:
    """A cache of the test's own, with the shared binaries in it."""
    shared = cache_directory()
    monkeypatch.setenv("WATCHBUDGET_CACHE", str(tmp_path))
    cache_directory().parent.mkdir(parents=True)
    if shared.exists():  # absent where KUBEBUILDER_ASSETS has everything
        cache_directory().symlink_to(shared)
    return dict(os.environ)


@pytest.fixture
def command(environment: dict[str, str]) -> Iterator[Run]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [*COMMAND, *arguments]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)

    yield run
    run("down", "--name", "life")


def in_foreground(environment: dict[str, str]) -> tuple[subprocess.Popen[str], Path]:
    argv = [*COMMAND, "up", "--name", "life", "--foreground", "--nodes", "0"]
    pipe = subprocess.PIPE
    running = subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe, text=True)
    assert running.stdout is not None
    return running, Path(running.stdout.readline().strip()).parent


def status(command: Run) -> dict[str, object]:
    told: dict[str, object] = json.loads(command("status", "--name", "life", "-o", "json").stdout)
    return told


def test_up_status_kubeconfig_down(command: Run, tmp_path: Path):
    started = command("up", "--name", "life", "--nodes", "2", "--namespaces", "5", "--network-policies", "1")
    assert started.returncode == 0, started.stderr
    kubeconfig = Path(started.stdout.strip())
    assert kubeconfig.is_file()
    assert command("kubeconfig", "--name", "life").stdout == started.stdout
    assert command("kubeconfig", "--name", "life", "--raw").stdout == kubeconfig.read_text()
    kubectl = cache_directory() / "kubectl"
    counted = subprocess.run(
        [kubectl, f"--kubeconfig={kubeconfig}", "get", "nodes,networkpolicies", "-A", "-o", "name"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(counted.stdout.split()) == 7
    report = status(command)
    assert report["state"] == "running"
    again = command("up", "--name", "life")
    assert again.returncode == 1
    assert "down --name life" in again.stderr

    pids = [component["pid"] for component in report["components"].values()]  # type: ignore[attr-defined]
    os.kill(pids[-1], signal.SIGKILL)
    assert command("status", "--name", "life").returncode == 1
    assert status(command)["state"] == "degraded"

    assert command("down", "--name", "life").returncode == 0
    assert not any(ProcessId.of(pid) for pid in pids)
    assert not (tmp_path / "instances" / "life").exists()
    assert command("down", "--name", "life").returncode == 0
    missing = command("status", "--name", "life")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no local cluster 'life'" in missing.stderr


def test_foreground_ends_on_ctrl_c(environment: dict[str, str]):
    running, place = in_foreground(environment)
    record = json.loads((place / "instance.json").read_text())
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)  # SIGTERM is what `down` sends, below
    running.communicate(timeout=20)
    assert not place.exists()
    assert not any(ProcessId(**process).alive() for process in record["processes"].values())


def test_down_from_elsewhere_ends_a_foreground_cluster(environment: dict[str, str], command: Run):
    running, place = in_foreground(environment)
    assert command("down", "--name", "life").returncode == 0
    running.communicate(timeout=20)
    assert not place.exists()
