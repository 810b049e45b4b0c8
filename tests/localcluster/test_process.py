import dataclasses
import os
import signal
import subprocess
from pathlib import Path

import pytest

from watchbudget.localcluster.ports import free_ports
from watchbudget.localcluster.process import ProcessId, resident_bytes


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_reused_id_is_somebody_else(sleeper: subprocess.Popen[bytes]):
    identity = ProcessId.of(sleeper.pid)
    assert identity.alive()
    # as if the id had changed hands
    before = dataclasses.replace(identity, started=f"{identity.started}0")  # noqa: TID251 - a dataclass
    assert not before.alive()
    assert before.signal(signal.SIGKILL) is False
    assert sleeper.poll() is None


def test_the_right_process_gets_the_signal(sleeper: subprocess.Popen[bytes]):
    identity = ProcessId.of(sleeper.pid)
    assert identity.signal(signal.SIGKILL) is True
    assert identity.wait_gone(5)  # also while it is a zombie that we have not yet collected
    sleeper.wait()
    assert identity.signal(signal.SIGKILL) is False
    assert ProcessId.of(sleeper.pid) is None


def test_waiting_has_an_end(sleeper: subprocess.Popen[bytes]):
    assert ProcessId.of(sleeper.pid).wait_gone(0.05) is False


def test_a_name_with_parentheses_does_not_confuse(tmp_path: Path):
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(odd), "60"])
    try:
        assert ProcessId.of(process.pid) == ProcessId.of(process.pid)
        assert ProcessId.of(process.pid).started.split("/")[1].isdigit()
    finally:
        process.kill()
        process.wait()


def test_resident_bytes():
    assert resident_bytes(os.getpid()) > 1 << 20
    with pytest.raises(ProcessLookupError):
        resident_bytes(2**22 + 1)


def test_ports_differ():
    assert len(set(free_ports(20))) == 20
