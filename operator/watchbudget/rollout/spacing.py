"""Permits that are free at once are not given out at once."""

from __future__ import annotations

__all__ = ["Spacing"]

GAIN = 2.0
"""Permits per round, as a multiple of the limit, as Linux paces TCP (tcp_pacing_ss_ratio): enough never to
hold back growth, and what begins together does not go on to end, list and begin again together."""

AT_ONCE = 4
"""Permits given out at once after a while without any."""

GATHER = 0.1
"""Seconds; where more than 4 permits fall due in this time, so many go at once: no pass is made for less."""


class Spacing:
    """A bucket that fills as fast as starts may begin."""

    def __init__(self) -> None:
        self._filled = float(AT_ONCE)
        self._at: float | None = None

    def room(self, now: float, limit: int, seconds: float) -> int:
        """How many may begin now.

        Args:
            now: seconds that only ever grow.
            limit: starts at once.
            seconds: that a start takes from permit to end.
        """
        rate = GAIN * limit / seconds
        passed = 0.0 if self._at is None else now - self._at
        self._filled = min(self._filled + rate * passed, max(AT_ONCE, rate * GATHER))
        self._at = now
        return int(self._filled)

    def wait(self, limit: int, seconds: float) -> float:
        """Seconds until one more may begin, as of the last `room`."""
        return max(GATHER, (1 - self._filled) * seconds / (GAIN * limit))

    def take(self, count: int) -> None:
        """So many begin."""
        self._filled -= count
