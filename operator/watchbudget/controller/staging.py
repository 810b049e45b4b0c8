"""What is reported of starts and rollouts: the pacer's numbers as status. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from watchbudget.api.status import MAX_ROLLOUTS, Condition, RolloutStatus, Starts
from watchbudget.controller.looked import Looked
from watchbudget.controller.plan import Plan
from watchbudget.controller.status import Staging
from watchbudget.rollout.model import BudgetNumbers, DaemonSetNumbers, Key, Pass, Pause

__all__ = ["staging_of"]

_LONGEST = 1024


def staging_of(
    plan: Plan, result: Pass, looked: Mapping[Key, Looked], rolling: Mapping[Key, str]
) -> dict[str, Staging]:
    """Of every budget with a `rollout`, how its starts stand.

    Args:
        plan: that was carried out.
        result: the newest pass.
        looked: DaemonSets whose pods start.
        rolling: since when each DaemonSet rolls, RFC 3339.
    """
    of_budget: dict[str, list[RolloutStatus]] = {name: [] for name in plan.ceilings}
    for key, since in rolling.items():
        terms, its = plan.terms.get(key), looked.get(key)
        if terms is None or its is None:
            continue
        status = _rollout(key, its, result.daemon_sets.get(key), result.pauses.get(key), since)
        for name in terms.budgets:
            if name in of_budget:
                of_budget[name].append(status)
    return {
        name: _of_budget(result.budgets.get(name, BudgetNumbers()), result.budget_pauses.get(name), rollouts)
        for name, rollouts in of_budget.items()
    }


def _of_budget(numbers: BudgetNumbers, pause: Pause | None, rollouts: Iterable[RolloutStatus]) -> Staging:
    # Those with the most still to do first: status has room for twenty.
    shown = sorted(rollouts, key=lambda each: (each.updated - each.nodes, each.namespace, each.name))
    return Staging(
        starts=Starts(
            in_flight=numbers.in_flight,
            held=numbers.held,
            permits=numbers.permits,
            blocked=numbers.blocked,
            paused_reason=pause.reason if pause else None,
            message=pause.message[:_LONGEST] if pause else None,
        ),
        rollouts=tuple(shown[:MAX_ROLLOUTS]),
        progressing=_progressing(numbers, pause, shown),
    )


def _progressing(numbers: BudgetNumbers, pause: Pause | None, rollouts: list[RolloutStatus]) -> Condition:
    if pause is not None and (numbers.held or rollouts or pause.reason == "BudgetPaused"):
        return _condition("False", pause.reason, pause.message)
    if numbers.in_flight or numbers.held:
        return _condition(
            "True",
            "Starting",
            f"{numbers.in_flight:,} of {numbers.permits:,} permits in use, {numbers.held:,} pods held",
        )
    if rollouts:
        names = ", ".join(f"{each.namespace}/{each.name}" for each in rollouts[:3])
        more = f" and {len(rollouts) - 3} more" if len(rollouts) > 3 else ""
        return _condition("True", "RollingOut", f"Old pods are still to be replaced: {names}{more}")
    return _condition("False", "Idle", "No pod is held or starting")


def _condition(status: str, reason: str, message: str) -> Condition:
    return Condition(
        type="Progressing",
        status=status,  # type: ignore[arg-type]  # True or False
        last_transition_time="",  # whoever writes it keeps the time
        reason=reason,
        message=message[:_LONGEST],
    )


def _rollout(
    key: Key, its: Looked, numbers: DaemonSetNumbers | None, pause: Pause | None, since: str
) -> RolloutStatus:
    numbers = numbers or DaemonSetNumbers()
    return RolloutStatus(
        namespace=key[0],
        name=key[1],
        nodes=its.nodes,
        updated=min(its.updated, its.nodes),
        ready=min(its.ready, its.nodes),
        held=numbers.held,
        in_flight=numbers.in_flight,
        failed=numbers.failed,
        paused_reason=pause.reason if pause else None,
        started_at=since,
    )
