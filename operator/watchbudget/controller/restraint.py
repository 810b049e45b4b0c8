"""How often something may be done: token buckets, and pauses that grow with failures. By a clock given."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff", "TokenBucket"]


class TokenBucket:
    """So many at once, and then so many a second."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        """Begin full.

        Args:
            rate: tokens that come in a second.
            burst: how many there may be.
            clock: seconds that only ever grow.
        """
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at = burst, clock()

    def take(self) -> bool:
        """Take one; whether there was one."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait(self) -> float:
        """Seconds until there is one."""
        self._fill()
        return max(0.0, (1 - self._tokens) / self._rate)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


class Backoff:
    """When to try again: at once until something fails, then after pauses that double."""

    def __init__(self, shortest: float, longest: float, clock: Callable[[], float]) -> None:
        """Begin without a pause; lengths are in seconds."""
        self._shortest, self._longest, self._clock = shortest, longest, clock
        self._length = 0.0
        self.until = float("-inf")
        """The time from which on to try, by the clock."""

    def failed(self) -> None:
        """Wait, longer than the last time."""
        self._length = min(self._longest, max(self._shortest, 2 * self._length))
        self.until = self._clock() + self._length

    def succeeded(self) -> None:
        """Wait no more."""
        self._length, self.until = 0.0, float("-inf")
