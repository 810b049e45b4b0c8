"""Step functions over time, as they are recorded: pairs of a time and the value from then on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

__all__ = ["integral", "outline", "peak", "percentile", "steps"]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all do not exceed (nearest rank); 0 of none."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)] if values else 0.0


def steps(changes: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    """Turn changes by some number at some time into the running sum."""
    total, found = 0, []
    for at, delta in sorted(changes):
        total += delta
        found.append((at, total))
    return found


def peak(values: Iterable[tuple[float, int]]) -> int:
    """Return the largest value of a step function."""
    return max((value for _, value in values), default=0)


def integral(values: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """Return the area under a step function between two times; before its first step it is 0."""
    area, last, height = 0.0, begin, 0.0
    for at, value in values:
        if at > begin:
            area += height * (min(at, end) - last)
            last = min(at, end)
        height = value
        if at >= end:
            break
    return area + height * max(0.0, end - last)


def outline(values: Sequence[tuple[float, int]], times: Sequence[float], first: int) -> list[int]:
    """Return a step function's largest value in each of the spans that end at these times.

    The first span has no beginning; ``first`` is the value before the first step.
    """
    found, height, index = [], first, 0
    for time in times:
        most = height
        while index < len(values) and values[index][0] <= time:
            height = values[index][1]
            most = max(most, height)
            index += 1
        found.append(most)
    return found
