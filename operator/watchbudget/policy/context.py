"""What a rule may look at: one DaemonSet as one budget sees it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from msgspec import Struct

from watchbudget.api.budget import WatchBudget
from watchbudget.cost.model import Bill, Line
from watchbudget.demand.model import Demand, Grant
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.policy.model import Memory

__all__ = ["Context"]


class Context(Struct, frozen=True, dict=True):
    """One DaemonSet under one budget.

    `watched` holds the demands that count as watches there and is never empty: no rule is asked
    about a DaemonSet without one. They are the certain part of `bill`, which prices the budget's
    resources only. `node_bytes` and `total_bytes` are the caches of all DaemonSets that
    the budget governs: on the worst node that may run this one, and on all nodes; 0 where it sets no limit.
    """

    daemon_set: DaemonSet
    budget: WatchBudget
    grants: tuple[Grant, ...]
    watched: tuple[Demand, ...]
    memory: Memory
    bill: Bill
    node_bytes: int
    total_bytes: int
    shared_with: tuple[str, ...] = ()  # other workloads of the same service account

    @cached_property
    def certain_lines(self) -> tuple[Line, ...]:
        """The lines of the bill that count."""
        return tuple(line for line in self.bill.lines if line.certain)

    @cached_property
    def worked_out(self) -> dict[object, Any]:
        """What one rule has worked out of it and another asks for again, by keys of their choice."""
        return {}

    def cache_of(self, demands: Iterable[Demand]) -> int:
        """Cache bytes per pod that these demands account for, as far as they are certain."""
        wanted = {(demand.resource, demand.agent.container if demand.agent else None) for demand in demands}
        if not wanted:
            return 0
        return sum(
            line.cache_bytes for line in self.certain_lines if (line.resource, line.container) in wanted
        )
