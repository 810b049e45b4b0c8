"""over-pod-limit: the caches of one pod are dearer than the budget allows."""

from __future__ import annotations

from watchbudget.api.quantity import format_bytes
from watchbudget.policy.context import Context
from watchbudget.policy.model import Action
from watchbudget.policy.phrases import either_way
from watchbudget.policy.remedies import watch_less
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    limit = context.budget.spec.limits.cache_per_pod
    cache = context.bill.cache_per_pod
    if limit is None or cache <= limit:
        return None
    return Material(
        f"caches take {format_bytes(cache)} per pod{either_way(cache, context.bill.cache_per_pod_up_to)}; "
        f"the budget allows {format_bytes(limit)}",
        *watch_less(context, context.watched),
        weight=(cache,),
    )


RULE = Rule(
    id="over-pod-limit",
    meaning="The caches of one pod take more memory than limits.cachePerPod.",
    default_action=Action.DENY,
    why="The limit is what the budget's owner is ready to pay on each node for this kind of copy.",
    fix="Watch less, or raise spec.limits.cachePerPod.",
    check=_check,
)
