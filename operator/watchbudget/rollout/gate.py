"""Whose pods are held, by which budgets, and what each of their starts asks of the API server.

A budget holds the pods of a DaemonSet that it governs and that counts as watching under it; with
`gateUncertain` also of one that may watch. Exemptions accept findings, and a gate is none: they change
nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from watchbudget.api.budget import GROUP, Rollout, WatchBudget
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.policy.appraisal import Appraisal, Case
from watchbudget.policy.phrases import names
from watchbudget.policy.starts import NODE_CRITICAL, list_bytes_of
from watchbudget.rollout.model import Ceiling, Terms

__all__ = [
    "GATE",
    "HELD",
    "LABEL",
    "PAUSED",
    "PERMITTED",
    "Gate",
    "Hold",
    "ceilings_of",
    "gate_of",
    "is_critical",
    "node_of",
    "pacing_of",
    "paused_of",
    "terms_of",
]

GATE = f"{GROUP}/start"
"""Name of the scheduling gate."""

LABEL = f"{GROUP}/start"
"""Label of pods that are held, or have a permit."""

HELD, PERMITTED = "held", "permitted"

PAUSED = f"{GROUP}/paused"
"""Annotation by which a DaemonSet's owner pauses its starts: `true`, or why."""

_CRITICAL_PRIORITY = 2_000_001_000
"""`SystemCriticalPriority + 1000`, the value of system-node-critical: pkg/apis/scheduling/types.go. Users'
classes end at 1,000,000,000."""

_LONGEST_REASON = 200
"""Characters of an owner's own words that status repeats."""


class Hold(Struct, frozen=True):
    """Why one budget holds the pods of a DaemonSet.

    Attributes:
        budget: its name.
        list_bytes: that one start lists of what the budget prices; an upper bound where that is not certain.
        certain: whether it counts as watching there; otherwise it may watch, and the budget is careful.
        critical: the budget also holds pods of priority class system-node-critical.
        reason: for people.
    """

    budget: str
    list_bytes: int
    certain: bool
    critical: bool
    reason: str


class Gate(Struct, frozen=True):
    """Every reason to hold the pods of one DaemonSet; none: they start at once."""

    holds: tuple[Hold, ...] = ()

    @property
    def list_bytes(self) -> int:
        """What one start lists: the budgets may price different resources, so the largest sum counts."""
        return max((hold.list_bytes for hold in self.holds), default=0)

    def applies(self, *, critical: bool) -> bool:
        """Whether a pod is held, of class system-node-critical or not."""
        return any(hold.critical or not critical for hold in self.holds)


def pacing_of(budget: WatchBudget, case: Case) -> Rollout | None:
    """The budget's `rollout`, if it means the DaemonSet: that watches, or may and the budget is careful."""
    rollout = budget.spec.rollout
    if rollout is None or case.watched:
        return rollout
    # A bill has a line, or something unpriced, for every demand that is not `no`.
    may_watch = bool(case.bill.lines or case.bill.unpriced)
    return rollout if rollout.gate_uncertain and may_watch else None


def gate_of(appraisal: Appraisal, budgets: Sequence[WatchBudget]) -> Gate:
    """Which budgets hold the DaemonSet's pods.

    Args:
        appraisal: of the DaemonSet.
        budgets: all of them, in the order of the appraisal.
    """
    holds = []
    for case in appraisal.cases:
        rollout = pacing_of(budgets[case.index], case)
        if rollout is not None and rollout.gate:
            holds.append(_hold(budgets[case.index].name, rollout, case))
    return Gate(tuple(holds))


def terms_of(appraisal: Appraisal, budgets: Sequence[WatchBudget]) -> Terms:
    """On which terms the DaemonSet's pods start, as far as the judgement of it says.

    Of pods of class system-node-critical the pacer itself asks whether the budget's ceiling holds them.

    Args:
        appraisal: of the DaemonSet.
        budgets: all of them, in the order of the appraisal.
    """
    gate = gate_of(appraisal, budgets)
    return Terms(
        budgets=tuple(hold.budget for hold in gate.holds),
        list_bytes=gate.list_bytes,
        paused=paused_of(appraisal.daemon_set),
    )


def ceilings_of(
    budgets: Sequence[WatchBudget], paused: Mapping[str, str] | None = None
) -> dict[str, Ceiling]:
    """What each budget with a `rollout` allows, by name.

    Args:
        budgets: all of them.
        paused: why a budget starts nothing, by its name.
    """
    return {
        budget.name: Ceiling.of(budget.spec.rollout, (paused or {}).get(budget.name))
        for budget in budgets
        if budget.spec.rollout is not None
    }


def paused_of(daemon_set: DaemonSet) -> str | None:
    """Why its owner holds the DaemonSet's starts; None where they go on."""
    said = daemon_set.annotations.get(PAUSED, "").strip()
    if said.lower() in ("", "false"):
        return None
    return f"by annotation {PAUSED}" if said.lower() == "true" else said[:_LONGEST_REASON]


def is_critical(pod: Mapping[str, Any]) -> bool:
    """Whether a pod, as the API has it, is of class system-node-critical, by name or by number.

    Admission resolves the name into the number before any webhook is asked, and may be turned off.
    """
    spec = _mapping(pod, "spec")
    priority = spec.get("priority")
    by_number = isinstance(priority, int) and priority >= _CRITICAL_PRIORITY
    return by_number or spec.get("priorityClassName") == NODE_CRITICAL


def node_of(pod: Mapping[str, Any]) -> str | None:
    """The node that a pod of a DaemonSet runs on or is meant for; None where there is none.

    As GetTargetNodeName in pkg/controller/daemon/util/daemonset_util.go: a pod that is not scheduled yet
    carries the name in its node affinity.
    """
    spec = _mapping(pod, "spec")
    bound = spec.get("nodeName")
    if isinstance(bound, str) and bound:
        return bound
    affinity = _mapping(_mapping(spec, "affinity"), "nodeAffinity")
    required = _mapping(affinity, "requiredDuringSchedulingIgnoredDuringExecution")
    for term in _mappings(required, "nodeSelectorTerms"):
        for field in _mappings(term, "matchFields"):
            if field.get("key") == "metadata.name" and field.get("operator") == "In":
                values = field.get("values")
                if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str):
                    return values[0] or None
                return None
    return None


def _hold(budget: str, rollout: Rollout, case: Case) -> Hold:
    certain = bool(case.watched)
    watched = [demand.resource for demand in case.watched]
    possible = [*(line.resource for line in case.bill.lines), *case.bill.unpriced]
    return Hold(
        budget=budget,
        list_bytes=list_bytes_of(rollout, case.watched, case.bill),
        certain=certain,
        critical=rollout.gate_critical,
        reason=f"it watches {names(watched)}"
        if certain
        else f"it may watch {names(possible)}, and the budget is careful (gateUncertain)",
    )


def _mapping(raw: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = raw.get(field)
    return value if isinstance(value, dict) else {}


def _mappings(raw: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    value = raw.get(field)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
