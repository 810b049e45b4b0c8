"""Processes, named so that a number the kernel has given to somebody else is never signalled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessId", "resident_bytes"]


@dataclass(frozen=True)
class ProcessId:
    """A process id together with when that process started.

    Ids are reused, and fast where the limit is low; the pair is not. On Linux ``started`` is the boot's id
    and the clock ticks since boot, elsewhere what ``ps`` prints.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Return the identity of the process that has the id ``pid`` now, None if there is none."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    def alive(self) -> bool:
        """Tell whether this very process still runs (a zombie does not)."""
        return _started(self.pid) == self.started

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to this process, never to another with the same id; tell whether it was there."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        except (AttributeError, OSError):  # not Linux, or a sandbox without the call: the id alone must do
            handle = None
        try:
            # With the handle open, the id cannot change hands between this check and the signal.
            if not self.alive():
                return False
            if handle is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            if handle is not None:
                os.close(handle)
        return True

    def wait_gone(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for somebody else's child to end; tell whether it did."""
        deadline = time.monotonic() + timeout
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def resident_bytes(pid: int) -> int:
    """Return a process's resident set size in bytes.

    Raises:
        ProcessLookupError: There is no such process.
    """
    if not sys.platform.startswith("linux"):
        told = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        if not told.stdout.strip():
            raise ProcessLookupError(pid)
        return int(told.stdout) * 1024
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _started(pid: int) -> str | None:
    if not sys.platform.startswith("linux"):
        told = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        state, _, started = told.stdout.strip().partition(" ")
        return None if not state or state.startswith("Z") else started.strip()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may itself hold spaces and parentheses; what follows the last one is regular.
    fields = stat.rpartition(")")[2].split()
    state, ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}/{ticks}"
