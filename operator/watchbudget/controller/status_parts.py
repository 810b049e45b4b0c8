"""The parts of a WatchBudget's status that are counts and figures. Pure."""

from __future__ import annotations

import datetime as dt

from watchbudget.api.status import BillStatus, CensusStatus, Counts, DaemonSetStatus, WatchBudgetStatus
from watchbudget.controller.figures import steady, steady_count
from watchbudget.inventory.fleet import ResourceCensus
from watchbudget.policy.model import Ranked, Standing

__all__ = ["bill_of", "census_of", "counts_of", "daemon_set_of"]

_READ_AT_KEPT = dt.timedelta(hours=1)
"""How long figures that stay the same keep the time at which they were read, so that a quiet budget is
written 24 times a day and not at every reading."""


def counts_of(standing: Standing) -> Counts:
    """How many DaemonSets."""
    return Counts(
        governed=standing.governed,
        watching=standing.watching,
        uncertain=standing.uncertain,
        violating=standing.violating,
        warned=standing.warned,
        denied=standing.denied,
        exempted=standing.exempted,
    )


def bill_of(standing: Standing, before: BillStatus | None) -> BillStatus:
    """What the watches cost; `before` is what was reported of it."""
    figures = (
        "cache_per_node",
        "cache_per_node_up_to",
        "cache_total",
        "cache_total_up_to",
        "list_bytes_if_all_restart",
        "freed_by_remedies",
    )
    return BillStatus(
        **{name: steady(getattr(standing, name), getattr(before, name, None)) for name in figures}
    )


def daemon_set_of(ranked: Ranked, previous: WatchBudgetStatus | None) -> DaemonSetStatus:
    """One of those that are named; `previous` is the budget's status until now."""
    place = (ranked.namespace, ranked.name)
    listed = previous.worst if previous else ()
    before = next((each for each in listed if (each.namespace, each.name) == place), None)
    return DaemonSetStatus(
        namespace=ranked.namespace,
        name=ranked.name,
        verdict=ranked.verdict.value,
        evidence=str(ranked.evidence),  # type: ignore[arg-type]  # its words are those of Evidence
        nodes=ranked.nodes,
        cache_per_pod=steady(ranked.cache_per_pod, before.cache_per_pod if before else None),
        cache_total=steady(ranked.cache_total, before.cache_total if before else None),
        findings=ranked.findings,
    )


def census_of(entry: ResourceCensus, previous: WatchBudgetStatus | None, now: str) -> CensusStatus:
    """How much there is of a resource; `now` stands for a time of reading that is not known."""
    place = (entry.resource.group, entry.resource.resource)
    listed = previous.census if previous else ()
    before = next((each for each in listed if (each.group, each.resource) == place), None)
    status = CensusStatus(
        group=entry.resource.group,
        resource=entry.resource.resource,
        objects=steady_count(max(0, entry.objects), before.objects if before else None),
        bytes=steady(max(0, entry.stored_bytes), before.bytes if before else None),
        source=entry.source,
        read_at=entry.read_at or now,
    )
    if before is None or status.model_copy(update={"read_at": before.read_at}) != before:
        return status
    kept = entry.read_at is None or _within(before.read_at, entry.read_at, _READ_AT_KEPT)
    return before if kept else status


def _within(earlier: str, later: str, span: dt.timedelta) -> bool:
    """Whether not more than a span lies between two times; false where one cannot be read."""
    try:
        passed = dt.datetime.fromisoformat(later) - dt.datetime.fromisoformat(earlier)
    except (TypeError, ValueError):
        return False
    return dt.timedelta(0) <= passed < span
