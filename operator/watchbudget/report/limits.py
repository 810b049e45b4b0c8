"""Where memory limits break as objects become more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from watchbudget.api.resources import GroupResource
from watchbudget.policy.model import Audit, Judgement
from watchbudget.report.figures import limit_bytes, needed_bytes

__all__ = ["Break", "breaking_points", "broken_limits", "is_broken"]


class Break(Struct, frozen=True):
    """A DaemonSet's memory limit stops holding a re-list at this many objects of its dearest resource.

    `factor` is times today's objects. At the smallest factor looked at, the limit may have
    been broken before.
    """

    key: tuple[str, str]
    factor: float
    resource: GroupResource
    objects: int
    limit_bytes: int


def is_broken(judgement: Judgement) -> bool:
    """Whether a re-list needs more than the memory limit, for certain."""
    limit = limit_bytes(judgement)
    return limit is not None and needed_bytes(judgement) > limit


def broken_limits(audit: Audit) -> tuple[Judgement, ...]:
    """The DaemonSets whose limit is too small, in the audit's order."""
    return tuple(judgement for judgement in audit.judgements if is_broken(judgement))


def breaking_points(series: Sequence[tuple[float, Audit]]) -> tuple[Break, ...]:
    """For audits of one fleet at growing factors: whose limit breaks where, the first to break first.

    Between two audits the need is taken to grow in proportion, which it does as long as every
    object keeps its mean size.
    """
    found: dict[tuple[str, str], Break] = {}
    audits = [
        (factor, {judgement.daemon_set.key: judgement for judgement in audit.judgements})
        for factor, audit in series
    ]
    for factor, judgements in audits[:1]:
        for key, judgement in judgements.items():
            if is_broken(judgement):
                found[key] = _break(judgement, factor, factor)
    for (before, earlier), (after, later) in pairwise(audits):
        for key, judgement in later.items():
            if key not in found and key in earlier and is_broken(judgement):
                crossing = _crossing(earlier[key], before, judgement, after)
                found[key] = _break(judgement, crossing, after)
    return tuple(sorted(found.values(), key=lambda item: (item.factor, item.key)))


def _crossing(earlier: Judgement, before: float, later: Judgement, after: float) -> float:
    low, high, limit = needed_bytes(earlier), needed_bytes(later), limit_bytes(later) or 0
    return before + (after - before) * (limit - low) / (high - low) if high > low else after


def _break(judgement: Judgement, factor: float, at: float) -> Break:
    """The break, told in objects of the resource that costs most at factor `at`."""
    dearest = max((line for line in judgement.bill.lines if line.certain), key=lambda line: line.cache_bytes)
    objects = round(dearest.objects * factor / at)
    return Break(judgement.daemon_set.key, factor, dearest.resource, objects, limit_bytes(judgement) or 0)
