"""From the judgements of a fleet to its audit: their order, the sums, and what had to be done without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from watchbudget.api.budget import WatchBudget
from watchbudget.inventory.fleet import Fleet, Problem, Source
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.governs import rests_on_unknown_labels
from watchbudget.policy.model import Audit, Judgement, Totals, Verdict
from watchbudget.policy.nodes import Ledger, Share
from watchbudget.policy.standing import standings_of

__all__ = ["audit_of"]

_SEVERITY = {Verdict.DENY: 0, Verdict.WARN: 1, Verdict.ALLOW: 2}


def audit_of(
    fleet: Fleet,
    budgets: Sequence[WatchBudget],
    appraisals: Sequence[Appraisal],
    judgements: Sequence[Judgement],
    sums: Sequence[Ledger],
    faults: Sequence[Problem] = (),
) -> Audit:
    """The audit, worst first.

    Args:
        fleet: what was judged.
        budgets: by which.
        appraisals: of every DaemonSet that could be judged.
        judgements: of the same, in the same order.
        sums: for each budget, those that limits were held against.
        faults: what of the others.
    """
    ordered = tuple(sorted(judgements, key=_worst_first))
    return Audit(
        fleet=fleet,
        budgets=tuple(budget.name for budget in budgets),
        judgements=ordered,
        totals=_totals(ordered),
        problems=tuple(dict.fromkeys((*fleet.problems, *faults, *_problems(fleet, budgets, appraisals)))),
        standings=standings_of(budgets, zip(appraisals, judgements, strict=True), sums),
    )


def _worst_first(judgement: Judgement) -> tuple[object, ...]:
    bill = judgement.bill
    return (
        _SEVERITY[judgement.verdict],
        -bill.cache_total,
        -bill.cache_total_up_to,
        judgement.daemon_set.key,
        judgement.daemon_set.source.origin,
        judgement.daemon_set.source.document or 0,
    )


def _totals(judgements: Sequence[Judgement]) -> Totals:
    """Sums over the fleet. Remedies of one DaemonSet free the same bytes, so its best one counts."""
    ledger = Ledger.of(
        (each.daemon_set.key, Share(each.bill.cache_per_pod, each.bill.nodes, each.daemon_set.node_selector))
        for each in judgements
    )
    counting = [[finding for finding in each.findings if finding.exempted is None] for each in judgements]
    return Totals(
        daemon_sets=len(judgements),
        cache_per_node=ledger.worst_node,
        cache_total=ledger.total,
        cache_total_up_to=sum(each.bill.cache_total_up_to for each in judgements),
        list_bytes_if_all_restart=sum(each.bill.list_bytes_if_all_restart for each in judgements),
        freed_by_remedies=sum(
            max((finding.freed_bytes for finding in findings), default=0) for findings in counting
        ),
        findings=dict(sorted(Counter(finding.rule for findings in counting for finding in findings).items())),
    )


def _problems(
    fleet: Fleet, budgets: Sequence[WatchBudget], appraisals: Sequence[Appraisal]
) -> Iterable[Problem]:
    """What the judgement had to do without, each said once."""
    for appraisal in appraisals:
        yield from appraisal.problems
    unpriced = {resource for each in appraisals for resource in each.bill.unpriced}
    for resource in sorted(unpriced):
        message = (
            f"there is no count of {resource}: watches of it are not priced, and the figures are too low"
        )
        yield Problem(Source("census"), message, severity="warning")
    for budget in budgets:
        blind = {
            each.daemon_set.namespace
            for each in appraisals
            if rests_on_unknown_labels(budget, each.daemon_set, fleet.namespace_labels)
        }
        for namespace in sorted(blind):
            message = (
                f"the labels of namespace {namespace} are not known, so its namespaceSelector was asked "
                "about the "
                "namespace's name alone"
            )
            yield Problem(
                Source("budgets"), message, f"WatchBudget {budget.name}", "spec.namespaceSelector", "warning"
            )
