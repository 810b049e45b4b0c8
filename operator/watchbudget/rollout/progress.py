"""Since when nothing moves: held pods for which a permit was free for `maxHold` and none was taken."""

from __future__ import annotations

import math
from collections.abc import Mapping

from watchbudget.rollout.books import Ledger
from watchbudget.rollout.model import Key, Start
from watchbudget.rollout.seen import Seen

__all__ = ["Progress"]


class Progress:
    """Remembers when each DaemonSet's starts last moved, or had a reason not to.

    From what is seen, not from what was decided: a permit that was given out and whose gate stays is none.
    A long queue is no fault, nor is a pause: those the caller leaves out.
    """

    def __init__(self) -> None:
        self._moved: dict[Key, float] = {}
        self._began: dict[Key, float] = {}
        self._released = -math.inf
        self._held: Mapping[str, Start] = {}

    def stalled(
        self,
        now: float,
        seen: Seen,
        ledger: Ledger,
        candidates: Mapping[Key, list[Start]],
        *,
        limit: int | None,
        locked: frozenset[str],
        wake: list[float],
    ) -> list[Key]:
        """The DaemonSets whose pods have waited so for too long.

        Args:
            now: the time.
            seen: the pass's view.
            ledger: the books as they are seen, without what is given out.
            candidates: held pods that a permit would release, by DaemonSet.
            limit: starts at once, where we lead. Who does not lead knows no limit but this: with nothing in
                flight a permit is free, and after the longest `permitTimeout` one must have become free.
            locked: budgets that give out nothing because they are kept free for a large list.
            wake: where the times go at which that changes.
        """
        for uid in self._held.keys() - seen.held.keys():
            if uid in seen.permitted:
                self._released = now
                self._moved[seen.permitted[uid].daemon_set] = now
        self._held = seen.held
        self._moved = {key: since for key, since in self._moved.items() if candidates.get(key)}
        self._began = {key: since for key, since in self._began.items() if candidates.get(key)}
        longest = max((rules.permit_timeout for rules in seen.rules.values()), default=0.0)
        stalled = []
        for key, pods in candidates.items():
            if not pods:
                continue
            rules = seen.rules[key]
            free = (
                ledger.total < (1 if limit is None else limit)
                and locked.isdisjoint(rules.budgets)
                and all(ledger.accounts[name].room(rules.list_bytes) for name in rules.budgets)
            )
            if not free or key not in self._moved:
                self._moved[key] = now
            ends = self._moved[key] + rules.max_hold
            if limit is None:
                quiet_since = max(self._released, self._began.setdefault(key, now))
                ends = min(ends, quiet_since + max(rules.max_hold, longest))
            if now >= ends:
                stalled.append(key)
            else:
                wake.append(ends)
        return stalled
