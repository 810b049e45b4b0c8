"""What is reported in a WatchBudget: from a judgement to the status it shall have. Pure.

Times are arguments. A condition keeps the time at which its status last changed, so the status before is
an argument too; after a restart that is the stored one.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from watchbudget.api.budget import BudgetError, WatchBudget, parse_budget
from watchbudget.api.status import (
    CONDITION_TYPES,
    MAX_ROLLOUTS,
    Condition,
    RolloutStatus,
    Starts,
    WatchBudgetStatus,
    read_status,
)
from watchbudget.controller.conditions import (
    NOT_JUDGED,
    Claim,
    accepted,
    census_fresh,
    compliant,
    not_in_force,
    refused,
    within_budget,
)
from watchbudget.controller.status_parts import bill_of, census_of, counts_of, daemon_set_of
from watchbudget.policy.model import Audit

__all__ = [
    "CENSUS_STALE",
    "Staging",
    "judged_status",
    "read_budget",
    "refused_status",
    "unjudged_status",
]

CENSUS_STALE = 900.0
"""Seconds: three readings of the census that did not come, at the usual five minutes."""

_NOT_STAGED = Claim("False", "NotStaged", "The budget has no spec.rollout: nothing is held or paced")
_STAGING_UNKNOWN = Claim("Unknown", "NotKnown", "The starts under this budget have not been looked at yet")
_NOT_SUPPORTED = Claim(
    "False",
    "RolloutNotSupported",
    "spec.rollout is not carried out: DaemonSets are judged, no start is paced",
)


class Staging(Struct, frozen=True):
    """What the part that paces starts has to say of one budget, as ready values."""

    starts: Starts | None = None
    rollouts: tuple[RolloutStatus, ...] = ()
    progressing: Condition | None = None  # its times are ignored: they are kept here


def read_budget(raw: Mapping[str, object]) -> WatchBudget:
    """Read a stored WatchBudget. Its status, which we wrote or another version did, is read leniently.

    The spec is not: a field that only a newer version knows might be what keeps the budget from denying,
    so the budget is refused rather than half followed.

    Raises:
        BudgetError: with the fields that are wrong or not known.
    """
    return parse_budget(raw).model_copy(update={"status": read_status(raw.get("status"))})


def judged_status(
    budget: WatchBudget,
    audit: Audit,
    previous: WatchBudgetStatus | None,
    *,
    now: str,
    census_age: float | None,
    stale_after: float = CENSUS_STALE,
    staging: Staging | None = None,
    paced: bool = True,
) -> WatchBudgetStatus:
    """The status of a budget after a judgement of the whole fleet.

    Args:
        budget: as it was when it judged.
        audit: the judgement. Without a standing of this budget in it, the budget is not judged yet.
        previous: its status until now.
        now: RFC 3339, for conditions whose status changes.
        census_age: seconds since the census was read, by the monotonic clock; None if it never was.
        stale_after: seconds from which on the census is not fresh.
        staging: starts and rollouts under the budget; None if nothing is known of them yet.
        paced: whether this process carries out `spec.rollout` at all.
    """
    standing = next((each for each in audit.standings if each.budget == budget.name), None)
    if standing is None:
        return unjudged_status(budget, previous, now=now, staging=staging, paced=paced)
    unread = sum(problem.severity == "error" for problem in audit.problems)
    subject = f"WatchBudget {budget.name}"
    problems = [problem.message for problem in audit.problems if problem.object == subject]
    census = audit.fleet.census
    claims = {
        "Accepted": _accepted(budget, problems, paced=paced),
        "Compliant": compliant(standing, unread),
        "WithinBudget": within_budget(budget, standing),
        "Progressing": _progressing(budget, staging, paced=paced),
        "CensusFresh": census_fresh(budget.spec.watched(), census, census_age, stale_after),
    }
    bill = bill_of(standing, previous.bill if previous else None)
    if previous is not None and bill == previous.bill:
        claims = _kept(claims, previous, budget.metadata.generation)
    entries = [entry for entry in map(census.of, budget.spec.watched()) if entry is not None]
    return WatchBudgetStatus(
        observed_generation=budget.metadata.generation,
        conditions=_conditions(claims, budget.metadata.generation, previous, now),
        counts=counts_of(standing),
        bill=bill,
        starts=staging.starts if staging else None,
        worst=tuple(daemon_set_of(each, previous) for each in standing.worst),
        rollouts=staging.rollouts[:MAX_ROLLOUTS] if staging else (),
        census=tuple(census_of(entry, previous, now) for entry in entries),
    )


def unjudged_status(
    budget: WatchBudget,
    previous: WatchBudgetStatus | None,
    *,
    now: str,
    staging: Staging | None = None,
    paced: bool = True,
) -> WatchBudgetStatus:
    """The status of a budget by which nothing was judged yet; what an earlier judgement said stays."""
    known = {each.type: each for each in previous.conditions} if previous else {}
    claims = {kind: _repeated(known[kind]) if kind in known else NOT_JUDGED for kind in CONDITION_TYPES}
    claims["Accepted"] = _accepted(budget, (), paced=paced)
    claims["Progressing"] = _progressing(budget, staging, paced=paced)
    if previous is None or known.get("Compliant") is None:
        generation = budget.metadata.generation
        return WatchBudgetStatus(
            observed_generation=generation, conditions=_conditions(claims, generation, previous, now)
        )
    return previous.model_copy(
        update={"conditions": _conditions(claims, previous.observed_generation, previous, now)}
    )


def refused_status(
    error: BudgetError, generation: int | None, previous: WatchBudgetStatus | None, *, now: str
) -> WatchBudgetStatus:
    """The status of a budget that cannot be followed: why, and no figures, since nothing is judged by it."""
    claims = {kind: not_in_force() for kind in CONDITION_TYPES} | {"Accepted": refused(error)}
    return WatchBudgetStatus(
        observed_generation=generation, conditions=_conditions(claims, generation, previous, now)
    )


def _accepted(budget: WatchBudget, problems: list[str] | tuple[str, ...], *, paced: bool) -> Claim:
    return accepted(problems) if paced or budget.spec.rollout is None else _NOT_SUPPORTED


def _progressing(budget: WatchBudget, staging: Staging | None, *, paced: bool) -> Claim:
    said = staging.progressing if staging else None
    if said is not None:
        return _repeated(said)
    return _NOT_STAGED if budget.spec.rollout is None or not paced else _STAGING_UNKNOWN


def _repeated(condition: Condition) -> Claim:
    return Claim(condition.status, condition.reason, condition.message)


def _conditions(
    claims: Mapping[str, Claim], generation: int | None, previous: WatchBudgetStatus | None, now: str
) -> tuple[Condition, ...]:
    before = {each.type: each for each in previous.conditions} if previous else {}
    return tuple(
        Condition(
            type=kind,
            status=claim.status,
            observed_generation=generation,
            last_transition_time=(
                before[kind].last_transition_time
                if kind in before and before[kind].status == claim.status
                else now
            ),
            reason=claim.reason,
            message=claim.message,
        )
        for kind, claim in claims.items()
    )


def _kept(
    claims: Mapping[str, Claim], previous: WatchBudgetStatus, generation: int | None
) -> dict[str, Claim]:
    """The claims, but that of the limits as it was if it says the same of the same figures.

    Its figures are rounded by themselves; those of the bill stay put.
    """
    for old in previous.conditions:
        new = claims["WithinBudget"]
        same = (old.status, old.reason, old.observed_generation) == (new.status, new.reason, generation)
        if old.type == "WithinBudget" and same:
            return {**claims, "WithinBudget": _repeated(old)}
    return dict(claims)
