"""rollout-too-wide: more pods list at once than the API server can serve beside its other clients."""

from __future__ import annotations

from watchbudget.policy.context import Context
from watchbudget.policy.model import Action, Remedy
from watchbudget.policy.phrases import counted
from watchbudget.policy.rules.rule import Material, Rule
from watchbudget.policy.starts import cap_of, is_held, level_of, list_bytes_of, starts_of

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    bill, rollout = context.bill, context.budget.spec.rollout
    starts = starts_of(context.daemon_set.update_strategy, bill.nodes)
    if starts is None or not bill.seats_per_start:
        return None
    held = is_held(rollout, context.daemon_set)
    if starts.field == "maxSurge" and held:
        return None  # the gate paces them, and the old pods run on meanwhile
    level = level_of(context.daemon_set.namespace)
    fits = max(1, level.seats // bill.seats_per_start)
    cap = cap_of(rollout, list_bytes_of(rollout, context.watched, bill)) if rollout else fits
    # Held pods list as the pacer lets them, so no seats run out; what is lowered at admission to the cap
    # then has no finding (rollout/cap.py).
    allowed = cap if held else min(fits, cap)
    if starts.number <= allowed:
        return None
    seats = starts.number * bill.seats_per_start
    why = (
        f"their lists take {seats:,} seats of priority level {level.name}, which has {level.seats}"
        if fits <= cap and not held
        else f"the budget's rollout allows {cap}"
    )
    return Material(
        f"a rollout starts {counted(starts.number, 'pod')} at once ({starts.field} {starts.given}): {why}",
        Remedy(
            f"Set {starts.field} to {allowed} or less.",
            context.daemon_set.title,
            (
                {
                    "op": "replace",
                    "path": f"/spec/updateStrategy/rollingUpdate/{starts.field}",
                    "value": allowed,
                },
            ),
        ),
        weight=(seats,),
    )


RULE = Rule(
    id="rollout-too-wide",
    meaning="A rollout starts more pods at once than the API server can serve lists for.",
    default_action=Action.WARN,
    why=(
        "Every pod that starts asks for the whole list. Seats beyond those of its priority level queue, "
        "then get 429, and "
        "other clients of the level wait with them: in kube-system those are the controllers of the cluster."
    ),
    fix="Lower maxUnavailable or maxSurge to the figure of the finding; a percentage grows with the cluster.",
    check=_check,
)
