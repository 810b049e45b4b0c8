"""What is answered when a DaemonSet is created or changed. Pure, and from memory: no call, no clock.

The same `Judge` decides here as in `watchbudget audit`. The validating webhook sees the final object, and
warns or denies. The mutating one asks only where maxUnavailable may have to be lowered: it caps, annotates as
well, and is silent (docs/decisions/0011).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from watchbudget.controller.annotations import OURS, annotation_patch, annotations_of
from watchbudget.controller.placement import may_reach_more_nodes
from watchbudget.controller.recent import Recent
from watchbudget.controller.review import LONGEST_WARNING, AdmissionRequest, AdmissionResponse, one_line
from watchbudget.inventory.fleet import DaemonSet, Problem, Source
from watchbudget.inventory.parse import daemon_set
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.change import judged_as_change
from watchbudget.policy.judge import Judge
from watchbudget.policy.model import Action, Finding, Judgement, Verdict
from watchbudget.policy.nodes import Ledger
from watchbudget.policy.warning import warning_text
from watchbudget.rollout.cap import MAX_UNAVAILABLE, cap_change, cap_warning, max_unavailable_patch

__all__ = ["MOST_DENIALS", "MOST_WARNINGS", "NOT_READY", "Snapshot", "mutate", "validate"]

MOST_WARNINGS = 10
"""Eleven lines of 256 characters stay below the 4,096 that the API server gives all webhooks together:
`truncateAtTotalRunes` in k8s.io/apiserver/pkg/endpoints/filters/warning.go."""

MOST_DENIALS = 5
"""Findings that a denial explains. Whoever fixes these and tries again sees the others."""

NOT_READY = "WatchBudget: not judged, the cluster has not been read yet"

_LONGEST_PART = 600
"""Characters of a message or remedy in a denial; ours have up to 300, names in them may be long."""

_LEAST_REMEDY = 40
"""Characters. Less of a remedy than this says nothing."""

_SOURCE = Source("admission")
_UNTOUCHED = AdmissionResponse(allowed=True)


@dataclass(frozen=True)
class Snapshot:
    """What requests are judged by. Never changed: the watching part hands over a new one.

    Attributes:
        bench: the budgets, over the fleet, on a day.
        ledgers: the sums of that fleet, as `bench.sums` gives them.
        recent: what was judged by it a moment ago.
    """

    bench: Judge
    ledgers: tuple[Ledger, ...]
    recent: Recent = field(default_factory=Recent, compare=False, repr=False)


@dataclass(frozen=True)
class _Candidate:
    """What is to be judged: the object as it would be stored, and as it is if there is one."""

    new: DaemonSet | None
    old: DaemonSet | None
    problems: tuple[Problem, ...]  # of the new one


def mutate(request: AdmissionRequest, snapshot: Snapshot | None) -> AdmissionResponse:
    """Annotate and cap; never deny. A patch of a dry run changes nothing, so it is given all the same.

    No warnings: the validating webhook says what there is to say of the final object, once.

    Args:
        request: what the API server asks.
        snapshot: None while nothing has been read yet: the object stays as it is.
    """
    if snapshot is None or not _concerns_us(request) or request.object is None:
        return _UNTOUCHED
    new = _candidate(request).new
    if new is None:
        return _UNTOUCHED
    appraisal = snapshot.bench.appraise(new)
    capped = cap_change(request.object, request.old_object, appraisal, snapshot.bench.budgets)
    if capped is not None and capped.value is not None:
        # The annotations tell of the object that will be stored.
        strategy = replace(new.update_strategy, max_unavailable=str(capped.value))
        appraisal = replace(appraisal, daemon_set=replace(new, update_strategy=strategy))
    judgement = snapshot.bench.judge_appraised(appraisal, snapshot.ledgers)
    snapshot.recent.keep(appraisal, judgement, request.size)
    wanted = annotations_of(judgement)
    if capped is None:
        return AdmissionResponse(allowed=True, patch=annotation_patch(request.object, wanted))
    if capped.kept is not None:
        wanted[MAX_UNAVAILABLE] = capped.kept
    annotated = annotation_patch(request.object, wanted, (*OURS, MAX_UNAVAILABLE))
    return AdmissionResponse(allowed=True, patch=(*annotated, *max_unavailable_patch(capped)))


def validate(request: AdmissionRequest, snapshot: Snapshot | None) -> AdmissionResponse:
    """Warn, or deny. An update is denied only for what it makes worse itself.

    What cannot be read is let through with a warning that names the field: the API server judges shapes.

    Args:
        request: what the API server asks.
        snapshot: None while nothing has been read yet: allowed, with a warning that says so.
    """
    if not _concerns_us(request):
        return _UNTOUCHED
    if snapshot is None:
        return AdmissionResponse(allowed=True, warnings=(NOT_READY,))
    candidate = _candidate(request)
    unread = [_unread(problem, judged=candidate.new is not None) for problem in candidate.problems]
    if candidate.new is None:
        return AdmissionResponse(allowed=True, warnings=_bounded([], unread))
    appraisal, judgement = snapshot.recent.of(candidate.new) or _judge(candidate.new, snapshot)
    unread += [_unread(problem, judged=True) for problem in appraisal.problems]
    if candidate.old is not None and judgement.verdict is Verdict.DENY:
        # The old object matters to a denial only, and pricing it doubles the work.
        judgement = judged_as_change(snapshot.bench.judge_one(candidate.old, snapshot.ledgers), judgement)
    counting = [finding for finding in judgement.findings if finding.exempted is None]
    warned = [finding for finding in counting if finding.action is Action.WARN]
    if judgement.verdict is Verdict.DENY:  # what is not stored was not capped either
        denials = [finding for finding in counting if finding.action is Action.DENY]
        message = _denial(candidate.new, denials)
        return AdmissionResponse(allowed=False, warnings=_bounded(warned, unread), message=message)
    capped = cap_warning(request.object or {}, appraisal, snapshot.bench.budgets)
    return AdmissionResponse(allowed=True, warnings=_bounded(warned, [*capped, *unread]))


def _judge(item: DaemonSet, snapshot: Snapshot) -> tuple[Appraisal, Judgement]:
    appraisal = snapshot.bench.appraise(item)
    return appraisal, snapshot.bench.judge_appraised(appraisal, snapshot.ledgers)


def _concerns_us(request: AdmissionRequest) -> bool:
    """Whether a DaemonSet is being created or changed, and is not on its way out.

    Letting go of finalizers is an UPDATE, and deletion is never touched.
    """
    if request.kind.kind != "DaemonSet" or request.sub_resource:
        return False
    if request.operation not in ("CREATE", "UPDATE"):
        return False
    metadata = (request.old_object or {}).get("metadata")
    return not (isinstance(metadata, dict) and metadata.get("deletionTimestamp"))


def _candidate(request: AdmissionRequest) -> _Candidate:
    raw = _named(request.object or {}, request)
    raw.pop("status", None)  # the sender's; the server drops it
    if request.operation == "CREATE" or request.old_object is None:
        new, problems = _read(raw, request)
        return _Candidate(new, None, problems)
    stored = _named(request.old_object, request)
    old, _ = _read(stored, request)
    new, problems = _read(raw, request)
    if new and old and not may_reach_more_nodes(stored, raw):
        new = replace(new, nodes=old.nodes)
    return _Candidate(new, old, problems)


def _named(raw: Mapping[str, Any], request: AdmissionRequest) -> dict[str, Any]:
    """The object under the name that the API server asks about.

    With `generateName` there is none before the object is stored: its beginning stands for it.
    """
    metadata = raw.get("metadata")
    own = metadata if isinstance(metadata, dict) else {}
    name = request.name or own.get("name") or own.get("generateName")
    return {**raw, "metadata": {**own, "name": name, "namespace": request.namespace or own.get("namespace")}}


def _read(raw: Mapping[str, Any], request: AdmissionRequest) -> tuple[DaemonSet | None, tuple[Problem, ...]]:
    problems: list[Problem] = []
    found = daemon_set(raw, _SOURCE, problems, namespace=request.namespace or "default")
    return found, tuple(problems)


def _unread(problem: Problem, *, judged: bool) -> str:
    where = f"{problem.field} " if problem.field else ""
    return one_line(f"WatchBudget: {'' if judged else 'not judged, '}{where}{problem.message}")


def _warning(finding: Finding) -> str:
    line = warning_text(finding)
    if LONGEST_WARNING - len(line) < _LEAST_REMEDY:
        return line
    return one_line(f"{line}. {finding.remedy.text}")


def _bounded(warned: list[Finding], others: list[str]) -> tuple[str, ...]:
    """The first few lines, and how many there are beside them."""
    others = list(dict.fromkeys(others))
    lines = [*map(_warning, warned[:MOST_WARNINGS]), *others][:MOST_WARNINGS]
    more = len(warned) + len(others) - len(lines)
    return (*lines, f"WatchBudget: and {more} more") if more else tuple(lines)


def _denial(item: DaemonSet, findings: list[Finding]) -> str:
    """What, by which budget, how much, how to fix it, how to be exempted."""
    told = findings[:MOST_DENIALS]
    lines = [f"{_part(item.title)} is not accepted as it is."]
    for finding in told:
        lines.append(f"- WatchBudget {finding.budget}, {finding.rule}: {_part(finding.message)}.")
        lines.append(f"  Fix: {_part(finding.remedy.text)}")
    if len(findings) > len(told):
        lines.append(f"- and {len(findings) - len(told)} more.")
    for budget in dict.fromkeys(finding.budget for finding in told):
        rules = ", ".join(finding.rule for finding in told if finding.budget == budget)
        entry = f'{{namespace: {item.namespace}, name: {item.name}, rules: [{rules}], reason: "..."}}'
        lines.append(
            f"To have it accepted, ask the owner of WatchBudget {budget} "
            f"for this entry in spec.exemptions: {entry}"
        )
    return "\n".join(lines)


def _part(text: str) -> str:
    """Text that may hold names from the object: none may begin a line of ours or fill the screen."""
    return one_line(text, _LONGEST_PART)
