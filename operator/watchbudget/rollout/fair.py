"""Whose turn it is: permits shared out between DaemonSets, and in each DaemonSet between nodes."""

from __future__ import annotations

import heapq
from collections.abc import Container, Mapping, Sequence

from msgspec import Struct

from watchbudget.rollout.books import Account, Ledger, Rules
from watchbudget.rollout.model import Key, Start

__all__ = ["Turns", "Waiting", "first_in_line"]

VACANT_FIRST = 600.0
"""Seconds that a pod for a node without a running copy counts as having waited longer. No pod for another
node waits for ever behind ever new ones."""

CRITICAL_SHARE = 4
"""A DaemonSet of class system-node-critical gets so many permits for one of others: a node without its
network plugin starts nothing else, so permits given to others there are wasted."""

PASSED_OVER = 20
"""Times that others may be served before a DaemonSet whose turn it is and whose list does not fit now; then
its budgets give out nothing until it does."""


class Waiting(Struct):
    """A DaemonSet's held pods that may be released, first in line first."""

    pods: Sequence[Start]
    rules: Rules
    critical: bool
    chosen: int = 0


def first_in_line(held: Sequence[Start], most: int) -> list[Start]:
    """The first few of a DaemonSet's held pods: vacant nodes, then those that wait longest."""
    return heapq.nsmallest(
        most, held, key=lambda pod: (pod.held_since - (VACANT_FIRST if pod.vacant else 0), pod.uid)
    )


class Turns:
    """Remembers who was served last and who was passed over; the least served goes first."""

    def __init__(self) -> None:
        self._served: dict[Key, int] = {}
        self._passed: dict[Key, int] = {}
        self._count = 0

    def forget(self, keep: Container[Key]) -> None:
        """Drop DaemonSets that wait for nothing."""
        self._served = {key: count for key, count in self._served.items() if key in keep}
        self._passed = {key: count for key, count in self._passed.items() if key in keep}

    def share_out(
        self, waiting: Mapping[Key, Waiting], ledger: Ledger, most: int
    ) -> tuple[list[Start], frozenset[str]]:
        """Choose the pods to release, and enter their permits.

        Args:
            waiting: by DaemonSet.
            ledger: the books; what is chosen is taken there.
            most: never more than this.

        Returns:
            The pods, and the budgets that are kept free for a list that does not fit yet.
        """
        chosen: list[Start] = []
        locked: frozenset[str] = frozenset()
        while len(chosen) < most:
            key, locked = self._next(waiting, ledger)
            if key is None:
                break
            its = waiting[key]
            pod = its.pods[its.chosen]
            its.chosen += 1
            ledger.take(pod, its.rules)
            chosen.append(pod)
            self._count += 1
            self._served[key] = self._count
            self._passed.pop(key, None)
        return chosen, locked

    def _next(self, waiting: Mapping[Key, Waiting], ledger: Ledger) -> tuple[Key | None, frozenset[str]]:
        """Whose turn it is among those whose budgets have room, and which budgets are kept free."""
        locked: set[str] = set()
        passed: list[Key] = []
        for key in sorted(
            (key for key, its in waiting.items() if its.chosen < len(its.pods)),
            key=lambda key: self._order(key, waiting[key], ledger),
        ):
            rules = waiting[key].rules
            if not locked.isdisjoint(rules.budgets):
                continue
            if _fits(rules, ledger.accounts):
                for ahead in passed:
                    if not set(rules.budgets).isdisjoint(waiting[ahead].rules.budgets):
                        self._passed[ahead] = self._passed.get(ahead, 0) + 1
                return key, frozenset(locked)
            passed.append(key)
            if self._passed.get(key, 0) >= PASSED_OVER:
                locked.update(rules.budgets)
        return None, frozenset(locked)

    def _order(self, key: Key, its: Waiting, ledger: Ledger) -> tuple[float, int, Key]:
        share = (ledger.in_flight.get(key, 0) + 1) / (CRITICAL_SHARE if its.critical else 1)
        return share, self._served.get(key, 0), key


def _fits(rules: Rules, accounts: Mapping[str, Account]) -> bool:
    return all(accounts[name].room(rules.list_bytes) for name in rules.budgets)
