"""What a process uses while it is watched."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from storm.meter import cpu_seconds, peak_bytes, resident_bytes

__all__ = ["Usage", "watch"]


@dataclass(frozen=True)
class Usage:
    """What a process used while it was watched.

    Attributes:
        resident: bytes, the median.
        peak: bytes, the highest since it started (`VmHWM`).
        cpu: processor seconds for each second.
    """

    resident: int
    peak: int
    cpu: float


def watch(pid: int, seconds: float) -> Usage:
    """Watch a process for a while."""
    began, used, seen = time.monotonic(), cpu_seconds(pid), []
    while (passed := time.monotonic() - began) < seconds:
        seen.append(resident_bytes(pid))
        time.sleep(0.5)
    cpu = (cpu_seconds(pid) - used) / passed
    return Usage(int(statistics.median(seen)), peak_bytes(pid), cpu)
