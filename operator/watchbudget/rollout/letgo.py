"""Never strand: pods that are let go without a permit, by any replica, slowly.

From what is seen alone: no permit, no limit, no leader is asked.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from watchbudget.rollout.model import Freed, Start, Why

__all__ = ["PER_SECOND", "LetGo"]

PER_SECOND = 5
"""Pods let go in any one second, by all replicas together as far as this one sees."""

REPEAT = 10.0
"""Seconds after which a pod that is still held is let go again: the first time did not work."""


class LetGo:
    """Chooses the oldest of those that may go, five in any second."""

    def __init__(self) -> None:
        self._left: deque[float] = deque(maxlen=PER_SECOND)
        self._held: frozenset[str] = frozenset()
        self._let_go: dict[str, float] = {}
        self._waiting = False

    def see(self, now: float, held: AbstractSet[str], permitted: AbstractSet[str]) -> None:
        """Take in who is held, and count who left without a permit: another replica may have let them go.

        Args:
            now: the time.
            held: uids of all held pods.
            permitted: uids of all pods with our label that are not held.
        """
        left = self._held - held - permitted - self._let_go.keys()
        self._left.extend(now for _ in range(min(len(left), PER_SECOND)))
        self._held = frozenset(held)
        self._let_go = {
            uid: when for uid, when in self._let_go.items() if uid in held and now - when < REPEAT
        }

    def choose(self, now: float, due: Iterable[tuple[Start, Why]]) -> tuple[Freed, ...]:
        """Of those that are due, who goes now: the oldest."""
        left = self._left
        room = PER_SECOND - sum(1 for when in left if now - when < 1)
        waiting = [(start.held_since, start.uid, why) for start, why in due if start.uid not in self._let_go]
        chosen = tuple(Freed(uid, why) for _, uid, why in heapq.nsmallest(room, waiting)) if room > 0 else ()
        for freed in chosen:
            left.append(now)
            self._let_go[freed.uid] = now
        self._waiting = len(waiting) > len(chosen)
        return chosen

    def next_change(self) -> float | None:
        """When one more may go, or one goes again, of those that were due last; None if there is none."""
        if self._waiting:
            return self._left[0] + 1
        return min((when + REPEAT for when in self._let_go.values()), default=None)
