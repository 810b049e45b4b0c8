"""What is answered when a ClusterRoleBinding is created or changed: warnings, never a denial. Pure.

Roles often come after the DaemonSet that they are for, so what is handed out here is nobody's watch yet
when the DaemonSet is judged. Whoever hands it out is told what it comes to, by the same `Judge`.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from msgspec import Struct

from watchbudget.api.budget import WatchBudget
from watchbudget.api.quantity import format_bytes
from watchbudget.api.resources import GroupResource
from watchbudget.controller.admission import MOST_WARNINGS, Snapshot
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse, one_line
from watchbudget.demand.authorizer import subject_keys, subjects_of
from watchbudget.demand.grants import effective_verbs
from watchbudget.inventory import parse
from watchbudget.inventory.fleet import Source
from watchbudget.inventory.rbac import Binding
from watchbudget.policy.appraisal import Appraisal, Case
from watchbudget.policy.judge import Judge
from watchbudget.policy.model import Action, Finding
from watchbudget.policy.phrases import counted, names

__all__ = ["MOST_JUDGED", "warn_of_binding"]

MOST_JUDGED = 20
"""DaemonSets that are judged for one binding. A group such as `system:serviceaccounts` names all of them,
and while they are judged no other request is answered."""

_ALLOWED = AdmissionResponse(allowed=True)
_SOURCE = Source("admission")


class _Handed(Struct, frozen=True):
    """What a DaemonSet gets by the binding, under the budget that minds it most."""

    after: Appraisal
    case: Case
    finding: Finding
    gained: Mapping[GroupResource, frozenset[str]]


def warn_of_binding(request: AdmissionRequest, snapshot: Snapshot | None) -> AdmissionResponse:
    """Allow, with a warning for each DaemonSet that the binding makes a watcher where a budget minds.

    A budget minds if its action is Warn or Deny and the DaemonSet has an unexempted finding of such a
    step. Without a role there is nothing to hand out yet, and nothing is said.

    Args:
        request: what the API server asks.
        snapshot: None while nothing has been read yet: nothing can be said then.
    """
    binding = _binding(request)
    if snapshot is None or binding is None or not _matters(binding, snapshot.bench):
        return _ALLOWED
    concerned = _concerned(binding, snapshot.bench)
    after = snapshot.bench.after(binding)
    lines, found = [], 0
    for before in heapq.nsmallest(MOST_JUDGED, concerned, key=_dearest_first):
        handed = _handed(before, after, snapshot)
        if handed is not None:
            found += 1
            lines += [_line(binding, handed)] if found <= MOST_WARNINGS else []
    if found > len(lines):
        lines.append(f"WatchBudget: and {found - len(lines)} more")
    if len(concerned) > MOST_JUDGED:
        others = counted(len(concerned) - MOST_JUDGED, "more DaemonSet")
        lines.append(f"WatchBudget: ClusterRoleBinding {binding.name} names {others}, not judged here")
    return AdmissionResponse(allowed=True, warnings=tuple(map(one_line, lines)))


def _binding(request: AdmissionRequest) -> Binding | None:
    """The binding as it would be stored; None for what is none, and for one on its way out."""
    if request.kind.kind != "ClusterRoleBinding" or request.operation not in ("CREATE", "UPDATE"):
        return None
    raw = request.object or {}
    metadata = raw.get("metadata")
    if request.sub_resource or (isinstance(metadata, dict) and metadata.get("deletionTimestamp")):
        return None
    own = metadata if isinstance(metadata, dict) else {}
    name = request.name or own.get("name") or own.get("generateName")
    # What is wrong with it the API server says itself: it judges shapes.
    return parse.binding(
        {**raw, "kind": "ClusterRoleBinding", "metadata": {**own, "name": name}}, _SOURCE, []
    )


def _matters(binding: Binding, bench: Judge) -> bool:
    """Whether anything priced is handed out and any budget may mind; for most bindings neither is so."""
    return any(map(_minds, bench.budgets)) and bool(bench.handed_out(binding))


def _minds(budget: WatchBudget) -> bool:
    return Action.parse(budget.spec.enforcement.action) >= Action.WARN


def _concerned(binding: Binding, bench: Judge) -> list[Appraisal]:
    """The DaemonSets, as they are, whose service account the binding names."""
    subjects = subjects_of(binding)
    return [
        each
        for each in bench.appraisals
        if not subjects.isdisjoint(subject_keys(each.daemon_set.namespace, each.daemon_set.service_account))
    ]


def _dearest_first(appraisal: Appraisal) -> tuple[bool, int, tuple[str, str]]:
    """What is likely to cost most, as far as that can be seen without judging: known agents on many nodes."""
    known = any(demand.agent is not None for demand in appraisal.demands)
    return not known, -appraisal.bill.nodes, appraisal.daemon_set.key


def _handed(before: Appraisal, judge: Judge, snapshot: Snapshot) -> _Handed | None:
    """What the DaemonSet gets; None where it gets nothing, or nobody minds."""
    after = judge.appraise(before.daemon_set)
    gained = {
        demand.resource: verbs
        for demand in after.demands
        if (verbs := _new_verbs(before, after, demand.resource))
    }
    minding = {
        judge.budgets[case.index].name: case
        for case in after.cases
        if _minds(judge.budgets[case.index]) and _watched(case) & gained.keys()
    }
    if not minding:
        return None
    for finding in judge.judge_appraised(after, snapshot.ledgers).findings:  # the strictest first
        if finding.budget in minding and finding.exempted is None and finding.action >= Action.WARN:
            case = minding[finding.budget]
            return _Handed(
                after, case, finding, {each: gained[each] for each in _watched(case) & gained.keys()}
            )
    return None


def _new_verbs(before: Appraisal, after: Appraisal, resource: GroupResource) -> frozenset[str]:
    return effective_verbs(after.grants, resource) - effective_verbs(before.grants, resource)


def _watched(case: Case) -> set[GroupResource]:
    return {demand.resource for demand in case.watched}


def _line(binding: Binding, handed: _Handed) -> str:
    """Budget, DaemonSet, resource, what it costs, remedy: in that order, as long lines are cut."""
    item, bill = handed.after.daemon_set, handed.case.bill
    verbs = " and ".join(sorted(frozenset().union(*handed.gained.values())))
    cache = sum(line.cache_bytes for line in bill.lines if line.resource in handed.gained)
    price = f": {format_bytes(cache)} per pod on {counted(bill.nodes, 'node')}" if cache else ""
    return (
        f"WatchBudget {handed.finding.budget}: {binding.name} lets {item.title} {verbs} all "
        f"{names(sorted(handed.gained))}{price}. {handed.finding.remedy.text}"
    )
