"""Where a fleet stands under one budget: counts, sums, and who is to be named first.

What status and metrics need, in values whose size does not depend on the fleet's.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

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

_LIMITS = frozenset({"over-pod-limit", "over-node-limit", "over-total-limit"})

_VERDICTS = {Action.DENY: Verdict.DENY, Action.WARN: Verdict.WARN, Action.ANNOTATE: Verdict.ALLOW}
"""What a violation comes to, by its strictest unexempted finding."""

_STRICTEST_FIRST = (Verdict.DENY, Verdict.WARN, Verdict.ALLOW)

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
    # One pass, and steps of the ladder by identity: this is done at every judgement, for every pair of budget
    # and DaemonSet.
    up_to = listed = freed = uncertain = exempted = audited = 0
    rules: Counter[str] = Counter()
    over: Counter[str] = Counter()
    watching: list[_Entry] = []
    violating: dict[Verdict, list[_Entry]] = {verdict: [] for verdict in _STRICTEST_FIRST}
    for entry in entries:
        _, case, findings = entry
        bill = case.bill
        up_to += bill.cache_total_up_to
        if not case.watched:
            # A bill has a line, or something unpriced, for every demand that is not `no`.
            uncertain += bool(bill.lines or bill.unpriced)
            continue
        watching.append(entry)
        listed += bill.list_bytes_if_all_restart
        strictest, saved, silenced = Action.OFF, 0, False
        for finding in findings:
            if finding.rule in _LIMITS:
                over[finding.rule] += 1
            if finding.exempted is not None:
                silenced = True
                continue
            rules[finding.rule] += 1
            # Remedies of one DaemonSet free the same bytes, so its best one counts.
            saved = max(saved, finding.freed_bytes)
            if finding.action is not strictest and strictest < finding.action:
                strictest = finding.action
        freed += saved
        exempted += silenced
        audited += strictest is Action.AUDIT
        if strictest in _VERDICTS:
            violating[_VERDICTS[strictest]].append(entry)
    return Standing(
        budget=budget,
        governed=len(entries),
        watching=len(watching),
        uncertain=uncertain,
        violating=sum(map(len, violating.values())),
        warned=len(violating[Verdict.WARN]),
        denied=len(violating[Verdict.DENY]),
        exempted=exempted,
        audited=audited,
        cache_per_pod=max((case.bill.cache_per_pod for _, case, _ in watching), default=0),
        cache_per_node=ledger.worst_node,
        cache_per_node_up_to=_worst_node_up_to(entries, ledger),
        cache_total=ledger.total,
        cache_total_up_to=up_to,
        list_bytes_if_all_restart=listed,
        freed_by_remedies=freed,
        findings=dict(sorted(rules.items())),
        over=dict(sorted(over.items())),
        worst=tuple(map(_ranked, _first(watching, MAX_WORST))),
        violators=tuple(_ranked(entry, Action.ANNOTATE) for entry in _violators(violating)),
    )


def _violators(violating: Mapping[Verdict, Sequence[_Entry]]) -> Sequence[_Entry]:
    """The first few to name: the strictest verdict first, then the dearest."""
    named: list[_Entry] = []
    for entries in violating.values():
        named += _first(entries, MAX_VIOLATORS - len(named))
    return named


def _first(entries: Sequence[_Entry], number: int) -> Sequence[_Entry]:
    """The dearest, by rounded figures: two that cost about the same must not change places all day."""
    totals = heapq.nlargest(number, (case.bill.cache_total for _, case, _ in entries))
    # Rounding and sorting thousands is dear: only those that may be among the first are looked at.
    least = round_two_digits(totals[-1]) * 9 // 10 if totals else 0
    near = (entry for entry in entries if entry[1].bill.cache_total >= least)
    return heapq.nsmallest(number, near, key=_dearest_first)


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


def _ranked(entry: _Entry, least: Action = Action.AUDIT) -> Ranked:
    """An entry as it is shown, with the rules of its unexempted findings from this action on."""
    appraisal, case, findings = entry
    return Ranked(
        namespace=appraisal.daemon_set.namespace,
        name=appraisal.daemon_set.name,
        verdict=verdict_of(findings),
        evidence=max((demand.evidence for demand in case.watched), key=lambda evidence: evidence.value),
        nodes=case.bill.nodes,
        cache_per_pod=case.bill.cache_per_pod,
        cache_total=case.bill.cache_total,
        findings=tuple(
            sorted(each.rule for each in findings if each.exempted is None and least <= each.action)
        ),
    )
