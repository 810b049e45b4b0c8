"""Which demands count as watching under a budget, and what they then cost.

The bill of a DaemonSet is one; what a budget holds against it is another: the budget names the
resources, asks for a minimum of evidence, and may take an owner's word or not.
"""

from __future__ import annotations

from collections.abc import Iterable

from watchbudget.cost.bill import bill_of
from watchbudget.cost.calibration import Calibration
from watchbudget.cost.model import Bill
from watchbudget.demand.grants import effective_verbs
from watchbudget.demand.model import Demand, Evidence, Grant, Watches
from watchbudget.inventory.fleet import Census

__all__ = ["bill_under", "counts_as_watch"]


def counts_as_watch(demand: Demand, grants: Iterable[Grant], minimum: Evidence) -> bool:
    """Whether the demand is a watch for a budget with this `minimumEvidence`.

    `yes` counts where the evidence is strong enough. `depends` and `unknown` count only where the budget
    lets permission alone count (`granted`), and then only with a cluster-wide permission to list or watch.
    """
    match demand.watches:
        case Watches.YES:
            return minimum <= demand.evidence
        case Watches.NO:
            return False
        case _:
            return minimum is Evidence.GRANTED and bool(effective_verbs(grants, demand.resource))


def bill_under(
    demands: Iterable[Demand],
    grants: tuple[Grant, ...],
    minimum: Evidence,
    census: Census,
    nodes: int,
    calibration: Calibration,
    plain: tuple[tuple[Demand, ...], Bill] | None = None,
) -> tuple[tuple[Demand, ...], Bill]:
    """The demands that count, and the bill in which they are the certain part.

    `plain` are demands with the bill that `bill_of` makes of them; most budgets have no other to make.
    """
    demands = tuple(demands)
    counted = tuple(demand for demand in demands if counts_as_watch(demand, grants, minimum))
    if plain is not None and demands == plain[0]:
        certain = tuple(demand for demand in demands if demand.watches is Watches.YES)
        if counted == certain:
            return counted, plain[1]
    bill = bill_of(
        demands, census, nodes, calibration, counts=lambda demand: counts_as_watch(demand, grants, minimum)
    )
    return counted, bill
