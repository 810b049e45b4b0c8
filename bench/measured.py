"""Memory and processor time of a process that runs, as the system tells them."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "cpu_seconds", "memory_bytes", "watch"]

TICKS = os.sysconf("SC_CLK_TCK")


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


def memory_bytes(pid: int, field: str = "VmRSS") -> int:
    """Resident memory now, or its highest (`VmHWM`)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"the system does not tell {field} of {pid}")


def cpu_seconds(pid: int) -> float:
    """Processor time of all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def watch(pid: int, seconds: float) -> Usage:
    """Watch a process for a while."""
    began, used, seen = time.monotonic(), cpu_seconds(pid), []
    while (passed := time.monotonic() - began) < seconds:
        seen.append(memory_bytes(pid))
        time.sleep(0.5)
    cpu = (cpu_seconds(pid) - used) / passed
    return Usage(int(statistics.median(seen)), memory_bytes(pid, "VmHWM"), cpu)
