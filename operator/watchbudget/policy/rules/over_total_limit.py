"""over-total-limit: the caches of the whole fleet are dearer than the budget allows."""

from __future__ import annotations

from watchbudget.api.quantity import format_bytes
from watchbudget.policy.context import Context
from watchbudget.policy.model import Action
from watchbudget.policy.phrases import either_way
from watchbudget.policy.remedies import watch_less
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    limit = context.budget.spec.limits.cache_total
    cache = context.bill.cache_total
    if limit is None or not cache or context.total_bytes <= limit:
        return None
    return Material(
        f"caches of all governed DaemonSets take {format_bytes(context.total_bytes)} in the cluster, "
        f"{format_bytes(cache)} of it here{either_way(cache, context.bill.cache_total_up_to)}; the budget "
        f"allows {format_bytes(limit)}",
        *watch_less(context, context.watched),
        weight=(cache,),
    )


RULE = Rule(
    id="over-total-limit",
    meaning=(
        "The caches of all governed DaemonSets take more memory in the whole cluster than limits.cacheTotal."
    ),
    default_action=Action.DENY,
    why="A few hundred megabytes a node are terabytes in a large cluster, and nobody sees them in one place.",
    fix=(
        "Watch less in the dearest of them (`watchbudget audit` shows it first), or raise "
        "spec.limits.cacheTotal."
    ),
    check=_check,
)
