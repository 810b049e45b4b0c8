"""The cap on maxUnavailable: lowered when a DaemonSet is created or changed, and how it comes back.

Pods wait for permits, and under maxUnavailable 100% all nodes would be without their agent meanwhile. So
the number is lowered to what permits can follow. With maxSurge the old pods run on while the new ones are
held: no cap. Under OnDelete the number means nothing: no cap.

What stands in the object is either its owner's number or a cap that was put in its place, and then the
owner's is in the annotation. The owner's word is what a request brings, unless the request leaves both as
they were stored, as `kubectl edit` of another field does: then it is the annotation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from watchbudget.api.budget import GROUP, Rollout, WatchBudget
from watchbudget.api.quantity import format_bytes
from watchbudget.policy.appraisal import Appraisal, Case
from watchbudget.policy.model import Action
from watchbudget.policy.phrases import counted
from watchbudget.policy.starts import cap_of, count_of, list_bytes_of
from watchbudget.rollout.gate import pacing_of

__all__ = [
    "MAX_UNAVAILABLE",
    "Cap",
    "Capped",
    "cap_change",
    "cap_warning",
    "capped",
    "caps_of",
    "max_unavailable_patch",
    "tightest",
]

MAX_UNAVAILABLE = f"{GROUP}/max-unavailable"
"""Annotation that keeps the owner's own value where it was lowered."""

_PERCENT = re.compile(r"[0-9]{1,10}%", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_MOST = 2**31 - 1


class Cap(Struct, frozen=True):
    """How many pods of a DaemonSet one budget lets start at once.

    Attributes:
        budget: its name.
        starts: the number, at least 1.
        at_admission: whether maxUnavailable is lowered to it; waves keep to it in any case.
        action: of the budget.
        reason: where the number comes from, for people.
    """

    budget: str
    starts: int
    at_admission: bool
    action: Action
    reason: str


class Capped(Struct, frozen=True):
    """What shall stand in a DaemonSet.

    Attributes:
        value: of maxUnavailable; None: what stands there already.
        kept: of the annotation; None: there shall be none.
    """

    value: int | str | None
    kept: str | None


def caps_of(appraisal: Appraisal, budgets: Sequence[WatchBudget]) -> tuple[Cap, ...]:
    """The caps of all budgets that pace the DaemonSet.

    Pods that no gate holds, of class system-node-critical, are capped all the same.

    Args:
        appraisal: of the DaemonSet.
        budgets: all of them, in the order of the appraisal.
    """
    caps = []
    for case in appraisal.cases:
        budget = budgets[case.index]
        rollout = pacing_of(budget, case)
        if rollout is not None:
            caps.append(_cap(budget, rollout, case))
    return tuple(caps)


def tightest(caps: Sequence[Cap], *, at_admission: bool = False) -> Cap | None:
    """The smallest of the caps, if there is one; the first of those that are equal.

    Args:
        caps: of one DaemonSet.
        at_admission: leave out budgets that do not lower maxUnavailable.
    """
    counting = (cap for cap in caps if cap.at_admission or not at_admission)
    return min(counting, key=lambda cap: cap.starts, default=None)


def cap_change(
    raw: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    appraisal: Appraisal,
    budgets: Sequence[WatchBudget],
) -> Capped | None:
    """What a DaemonSet that is being created or changed is capped to: see `capped`.

    Args:
        raw: the object as it would be stored.
        old: as it is stored; None for a new one.
        appraisal: of the new one.
        budgets: all of them, in the order of the appraisal.
    """
    cap = tightest(caps_of(appraisal, budgets), at_admission=True)
    return capped(raw, old, cap.starts if cap else None, appraisal.bill.nodes)


def max_unavailable_patch(change: Capped) -> tuple[Mapping[str, Any], ...]:
    """The JSON patch of maxUnavailable, which is there wherever its value changes."""
    if change.value is None:
        return ()
    path = "/spec/updateStrategy/rollingUpdate/maxUnavailable"
    return ({"op": "replace", "path": path, "value": change.value},)


def cap_warning(
    raw: Mapping[str, Any], appraisal: Appraisal, budgets: Sequence[WatchBudget]
) -> tuple[str, ...]:
    """What whoever applies a capped DaemonSet is told, if the budget warns at all.

    Args:
        raw: the object after admission.
        appraisal: of it.
        budgets: all of them, in the order of the appraisal.
    """
    if not any(budgets[case.index].spec.rollout for case in appraisal.cases):
        return ()  # as for most
    now = _read(raw)
    if now is None or not (now.rolling and now.lowered):
        return ()
    cap = tightest(caps_of(appraisal, budgets), at_admission=True)
    if cap is None or cap.action < Action.WARN:
        return ()
    lowered = f"WatchBudget {cap.budget}: maxUnavailable lowered from {now.kept} to {now.given}"
    if now.given != cap.starts:
        return (f"{lowered} at an earlier cap; it is {cap.starts} now: set maxUnavailable again to follow",)
    return (f"{lowered}: {cap.reason}, and pods that wait would leave their nodes without the agent",)


def capped(
    raw: Mapping[str, Any], old: Mapping[str, Any] | None, cap: int | None, nodes: int
) -> Capped | None:
    """What a DaemonSet's maxUnavailable and our annotation shall be.

    A number above the cap is lowered to it; a percentage is replaced only if it comes to more on `nodes`.
    What is at or below the cap stays: it is not raised when the cap grows. Once the owner's own value fits,
    or there is no cap any more, that comes back.

    Args:
        raw: the object as it would be stored.
        old: as it is stored; None for a new one.
        cap: None: no budget caps it.
        nodes: that it runs on.

    Returns:
        None where it cannot be read: the API server refuses that by itself.
    """
    now = _read(raw)
    if now is None:
        return None
    if not now.rolling or now.given is None:
        return Capped(None, now.kept if now.lowered else None)
    before = _read(old) if old is not None else None
    untouched = before is not None and (before.given, before.kept) == (now.given, now.kept)
    # A reinvocation of the webhook, or an exported object that is created again, brings cap and annotation.
    ours = now.lowered and (untouched or now.given == cap)
    owners = _value(now.kept) if ours and now.kept else now.given
    if cap is None or not _exceeds(owners, cap, nodes):
        return Capped(owners if ours else None, None)
    return Capped(cap if _exceeds(now.given, cap, nodes) else None, str(owners))


class _Width(Struct, frozen=True):
    """What an object says: its strategy, maxUnavailable as written, and the annotation if it is a value."""

    rolling: bool
    given: int | str | None
    kept: str | None

    @property
    def lowered(self) -> bool:
        """Whether `given` may be a cap put in the place of `kept`: those are numbers of at least one."""
        if self.kept is None or not isinstance(self.given, int) or self.given < 1:
            return False
        return self.kept.endswith("%") or int(self.kept) > self.given


def _read(raw: Mapping[str, Any]) -> _Width | None:
    strategy = _mapping(_mapping(raw, "spec"), "updateStrategy")
    kind = strategy.get("type") or "RollingUpdate"
    given = _mapping(strategy, "rollingUpdate").get("maxUnavailable")
    if kind not in ("RollingUpdate", "OnDelete") or not (given is None or _is_value(given)):
        return None
    kept = _mapping(_mapping(raw, "metadata"), "annotations").get(MAX_UNAVAILABLE)
    usable = isinstance(kept, str) and (_PERCENT.fullmatch(kept) or _NUMBER.fullmatch(kept))
    return _Width(kind == "RollingUpdate", given, kept if usable else None)


def _is_value(given: object) -> bool:
    if isinstance(given, str):
        return _PERCENT.fullmatch(given) is not None
    return isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= _MOST


def _value(kept: str) -> int | str:
    return kept if kept.endswith("%") else min(_MOST, int(kept))


def _exceeds(value: int | str, cap: int, nodes: int) -> bool:
    return (count_of(str(value), nodes) or 0) > cap


def _cap(budget: WatchBudget, rollout: Rollout, case: Case) -> Cap:
    list_bytes = list_bytes_of(rollout, case.watched, case.bill)
    starts = cap_of(rollout, list_bytes)
    room, each = format_bytes(rollout.max_list_bytes_in_flight), format_bytes(list_bytes)
    if list_bytes > rollout.max_list_bytes_in_flight:
        reason = f"a list of {each} runs alone (maxListBytesInFlight {room})"
    elif starts == rollout.max_unavailable:
        reason = f"rollout.maxUnavailable is {starts}"
    elif starts == rollout.max_concurrent_starts:
        reason = f"maxConcurrentStarts is {starts}"
    else:
        reason = f"maxListBytesInFlight {room} has room for {counted(starts, 'list')} of {each}"
    return Cap(
        budget=budget.name,
        starts=starts,
        at_admission=rollout.cap_max_unavailable,
        action=Action.parse(budget.spec.enforcement.action),
        reason=reason,
    )


def _mapping(raw: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = raw.get(field)
    return value if isinstance(value, dict) else {}
