"""The judgement of a fleet: the one path that command line, scan and webhook all take.

Pure: the same fleet, budgets and day give the same audit, in whatever order anything was read.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

from msgspec import Struct

from watchbudget.api.budget import WatchBudget
from watchbudget.api.resources import GroupResource
from watchbudget.cost.calibration import Calibration
from watchbudget.cost.model import Bill
from watchbudget.demand.after import fleet_after
from watchbudget.demand.catalogue import Catalogue
from watchbudget.inventory.fleet import DaemonSet, Fleet, Problem
from watchbudget.inventory.rbac import Binding
from watchbudget.policy.appraisal import Appraisal, Appraiser, Case
from watchbudget.policy.audit import audit_of
from watchbudget.policy.context import Context
from watchbudget.policy.findings import findings_on, steps_of, verdict_of, worst_first
from watchbudget.policy.model import Action, Audit, Judgement
from watchbudget.policy.nodes import Ledger, Share
from watchbudget.policy.rules import Rule

__all__ = ["Judge", "judge"]

_T = TypeVar("_T")
_U = TypeVar("_U")


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
    return Judge(fleet, budgets, today=today, catalogue=catalogue, calibration=calibration).audit()


class _Judged(Struct, frozen=True):
    """What was made of one DaemonSet, and all that its findings rest on beside its appraisal."""

    appraisal: Appraisal
    rests_on: tuple[object, ...]
    judgement: Judgement


class _Known(Struct, frozen=True):
    """What a judge hands on to the next: an appraiser, and what came of the DaemonSets, by `id`."""

    appraiser: Appraiser
    judged: Mapping[int, _Judged]

    def of(self, daemon_set: DaemonSet) -> _Judged | None:
        """What came of this very object."""
        known = self.judged.get(id(daemon_set))
        return known if known is not None and known.appraisal.daemon_set is daemon_set else None


class Judge:
    """Budgets sitting over one snapshot. The webhook keeps one, and asks it about a single DaemonSet.

    The operator goes from one to the next by `again`.

    Attributes:
        fleet: the snapshot.
        budgets: all of them, in the order in which appraisals and sums count them.
        faults: what could not be judged because of a fault of ours, as far as it was judged.
    """

    def __init__(
        self,
        fleet: Fleet,
        budgets: Sequence[WatchBudget],
        *,
        today: date,
        catalogue: Catalogue,
        calibration: Calibration,
        known: _Known | None = None,
    ) -> None:
        """Take place.

        Args:
            fleet: the snapshot.
            budgets: those that judge.
            today: the day by which exemptions end, in UTC.
            catalogue: known agents.
            calibration: measured coefficients of the bill.
            known: what a judge before this one found out; given by `again`.
        """
        self.fleet = fleet
        self.budgets = tuple(budgets)
        self._today = today
        self.faults: list[Problem] = []
        self._known_steps: dict[tuple[int, bool], tuple[tuple[Rule, Action], ...]] = {}
        self._catalogue, self._calibration = catalogue, calibration
        if known is not None and known.appraiser.holds_for(fleet, self.budgets):
            self._known = known
        else:
            appraiser = Appraiser(fleet, budgets, catalogue=catalogue, calibration=calibration)
            self._known = _Known(appraiser, {})

    def again(self, fleet: Fleet, budgets: Sequence[WatchBudget], *, today: date) -> Judge:
        """The judge of what the fleet has become. Nothing differs from one made anew but the time it takes.

        What this one made of a DaemonSet is kept where the DaemonSet is the same object, and everything
        else that it rests on is equal: cheap to see where the parts of both fleets are the same objects.
        """
        known = _Known(self._known.appraiser, {id(each.appraisal.daemon_set): each for each in self._judged})
        rest: Any = {"catalogue": self._catalogue, "calibration": self._calibration}
        return Judge(fleet, budgets, today=today, known=known, **rest)

    def handed_out(self, binding: Binding) -> dict[GroupResource, frozenset[str]]:
        """Which of list and watch the binding itself grants cluster-wide on resources that are priced."""
        return self._known.appraiser.handed_out(binding)

    def after(self, binding: Binding) -> Judge:
        """The judge of the same fleet once a binding is there, in the place of the one of its name.

        Made quickly, to be asked about a few DaemonSets: the sums to judge them by stay those of this judge.
        """
        fleet = fleet_after(self.fleet, binding, self.handed_out(binding))
        known = _Known(self._known.appraiser.after(fleet, binding), {})
        rest: Any = {"catalogue": self._catalogue, "calibration": self._calibration}
        return Judge(fleet, self.budgets, today=self._today, known=known, **rest)

    def audit(self) -> Audit:
        """Judge every DaemonSet of the fleet, worst first; see `judge`."""
        judgements = [each.judgement for each in self._judged]
        appraisals = [each.appraisal for each in self._judged]
        return audit_of(self.fleet, self.budgets, appraisals, judgements, self.sums, self.faults)

    @cached_property
    def appraisals(self) -> tuple[Appraisal, ...]:
        """Those of the fleet's DaemonSets, in its order."""
        return tuple(self._each(self.fleet.daemon_sets, self.appraise, lambda item: item))

    @cached_property
    def sums(self) -> tuple[Ledger, ...]:
        """The `ledgers` of the fleet."""
        return self.ledgers(self.appraisals)

    @cached_property
    def _judged(self) -> tuple[_Judged, ...]:
        return tuple(self._each(self.appraisals, self._judge, lambda each: each.daemon_set))

    def _each(
        self, items: Iterable[_T], make: Callable[[_T], _U], of: Callable[[_T], DaemonSet]
    ) -> Iterator[_U]:
        """What is made of each. One of which nothing can be made is set apart, so that no other suffers."""
        for item in items:
            try:
                yield make(item)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault of ours
                self.faults.append(_fault(of(item), error))

    def _judge(self, appraisal: Appraisal) -> _Judged:
        item = appraisal.daemon_set
        rests_on = (
            self._today,
            self.fleet.shared_accounts.get((item.namespace, item.service_account), ()),
            *(self._others(appraisal, case, self.sums[case.index]) for case in appraisal.cases),
        )
        known = self._known.of(item)
        if known is not None and known.rests_on == rests_on:
            return known
        return _Judged(appraisal, rests_on, self.judgement(appraisal, self.sums))

    def appraise(self, daemon_set: DaemonSet) -> Appraisal:
        """What the DaemonSet watches and costs."""
        known = self._known.of(daemon_set)
        return self._known.appraiser.appraise(daemon_set) if known is None else known.appraisal

    def ledgers(self, appraisals: Iterable[Appraisal]) -> tuple[Ledger, ...]:
        """The sums that per-node and total limits are held against, one for each budget in order."""
        shares: list[list[tuple[tuple[str, str], Share]]] = [[] for _ in self.budgets]
        for appraisal in appraisals:
            key = appraisal.daemon_set.key
            for case in appraisal.cases:
                shares[case.index].append((key, _share(appraisal, case.bill)))
        return tuple(map(Ledger.of, shares))

    def judgement(self, appraisal: Appraisal, ledgers: Sequence[Ledger]) -> Judgement:
        """All findings of all budgets, beside the sums of the fleet that `appraisal` is part of."""
        findings = [
            finding
            for case in appraisal.cases
            for finding in findings_on(
                self._context(appraisal, case, ledgers[case.index]),
                self._today,
                self._steps(case.index, appraisal.daemon_set.namespace),
            )
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
            problems=appraisal.problems,
        )

    def judge_one(self, daemon_set: DaemonSet, ledgers: Sequence[Ledger]) -> Judgement:
        """Judge a DaemonSet that is being created or changed, against sums in which it takes its place."""
        return self.judge_appraised(self.appraise(daemon_set), ledgers)

    def judge_appraised(self, appraisal: Appraisal, ledgers: Sequence[Ledger]) -> Judgement:
        """As `judge_one`, where it is priced already."""
        daemon_set = appraisal.daemon_set
        replaced = list(ledgers)
        for case in appraisal.cases:
            share = _share(appraisal, case.bill)
            replaced[case.index] = ledgers[case.index].replacing(daemon_set.key, share)
        return self.judgement(appraisal, replaced)

    def _steps(self, index: int, namespace: str) -> tuple[tuple[Rule, Action], ...]:
        """`steps_of` a budget, worked out once."""
        key = index, namespace == "kube-system"
        steps = self._known_steps.get(key)
        if steps is None:
            steps = self._known_steps[key] = steps_of(self.budgets[index], namespace)
        return steps

    def _context(self, appraisal: Appraisal, case: Case, ledger: Ledger) -> Context:
        daemon_set = appraisal.daemon_set
        node_bytes, total_bytes = self._others(appraisal, case, ledger)
        return Context(
            daemon_set=daemon_set,
            budget=self.budgets[case.index],
            grants=appraisal.grants,
            watched=case.watched,
            memory=appraisal.memory,
            bill=case.bill,
            node_bytes=node_bytes,
            total_bytes=total_bytes,
            shared_with=self.fleet.shared_accounts.get(
                (daemon_set.namespace, daemon_set.service_account), ()
            ),
        )

    def _others(self, appraisal: Appraisal, case: Case, ledger: Ledger) -> tuple[int, int]:
        """What all DaemonSets take together, on the worst node and in total; 0 where it is not limited."""
        limits = self.budgets[case.index].spec.limits
        return (
            0 if limits.cache_per_node is None else ledger.node_of(appraisal.daemon_set.node_selector),
            0 if limits.cache_total is None else ledger.total,
        )


def _fault(daemon_set: DaemonSet, error: Exception) -> Problem:
    place = traceback.extract_tb(error.__traceback__)[-1]
    message = (
        f"could not be judged, by a fault of watchbudget; please report it: {type(error).__name__} at "
        f"{PurePath(place.filename).name}:{place.lineno}: {str(error)[:200]}"
    )
    return Problem(daemon_set.source, message, daemon_set.title)


def _share(appraisal: Appraisal, bill: Bill) -> Share:
    return Share(bill.cache_per_pod, bill.nodes, appraisal.daemon_set.node_selector)
