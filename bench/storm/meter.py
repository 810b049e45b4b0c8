"""What a process of the control plane uses, read from /proc."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = [
    "Meter",
    "cpu_seconds",
    "machine_cpu_seconds",
    "peak_bytes",
    "reset_peak",
    "resident_bytes",
    "wait_for_quiet",
]

EVERY = 0.25
QUIET_FOR = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """Return the most it was since the process began or `reset_peak`, in bytes."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Let `peak_bytes` begin anew (proc_pid_clear_refs(5), value 5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def machine_cpu_seconds() -> float:
    """Return the seconds all processors have worked since the machine was started."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / _TICKS


def wait_for_quiet(pids: Iterable[int], cores: float, patience: float) -> bool:
    """Wait until everybody but these processes used less than so many cores for ten seconds.

    Returns False if that has not come within ``patience`` seconds.
    """
    known, end = list(pids), time.monotonic() + patience
    while time.monotonic() < end:
        began, used = time.monotonic(), machine_cpu_seconds() - sum(map(cpu_seconds, known))
        time.sleep(QUIET_FOR)
        others = machine_cpu_seconds() - sum(map(cpu_seconds, known)) - used
        if others / (time.monotonic() - began) < cores:
            return True
    return False


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"process {pid} has no {name}")
    return int(found[1]) * 1024


@dataclass
class Meter:
    """Samples one process, and everybody's load on the machine, for as long as a ``with`` block lasts.

    Attributes:
        pid: The process.
        samples: Monotonic time, resident bytes, CPU seconds so far.
    """

    pid: int
    samples: list[tuple[float, int, float]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self.samples.append((time.monotonic(), resident_bytes(self.pid), cpu_seconds(self.pid)))
            except (OSError, RuntimeError):
                return  # it ended; whoever measures will notice
