"""How many pods a rollout starts at once, and for how many the API server has room."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from watchbudget.api.budget import Rollout
from watchbudget.inventory.fleet import UpdateStrategy

__all__ = ["Level", "Starts", "cap_of", "level_of", "starts_of"]

_COUNT = re.compile(r"[0-9]{1,10}%?")


@dataclass(frozen=True, slots=True)
class Starts:
    """Pods that start at once, by the field that allows it, and what stands there."""

    number: int
    field: Literal["maxUnavailable", "maxSurge"]
    given: str


@dataclass(frozen=True, slots=True)
class Level:
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


def _resolve(given: str, nodes: int) -> int | None:
    if not _COUNT.fullmatch(given) or not given.isascii():
        return None
    if given.endswith("%"):
        return min(nodes, -(-nodes * int(given[:-1]) // 100))
    return min(nodes, int(given))


def cap_of(rollout: Rollout, list_bytes: int) -> int:
    """How many pods a budget's rollout lets start at once; at least one, or nothing would ever start."""
    by_bytes = rollout.max_list_bytes_in_flight // list_bytes if list_bytes else rollout.max_concurrent_starts
    return max(1, min(rollout.max_concurrent_starts, by_bytes))
