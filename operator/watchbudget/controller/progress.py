"""Which DaemonSets roll at present, and since when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping

from watchbudget.controller.looked import Looked
from watchbudget.controller.plan import Plan
from watchbudget.rollout.model import Key, Pass

__all__ = ["Rolling"]

QUIET = 60.0
"""Seconds without a start after which a DaemonSet that is not done counts as one that does not roll: the
controller may wait for `minReadySeconds`, or for somebody to delete pods under OnDelete."""


def _utc_seconds() -> str:
    """Now as `metav1.Time`."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Rolling:
    """Remembers them from pass to pass.

    Attributes:
        since: when each began, RFC 3339.
    """

    def __init__(self) -> None:
        self.since: dict[Key, str] = {}
        self._last_start: dict[Key, float] = {}

    def follow(
        self,
        now: float,
        result: Pass,
        looked: Mapping[Key, Looked],
        plan: Plan,
        waves: Collection[Key],
    ) -> None:
        """Take in a pass.

        Args:
            now: the time.
            result: of the pass.
            looked: DaemonSets as they were at their last look.
            plan: knows since when those rolled that another replica followed.
            waves: DaemonSets whose old pods we delete.
        """
        for key, numbers in result.daemon_sets.items():
            if numbers.in_flight or numbers.held:
                self._last_start[key] = now
                self._begin(key, plan)
        for key in waves:
            its = looked.get(key)
            if its is not None and its.behind:
                self._last_start[key] = now
                self._begin(key, plan)
        for key in list(self.since):
            its, quiet = looked.get(key), now - self._last_start[key]
            done = its is not None and not its.behind
            if quiet > 0 and (done or quiet > QUIET):
                del self.since[key], self._last_start[key]

    def _begin(self, key: Key, plan: Plan) -> None:
        if key not in self.since:
            self.since[key] = plan.begun.get(key) or _utc_seconds()
