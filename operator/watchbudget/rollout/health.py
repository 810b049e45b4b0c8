"""Which DaemonSets' starts fail so often that no more are begun."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct, field

from watchbudget.rollout.model import Key, Pause, Start

__all__ = ["WINDOW", "Health"]

WINDOW = 600.0
"""Seconds that a start counts for after it ended."""

LEAST = 3
"""Failures below which nothing is paused, whatever share they are."""

_NAMED = 3


class _Ends(Struct):
    well: deque[float] = field(default_factory=deque)
    failed: deque[float] = field(default_factory=deque)

    def forget(self, now: float) -> None:
        for times in (self.well, self.failed):
            while times and times[0] <= now - WINDOW:
                times.popleft()


class Health:
    """How starts ended in the last ten minutes, by DaemonSet and revision.

    A new revision begins with a clean slate: it may be the cure.
    """

    def __init__(self) -> None:
        self._ends: dict[tuple[Key, str], _Ends] = {}

    def record(self, now: float, key: Key, revision: str, *, failed: bool) -> None:
        """A start ended."""
        ends = self._ends.setdefault((key, revision), _Ends())
        (ends.failed if failed else ends.well).append(now)

    def forget(self, now: float) -> None:
        """Drop what is older than the window."""
        for ends in self._ends.values():
            ends.forget(now)
        self._ends = {key: ends for key, ends in self._ends.items() if ends.well or ends.failed}

    def failed(self) -> dict[Key, int]:
        """Failed starts in the window, by DaemonSet, of all its revisions."""
        failed: dict[Key, int] = {}
        for (key, _), ends in self._ends.items():
            failed[key] = failed.get(key, 0) + len(ends.failed)
        return failed

    def next_forgotten(self) -> float | None:
        """When a failure leaves the window next."""
        return min((ends.failed[0] + WINDOW for ends in self._ends.values() if ends.failed), default=None)

    def pause(
        self,
        key: Key,
        revision: str,
        percent: float,
        *,
        in_flight: int,
        failing: Sequence[Start],
        begun: int = 0,
    ) -> Pause | None:
        """Whether no more of a revision may be started, by what its starts have come to.

        - StartsFailing: at least three starts failed in the last ten minutes, and they are the given share of
          those that ended or are under way. It ends by itself as failures leave the window: then a few are
          tried again.
        - CrashLooping: at least three started pods are failing right now, and they are the given share of all
          that were started of this revision. It lasts as long as they do.

        Args:
            key: the DaemonSet.
            revision: of its pods.
            percent: the share.
            in_flight: starts under way; nothing is said against them yet.
            failing: pods that failed and have not recovered.
            begun: pods of this revision that were started, ever, if known.
        """
        ends = self._ends.get((key, revision), _Ends())
        failed, ended = len(ends.failed), len(ends.failed) + len(ends.well)
        names = ", ".join(sorted(start.name for start in failing)[:_NAMED])
        which = f" ({names}{', …' if len(failing) > _NAMED else ''})" if names else ""
        cure = "apply a template that works, or resume"
        begun = max(begun, ended + in_flight, len(failing))
        if len(failing) >= LEAST and 100 * len(failing) >= percent * begun:
            return Pause(
                "CrashLooping",
                f"{len(failing)} of {begun} started pods{which} are failing, {percent:g}% or more: nothing"
                f" more is started until they recover or are gone; {cure}",
            )
        if failed >= LEAST and 100 * failed >= percent * (ended + in_flight):
            return Pause(
                "StartsFailing",
                f"{failed} of {ended + in_flight} starts of the last ten minutes failed{which}, {percent:g}%"
                f" or more: nothing more is started until those are ten minutes past; {cure}",
            )
        return None
