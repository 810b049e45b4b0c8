"""How much of a status is new, and so how soon it should be written. Pure."""

from __future__ import annotations

from enum import IntEnum

from watchbudget.api.status import WatchBudgetStatus

__all__ = ["Change", "change"]


class Change(IntEnum):
    """What differs between two statuses, by how soon readers should learn of it."""

    NONE = 0
    FIGURES = 1
    STARTS = 2
    VERDICT = 3


def change(old: WatchBudgetStatus | None, new: WatchBudgetStatus) -> Change:
    """How much of a status is new."""
    if old == new:
        return Change.NONE
    if old is None or _verdict(old) != _verdict(new):
        return Change.VERDICT
    if (old.starts, old.rollouts) != (new.starts, new.rollouts):
        return Change.STARTS
    return Change.FIGURES


def _verdict(status: WatchBudgetStatus) -> tuple[object, ...]:
    return (
        status.observed_generation,
        sorted((each.type, each.status, each.reason) for each in status.conditions),
        status.counts,
        sorted((each.namespace, each.name, each.verdict, each.findings) for each in status.worst),
    )
