"""Where a fleet stands under one budget: counts, sums, and who is to be named first.

What status and metrics need, in values whose size does not depend on the fleet's.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from watchbudget.api.budget import WatchBudget
from watchbudget.api.quantity import round_two_digits
from watchbudget.api.status import MAX_WORST
from watchbudget.policy.appraisal import Appraisal, Case
from watchbudget.policy.findings import verdict_of
from watchbudget.policy.model import Action, Finding, Judgement, Ranked, Standing, Verdict
from watchbudget.policy.nodes import Ledger, Share

__all__ = ["MAX_VIOLATORS", "standings_of"]

MAX_VIOLATORS = 3
"""How many DaemonSets with findings are named; the others are counted."""

_SEVERITY = {Verdict.DENY: 0, Verdict.WARN: 1, Verdict.ALLOW: 2}

_Entry = tuple[Appraisal, Case, Sequence[Finding]]


def standings_of(
    budgets: Sequence[WatchBudget],
    judged: Iterable[tuple[Appraisal, Judgement]],
    ledgers: Sequence[Ledger],
) -> tuple[Standing, ...]:
    """One standing for each budget, in order.

    Args:
        budgets: those the DaemonSets were appraised for.
        judged: every DaemonSet's appraisal and judgement.
        ledgers: the sums of the same fleet, as `Judge.ledgers` gives them.
    """
    entries: list[list[_Entry]] = [[] for _ in budgets]
    for appraisal, judgement in judged:
        by_budget: dict[str, list[Finding]] = defaultdict(list)
        for finding in judgement.findings:
            by_budget[finding.budget].append(finding)
        for case in appraisal.cases:
            entries[case.index].append((appraisal, case, by_budget.get(budgets[case.index].name, ())))
    return tuple(
        _standing(budget.name, found, ledger)
        for budget, found, ledger in zip(budgets, entries, ledgers, strict=True)
    )


def _standing(budget: str, entries: Sequence[_Entry], ledger: Ledger) -> Standing:
    watching = [entry for entry in entries if entry[1].watched]
    violating = [entry for entry in watching if _counting(entry[2])]
    verdicts = Counter(verdict_of(findings) for _, _, findings in violating)
    return Standing(
        budget=budget,
        governed=len(entries),
        watching=len(watching),
        # A bill has a line, or something unpriced, for every demand that is not `no`.
        uncertain=sum(
            bool(case.bill.lines or case.bill.unpriced) for _, case, _ in entries if not case.watched
        ),
        violating=len(violating),
        warned=verdicts[Verdict.WARN],
        denied=verdicts[Verdict.DENY],
        exempted=sum(any(each.exempted is not None for each in findings) for _, _, findings in watching),
        audited=sum(
            any(each.exempted is None for each in findings) and not _counting(findings)
            for _, _, findings in watching
        ),
        cache_per_pod=max((case.bill.cache_per_pod for _, case, _ in watching), default=0),
        cache_per_node=ledger.worst_node,
        cache_per_node_up_to=_worst_node_up_to(entries, ledger),
        cache_total=ledger.total,
        cache_total_up_to=sum(case.bill.cache_total_up_to for _, case, _ in entries),
        list_bytes_if_all_restart=sum(case.bill.list_bytes_if_all_restart for _, case, _ in watching),
        # Remedies of one DaemonSet free the same bytes, so its best one counts.
        freed_by_remedies=sum(
            max((each.freed_bytes for each in findings if each.exempted is None), default=0)
            for _, _, findings in watching
        ),
        findings=dict(
            sorted(Counter(rule for _, _, findings in watching for rule in _rules(findings)).items())
        ),
        over=dict(
            sorted(
                Counter(
                    each.rule
                    for _, _, findings in watching
                    for each in findings
                    if each.rule.startswith("over-")
                ).items()
            )
        ),
        worst=tuple(map(_ranked, heapq.nsmallest(MAX_WORST, watching, key=_dearest_first))),
        violators=tuple(map(_ranked, heapq.nsmallest(MAX_VIOLATORS, violating, key=_strictest_first))),
    )


def _counting(findings: Sequence[Finding]) -> bool:
    """Whether the DaemonSet violates the budget: an unexempted finding at Annotate or above."""
    return any(each.exempted is None and each.action >= Action.ANNOTATE for each in findings)


def _rules(findings: Sequence[Finding]) -> list[str]:
    return [each.rule for each in findings if each.exempted is None]


def _worst_node_up_to(entries: Sequence[_Entry], ledger: Ledger) -> int:
    if all(case.bill.cache_per_pod_up_to == case.bill.cache_per_pod for _, case, _ in entries):
        return ledger.worst_node
    return Ledger.of(
        (
            appraisal.daemon_set.key,
            Share(case.bill.cache_per_pod_up_to, case.bill.nodes, appraisal.daemon_set.node_selector),
        )
        for appraisal, case, _ in entries
    ).worst_node


def _dearest_first(entry: _Entry) -> tuple[object, ...]:
    """By rounded figures: two that cost about the same must not change places all day."""
    appraisal, case, _ = entry
    bill = case.bill
    return (
        -round_two_digits(bill.cache_total),
        -round_two_digits(bill.cache_total_up_to),
        appraisal.daemon_set.key,
    )


def _strictest_first(entry: _Entry) -> tuple[object, ...]:
    return _SEVERITY[verdict_of(entry[2])], *_dearest_first(entry)


def _ranked(entry: _Entry) -> Ranked:
    appraisal, case, findings = entry
    return Ranked(
        namespace=appraisal.daemon_set.namespace,
        name=appraisal.daemon_set.name,
        verdict=verdict_of(findings),
        evidence=max((demand.evidence for demand in case.watched), key=lambda evidence: evidence.value),
        nodes=case.bill.nodes,
        cache_per_pod=case.bill.cache_per_pod,
        cache_total=case.bill.cache_total,
        findings=tuple(sorted(_rules(findings))),
    )
