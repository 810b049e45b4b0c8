"""What one DaemonSet watches and costs, before anybody says whether that is too much."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from watchbudget.api.budget import WatchBudget, WatchBudgetSpec
from watchbudget.api.resources import DEFAULT_WATCHED, GroupResource
from watchbudget.cost.bill import bill_of
from watchbudget.cost.calibration import Calibration
from watchbudget.cost.model import Bill
from watchbudget.demand.after import After, handed_out
from watchbudget.demand.authorizer import Authorizer
from watchbudget.demand.catalogue import Catalogue
from watchbudget.demand.declared import declarations_of
from watchbudget.demand.grants import grants_of, rbac_known
from watchbudget.demand.identity import accounts_by_key, identity_of
from watchbudget.demand.join import demands_of
from watchbudget.demand.model import Demand, Evidence, Grant, Identity, Watches
from watchbudget.inventory.fleet import DaemonSet, Fleet, LimitRange, Problem
from watchbudget.inventory.rbac import Binding
from watchbudget.policy.governs import governs
from watchbudget.policy.memory import memory_of
from watchbudget.policy.model import Memory
from watchbudget.policy.watched import bill_under

__all__ = ["Appraisal", "Appraiser", "Case"]

MOST_ACCOUNTS = 10_000
"""Whose grants are remembered: admission is asked about any account that somebody makes up."""


class Case(Struct, frozen=True):
    """What counts under the budget at `index`: the demands that are watches there, and their bill."""

    index: int
    watched: tuple[Demand, ...]
    bill: Bill


class Appraisal(Struct, frozen=True):
    """One DaemonSet, priced; and a case for every budget that governs it."""

    daemon_set: DaemonSet
    identity: Identity
    grants: tuple[Grant, ...]
    demands: tuple[Demand, ...]
    memory: Memory
    bill: Bill
    cases: tuple[Case, ...]
    problems: tuple[Problem, ...] = ()


class _Terms(Struct, frozen=True):
    """All by which budgets differ in what counts as a watch."""

    resources: frozenset[GroupResource]
    minimum: Evidence
    trusted: bool


def _terms_of(budget: WatchBudget) -> _Terms:
    enforcement = budget.spec.enforcement
    minimum = Evidence.parse(enforcement.minimum_evidence)
    return _Terms(frozenset(budget.spec.watched()), minimum, enforcement.trust_declarations)


class Appraiser:
    """Prices DaemonSets of one fleet for a set of budgets. What they share is looked up once.

    Attributes:
        resources: those that any budget prices.
    """

    def __init__(
        self,
        fleet: Fleet,
        budgets: Sequence[WatchBudget],
        *,
        catalogue: Catalogue,
        calibration: Calibration,
        authorizer: Authorizer | None = None,
    ) -> None:
        """Look up what is shared.

        Args:
            fleet: the snapshot.
            budgets: those that count.
            catalogue: known agents.
            calibration: measured coefficients of the bill.
            authorizer: that of the fleet, where it is known already.
        """
        self._fleet = replace(fleet, daemon_sets=(), problems=(), budget_documents=())
        self._budgets = tuple(budgets)
        terms = tuple(map(_terms_of, self._budgets))
        self._terms = tuple(terms[terms.index(each)] for each in terms)  # those that are alike are one
        self._catalogue = catalogue
        self._calibration = calibration
        self._authorizer = authorizer or Authorizer.of(fleet)
        self._accounts = accounts_by_key(fleet)
        self._limit_ranges: dict[str, list[LimitRange]] = defaultdict(list)
        for limit_range in fleet.limit_ranges:
            self._limit_ranges[limit_range.namespace].append(limit_range)
        self._grants: dict[tuple[str, str], tuple[tuple[Grant, ...], bool]] = {}
        named = dict.fromkeys(resource for budget in self._budgets for resource in budget.spec.watched())
        self.resources: tuple[GroupResource, ...] = tuple(named) or DEFAULT_WATCHED

    def holds_for(self, fleet: Fleet, budgets: Sequence[WatchBudget]) -> bool:
        """Whether one made of these would appraise every DaemonSet alike."""
        return _said(self._budgets) == _said(budgets) and _read(self._fleet) == _read(fleet)

    def handed_out(self, binding: Binding) -> dict[GroupResource, frozenset[str]]:
        """Which of list and watch the binding itself grants cluster-wide on resources that are priced."""
        return handed_out(binding, self._authorizer, self.resources)

    def after(self, fleet: Fleet, binding: Binding) -> Appraiser:
        """The appraiser of `fleet`, which differs from this one's in that binding and what follows of it."""
        return Appraiser(
            fleet,
            self._budgets,
            catalogue=self._catalogue,
            calibration=self._calibration,
            authorizer=After(self._authorizer, binding),
        )

    def appraise(self, daemon_set: DaemonSet) -> Appraisal:
        """Price one DaemonSet, which need not be among the fleet's (admission asks about new ones).

        An owner's word is taken in the bill that is shown only if every budget that governs it takes it.
        """
        identity = identity_of(daemon_set, self._accounts)
        grants, known = self._granted(daemon_set)
        nodes = self._fleet.nodes if daemon_set.nodes is None else daemon_set.nodes
        governing = [
            index
            for index, budget in enumerate(self._budgets)
            if governs(budget, daemon_set, self._fleet.namespace_labels)
        ]
        by_trust = {
            trust: demands_of(
                daemon_set,
                self._fleet,
                grants,
                identity,
                self.resources,
                self._catalogue,
                rbac_known=known,
                trust_declarations=trust,
            )
            for trust in {self._terms[index].trusted for index in governing} or {False}
        }
        demands = by_trust[min(by_trust)]
        bill = bill_of(demands, self._fleet.census, nodes, self._calibration)
        return Appraisal(
            daemon_set=daemon_set,
            identity=identity,
            grants=grants,
            demands=demands,
            memory=memory_of(
                daemon_set, self._limit_ranges.get(daemon_set.namespace, ()), _watching_container(demands)
            ),
            bill=bill,
            cases=tuple(self._cases(governing, by_trust, grants, (demands, bill))),
            problems=declarations_of(daemon_set, self.resources)[1],
        )

    def _granted(self, daemon_set: DaemonSet) -> tuple[tuple[Grant, ...], bool]:
        """The grants of its account, and whether no grant means that there is none. Looked up once."""
        account = daemon_set.namespace, daemon_set.service_account
        found = self._grants.get(account)
        if found is None:
            if len(self._grants) >= MOST_ACCOUNTS:
                self._grants.clear()
            found = self._grants[account] = (
                grants_of(daemon_set, self._fleet, self._authorizer, self.resources),
                rbac_known(daemon_set, self._fleet, self._authorizer, self._accounts),
            )
        return found

    def _cases(
        self,
        governing: Iterable[int],
        by_trust: Mapping[bool, tuple[Demand, ...]],
        grants: tuple[Grant, ...],
        plain: tuple[tuple[Demand, ...], Bill],
    ) -> Iterator[Case]:
        """One case for each budget. Those that count alike share watches and bill."""
        priced: dict[int, tuple[tuple[Demand, ...], Bill]] = {}
        for index in governing:
            terms = self._terms[index]
            if id(terms) not in priced:
                priced[id(terms)] = bill_under(
                    (demand for demand in by_trust[terms.trusted] if demand.resource in terms.resources),
                    grants,
                    terms.minimum,
                    self._fleet.census,
                    plain[1].nodes,
                    self._calibration,
                    plain,
                )
            yield Case(index, *priced[id(terms)])


def _said(budgets: Iterable[WatchBudget]) -> list[tuple[str, WatchBudgetSpec]]:
    """Of budgets what judges; their status changes after every judgement."""
    return [(budget.name, budget.spec) for budget in budgets]


def _read(fleet: Fleet) -> tuple[object, ...]:
    """All of a fleet that appraisals rest on. When the census was read is not part of it."""
    counted = [(each.resource, each.objects, each.stored_bytes) for each in fleet.census.resources]
    return (
        fleet.nodes,
        fleet.complete_rbac,
        fleet.census.server_version,
        counted,
        fleet.access,
        fleet.service_accounts,
        fleet.config_maps,
        fleet.limit_ranges,
        fleet.namespace_labels,
        fleet.rbac,
    )


def _watching_container(demands: tuple[Demand, ...]) -> str | None:
    """The container that holds the caches: that of a certain watch before that of a possible one."""
    ranked = sorted(
        (demand for demand in demands if demand.agent and demand.watches is not Watches.NO),
        key=lambda demand: demand.watches is not Watches.YES,
    )
    return ranked[0].agent.container if ranked and ranked[0].agent else None
