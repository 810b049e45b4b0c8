"""How many pods a rollout starts at once, whether a budget holds them, and how many the API server bears."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from watchbudget.api.budget import Rollout
from watchbudget.cost.model import Bill
from watchbudget.demand.model import Demand
from watchbudget.inventory.fleet import DaemonSet, UpdateStrategy

__all__ = [
    "NODE_CRITICAL",
    "Level",
    "Starts",
    "cap_of",
    "count_of",
    "is_held",
    "level_of",
    "list_bytes_of",
    "starts_of",
]

NODE_CRITICAL = "system-node-critical"
"""The highest priority class: https://kubernetes.io/docs/tasks/administer-cluster/guaranteed-scheduling-critical-addon-pods/"""

_COUNT = re.compile(r"[0-9]{1,10}%?")


class Starts(Struct, frozen=True):
    """Pods that start at once, by the field that allows it, and what stands there."""

    number: int
    field: Literal["maxUnavailable", "maxSurge"]
    given: str


class Level(Struct, frozen=True):
    """A priority level of API priority and fairness and its nominal seats on one API server."""

    name: str
    seats: int


# 400 + 200 requests in flight, shared out by 40 and 100 of 245 shares, rounded up: kube-apiserver's defaults,
# k8s.io/apiserver pkg/apis/flowcontrol/bootstrap/default.go. Several API servers have as many each, but one
# client's connections may all go to one of them.
_WORKLOAD_HIGH = Level("workload-high", 98)
_WORKLOAD_LOW = Level("workload-low", 245)


def level_of(namespace: str) -> Level:
    """The priority level of a service account's lists: kube-system's share one with the controllers."""
    return _WORKLOAD_HIGH if namespace == "kube-system" else _WORKLOAD_LOW


def starts_of(strategy: UpdateStrategy, nodes: int) -> Starts | None:
    """Pods that a rollout starts at once; None under OnDelete, or where the field cannot be read.

    Percentages round up, as GetScaledValueFromIntOrPercent does for DaemonSets
    (pkg/controller/daemon/util/daemonset_util.go, SurgeCount and UnavailableCount).
    """
    if strategy.type != "RollingUpdate":
        return None
    fields: tuple[tuple[Literal["maxUnavailable", "maxSurge"], str | None], ...] = (
        ("maxUnavailable", strategy.max_unavailable),
        ("maxSurge", strategy.max_surge),
    )
    found = [
        Starts(number, field, given)
        for field, given in fields
        if given is not None and (number := _resolve(given, nodes)) is not None
    ]
    return max(found, key=lambda starts: starts.number, default=None)


@lru_cache(maxsize=1024)
def count_of(given: str, nodes: int) -> int | None:
    """What `20` or `30%` comes to on so many nodes, which it may exceed; None for what is neither."""
    if not _COUNT.fullmatch(given) or not given.isascii():
        return None
    return -(-nodes * int(given[:-1]) // 100) if given.endswith("%") else int(given)


def _resolve(given: str, nodes: int) -> int | None:
    number = count_of(given, nodes)
    return None if number is None else min(nodes, number)


def is_held(rollout: Rollout | None, daemon_set: DaemonSet) -> bool:
    """Whether a budget's gate holds the pods of a DaemonSet that counts as watching under it."""
    if rollout is None or not rollout.gate:
        return False
    return rollout.gate_critical or daemon_set.priority_class != NODE_CRITICAL


def list_bytes_of(rollout: Rollout, watched: Iterable[Demand], bill: Bill) -> int:
    """What one start is taken to list under a budget, in bytes.

    That of the demands that count as watches; of one with a selector, whose share nobody counted, the whole.
    A budget that is careful (`gateUncertain`) counts what may be watched as well.
    """
    if rollout.gate_uncertain:
        return bill.list_bytes_per_start_up_to
    counting = {demand.resource for demand in watched}
    return sum(line.list_bytes for line in bill.lines if line.resource in counting)


def cap_of(rollout: Rollout, list_bytes: int) -> int:
    """How many pods a budget's rollout lets start at once; at least one, or nothing would ever start."""
    most = min(rollout.max_unavailable, rollout.max_concurrent_starts)
    return max(1, min(most, rollout.max_list_bytes_in_flight // list_bytes) if list_bytes else most)
