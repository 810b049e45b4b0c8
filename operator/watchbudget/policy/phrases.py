"""Parts of sentences that several rules share."""

from __future__ import annotations

from collections.abc import Iterable

from watchbudget.api.quantity import format_bytes
from watchbudget.api.resources import GroupResource

__all__ = ["counted", "either_way", "names"]


def names(resources: Iterable[GroupResource]) -> str:
    """`namespaces`, `namespaces and networkpolicies`; the group stays out, a finding is one sentence."""
    words = [resource.resource for resource in dict.fromkeys(resources)]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def counted(number: int, one: str) -> str:
    """`1 node`, `1,200 nodes`."""
    return f"{number:,} {one if number == 1 else one + 's'}"


def either_way(sure: int, possible: int) -> str:
    """`, up to 120 MiB` where uncertain watches would cost more than the certain ones, else nothing."""
    return f", up to {format_bytes(possible)}" if possible > sure else ""
