"""What a process of the control plane uses, read from /proc."""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Meter", "cpu_seconds", "peak_bytes", "reset_peak", "resident_bytes"]

EVERY = 0.25
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
