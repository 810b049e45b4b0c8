"""However a cluster's owner ends, nothing stays behind."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from watchbudget.localcluster import instances, watchdog

OWNER = """
import json, sys, time
from watchbudget.localcluster import LocalCluster
with LocalCluster() as cluster:
    pids = [process.pid for process in cluster.processes.values()]
    print(json.dumps([str(cluster.state_dir), pids]), flush=True)
    time.sleep(120)
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def eventually(check: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.usefixtures("control_plane")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_owner_ends_by_signal(number: signal.Signals):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout is not None
    with owner.stdout:
        state, pids = json.loads(owner.stdout.readline())
    assert len(pids) == 5
    assert not any(gone(pid) for pid in pids)
    owner.send_signal(number)
    owner.wait(timeout=20)
    assert eventually(lambda: all(gone(pid) for pid in pids))
    assert eventually(lambda: not Path(state).exists())


def start_watchdog(state: Path) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    argv = [sys.executable, "-I", "-S", watchdog.__file__, str(state)]
    dog = subprocess.Popen(argv, stdin=subprocess.PIPE, process_group=0)
    return dog, subprocess.Popen(["sleep", "60"], process_group=dog.pid)


def test_watchdog_kills_its_group_and_removes_the_directory_when_the_pipe_closes(tmp_path: Path):
    state = tmp_path / "state"
    state.mkdir()
    dog, member = start_watchdog(state)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        assert dog.stdin is not None
        dog.stdin.close()
        assert member.wait(10) == -signal.SIGKILL
        dog.wait(10)
        assert eventually(lambda: not state.exists())
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_watchdog_leaves_everything_when_it_is_told_so(tmp_path: Path):
    dog, member = start_watchdog(tmp_path)
    dog.communicate(watchdog.DONE, timeout=10)
    assert dog.returncode == 0
    assert member.poll() is None
    assert tmp_path.exists()
    member.kill()
    member.wait()


def test_instance_names_cannot_leave_their_directory():
    for name in ("../x", "a/b", "", ".", "A", "-a", "a" * 60):
        with pytest.raises(instances.LocalClusterError, match="no name"):
            instances.directory(name)


def test_a_record_that_is_not_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WATCHBUDGET_CACHE", str(tmp_path))
    place = instances.directory("x")
    place.mkdir(parents=True)
    (place / instances.RECORD).write_text("{")
    with pytest.raises(instances.LocalClusterError, match=r"x/instance.json is no record"):
        instances.Instance("x")
    with pytest.raises(instances.LocalClusterError, match="there are: x"):
        instances.Instance("y")
