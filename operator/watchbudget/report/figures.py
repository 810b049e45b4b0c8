"""Small questions about a judgement that table, explanation and charts all ask."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from watchbudget.cost.model import Bill
from watchbudget.demand.model import Watches
from watchbudget.policy.model import Audit, Finding, Judgement

__all__ = [
    "ABOUT_MEANS",
    "MergedFinding",
    "about",
    "costs_nothing",
    "limit_bytes",
    "merged",
    "needed_bytes",
    "short_label",
    "split",
]

ABOUT = "~"
"""Before a figure that rests on the nearest measured client library and not on the agent's own."""

ABOUT_MEANS = (
    f"{ABOUT} priced as the nearest client library measured; `watchbudget explain` says which and why."
)

_SHORT = {"networkpolicies": "netpols", "networkpolicies.networking.k8s.io": "netpols"}


def limit_bytes(judgement: Judgement) -> int | None:
    """The memory limit the caches must fit into: the watching container's where known, else the pod's."""
    memory = judgement.memory
    return memory.limit_bytes if memory.watching_limit_bytes is None else memory.watching_limit_bytes


def about(bill: Bill) -> str:
    """The sign before a bill's figures, empty where the client library is known."""
    return ABOUT if any(line.assumed and line.certain for line in bill.lines) else ""


def needed_bytes(judgement: Judgement) -> int:
    """What a limit must hold: the re-list peak and an idle client beside it; 0 where no watch is certain."""
    bill = judgement.bill
    return bill.peak_per_pod + bill.base_bytes if bill.peak_per_pod else 0


def costs_nothing(judgement: Judgement) -> bool:
    """Whether there is nothing to say of it: it watches nothing priced, and no rule found anything."""
    return not judgement.findings and all(demand.watches is Watches.NO for demand in judgement.demands)


def split(audit: Audit) -> tuple[tuple[Judgement, ...], tuple[Judgement, ...]]:
    """The judgements that matter, worst first, and those that cost nothing."""
    shown = tuple(judgement for judgement in audit.judgements if not costs_nothing(judgement))
    return shown, tuple(judgement for judgement in audit.judgements if costs_nothing(judgement))


def short_label(label: str) -> str:
    """A resource's name where a column is narrow."""
    return _SHORT.get(label, label)


class MergedFinding(Struct, frozen=True):
    """A finding that several budgets make in the same words, told once; `finding` is the strictest."""

    finding: Finding
    budgets: tuple[str, ...]


def merged(findings: Iterable[Finding]) -> tuple[MergedFinding, ...]:
    """Findings that differ only in their budget and action as one, in their order of appearance."""
    groups: dict[tuple[str, str, str, str | None], list[Finding]] = {}
    for finding in findings:
        key = (finding.rule, finding.message, finding.remedy.text, finding.exempted)
        groups.setdefault(key, []).append(finding)
    return tuple(
        MergedFinding(
            max(group, key=lambda finding: finding.action.value), tuple(finding.budget for finding in group)
        )
        for group in groups.values()
    )
