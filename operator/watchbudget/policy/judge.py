"""The judgement of a fleet: the one path that command line, scan and webhook all take.

Pure: the same fleet, budgets and day give the same audit, in whatever order anything was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date

from watchbudget.api.budget import WatchBudget
from watchbudget.cost.calibration import Calibration
from watchbudget.cost.model import Bill
from watchbudget.demand.catalogue import Catalogue
from watchbudget.inventory.fleet import DaemonSet, Fleet, Problem, Source
from watchbudget.policy.appraisal import Appraisal, Appraiser, Case
from watchbudget.policy.context import Context
from watchbudget.policy.findings import findings_of, verdict_of, worst_first
from watchbudget.policy.governs import rests_on_unknown_labels
from watchbudget.policy.model import Audit, Judgement, Totals, Verdict
from watchbudget.policy.nodes import Ledger, Share
from watchbudget.policy.standing import standings_of

__all__ = ["Judge", "judge"]

_SEVERITY = {Verdict.DENY: 0, Verdict.WARN: 1, Verdict.ALLOW: 2}


def judge(
    fleet: Fleet,
    budgets: Sequence[WatchBudget],
    *,
    today: date,
    catalogue: Catalogue,
    calibration: Calibration,
) -> Audit:
    """Judge every DaemonSet of the fleet, worst first.

    Args:
        fleet: the snapshot.
        budgets: all of them; each judges what it governs, and the strictest finding is the verdict. A
            DaemonSet that none governs is priced, and has no findings.
        today: the day by which exemptions end, in UTC.
        catalogue: known agents.
        calibration: measured coefficients of the bill.

    Returns:
        The audit. Its problems are those of the fleet and those met while judging.
    """
    bench = Judge(fleet, budgets, today=today, catalogue=catalogue, calibration=calibration)
    appraisals = [bench.appraise(daemon_set) for daemon_set in fleet.daemon_sets]
    ledgers = bench.ledgers(appraisals)
    judged = [bench.judgement(each, ledgers) for each in appraisals]
    judgements = tuple(sorted(judged, key=_worst_first))
    return Audit(
        fleet=fleet,
        budgets=tuple(budget.name for budget in budgets),
        judgements=judgements,
        totals=_totals(judgements),
        problems=tuple(dict.fromkeys((*fleet.problems, *_problems(fleet, budgets, appraisals)))),
        standings=standings_of(budgets, zip(appraisals, judged, strict=True), ledgers),
    )


class Judge:
    """Budgets sitting over one snapshot. The webhook keeps one, and asks it about a single DaemonSet."""

    def __init__(
        self,
        fleet: Fleet,
        budgets: Sequence[WatchBudget],
        *,
        today: date,
        catalogue: Catalogue,
        calibration: Calibration,
    ) -> None:
        self._budgets = tuple(budgets)
        self._today = today
        self._shared = fleet.shared_accounts
        self._appraiser = Appraiser(fleet, budgets, catalogue=catalogue, calibration=calibration)

    def appraise(self, daemon_set: DaemonSet) -> Appraisal:
        """What the DaemonSet watches and costs."""
        return self._appraiser.appraise(daemon_set)

    def ledgers(self, appraisals: Iterable[Appraisal]) -> tuple[Ledger, ...]:
        """The sums that per-node and total limits are held against, one for each budget in order."""
        shares: list[list[tuple[tuple[str, str], Share]]] = [[] for _ in self._budgets]
        for appraisal in appraisals:
            for case in appraisal.cases:
                shares[case.index].append((appraisal.daemon_set.key, _share(appraisal, case.bill)))
        return tuple(map(Ledger.of, shares))

    def judgement(self, appraisal: Appraisal, ledgers: Sequence[Ledger]) -> Judgement:
        """All findings of all budgets, beside the sums of the fleet that `appraisal` is part of."""
        findings = [
            finding
            for case in appraisal.cases
            for finding in findings_of(self._context(appraisal, case, ledgers[case.index]), self._today)
        ]
        return Judgement(
            daemon_set=appraisal.daemon_set,
            identity=appraisal.identity,
            grants=appraisal.grants,
            demands=appraisal.demands,
            memory=appraisal.memory,
            bill=appraisal.bill,
            findings=worst_first(findings),
            verdict=verdict_of(findings),
        )

    def judge_one(self, daemon_set: DaemonSet, ledgers: Sequence[Ledger]) -> Judgement:
        """Judge a DaemonSet that is being created or changed, against sums in which it takes its place."""
        appraisal = self.appraise(daemon_set)
        replaced = list(ledgers)
        for case in appraisal.cases:
            share = _share(appraisal, case.bill)
            replaced[case.index] = ledgers[case.index].replacing(daemon_set.key, share)
        return self.judgement(appraisal, replaced)

    def _context(self, appraisal: Appraisal, case: Case, ledger: Ledger) -> Context:
        daemon_set = appraisal.daemon_set
        return Context(
            daemon_set=daemon_set,
            budget=self._budgets[case.index],
            grants=appraisal.grants,
            watched=case.watched,
            memory=appraisal.memory,
            bill=case.bill,
            node_bytes=ledger.node_of(daemon_set.node_selector),
            total_bytes=ledger.total,
            shared_with=self._shared.get((daemon_set.namespace, daemon_set.service_account), ()),
        )


def _share(appraisal: Appraisal, bill: Bill) -> Share:
    return Share(bill.cache_per_pod, bill.nodes, appraisal.daemon_set.node_selector)


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
    fleet: Fleet, budgets: Sequence[WatchBudget], appraisals: Iterable[Appraisal]
) -> Iterable[Problem]:
    """What the judgement had to do without, each said once."""
    appraisals = tuple(appraisals)
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
