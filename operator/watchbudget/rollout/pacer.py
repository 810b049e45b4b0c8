"""Which pods may start now: one pacer per cluster, pure, in the caller's time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from watchbudget.rollout.model import Ceiling, Key, Pass, Signals, Start, Terms

__all__ = ["Pacer"]


class Pacer:
    """Gives out permits. Every replica has one and calls it; only the leader's gives out permits."""

    def __init__(self, max_starts: int = 100) -> None:
        """Prepare.

        Args:
            max_starts: the cluster's ceiling: permits at once, all budgets together.
        """
        self._max_starts = max_starts

    def turn(
        self,
        now: float,
        starts: Iterable[Start],
        terms: Mapping[Key, Terms],
        ceilings: Mapping[str, Ceiling],
        signals: Signals,
        *,
        leading: bool = True,
    ) -> Pass:
        """One pass: take in what is seen, decide.

        Call it whenever something changed, and at `Pass.next_pass` at the latest.

        Args:
            now: seconds that only ever grow.
            starts: all pods with our label.
            terms: of all governed DaemonSets. Must be complete: one that is missing counts as not judged.
            ceilings: by name of budget, those with a `rollout`.
            signals: what the API server has shown since the last pass.
            leading: whether the caller holds the Lease. Otherwise it watches, ready to take over, and only
                lets go what nobody else does.
        """
        raise NotImplementedError
