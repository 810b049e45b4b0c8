"""Figures as status and annotations show them: two digits, which stay put while a cluster breathes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from watchbudget.api.quantity import MAX_BYTES, format_quantity, round_two_digits
from watchbudget.controller.annotations import CACHE_PER_POD, LIST_BYTES_PER_START, annotations_of
from watchbudget.policy.model import Judgement

__all__ = ["FIGURES", "figure", "steady", "steady_annotations", "steady_count"]

FIGURES = (CACHE_PER_POD, LIST_BYTES_PER_START)
"""Annotations that are figures."""

_NEARBY = (99, 101)
"""Percent. A figure that would be right for one percent less or more is kept: a count that swings about
the middle between two figures would else be written all day."""

_T = TypeVar("_T")


def figure(size: int) -> str:
    """Bytes in two digits, at most what Kubernetes itself can count."""
    return format_quantity(min(size, MAX_BYTES))


def steady(size: int, before: str | None) -> str:
    """The figure, or the one before if it is right within one percent."""
    return _steady(figure, size, before)


def steady_count(number: int, before: int | None) -> int:
    """The same for a number of objects."""
    return _steady(round_two_digits, number, before)


def steady_annotations(judgement: Judgement, before: Mapping[str, str]) -> dict[str, str]:
    """What `annotations_of` says, with figures kept where they are right within one percent."""
    wanted = annotations_of(judgement)
    moved = [name for name in FIGURES if name in wanted and before.get(name, wanted[name]) != wanted[name]]
    if moved:
        nearby = [annotations_of(_scaled(judgement, percent)) for percent in _NEARBY]
        wanted |= {name: before[name] for name in moved if any(before[name] == each[name] for each in nearby)}
    return wanted


def _steady(show: Callable[[int], _T], number: int, before: _T | None) -> _T:
    shown = show(number)
    if before is None or shown == before:
        return shown
    return before if any(show(_share(number, percent)) == before for percent in _NEARBY) else shown


def _share(number: int, percent: int) -> int:
    """So many percent, rounded towards the number: 99 percent of 915 are 905.85, and 906 is within one."""
    return -(-number * percent // 100) if percent < 100 else number * percent // 100


def _scaled(judgement: Judgement, percent: int) -> Judgement:
    bill = judgement.bill
    figures: dict[str, Any] = {
        name: max(1, _share(getattr(bill, name), percent)) if getattr(bill, name) else 0
        for name in (
            "cache_per_pod",
            "cache_per_pod_up_to",
            "list_bytes_per_start",
            "list_bytes_per_start_up_to",
        )
    }
    return replace(judgement, bill=replace(bill, **figures))
