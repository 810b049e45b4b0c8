"""over-node-limit: the caches that meet on a node are dearer than the budget allows."""

from __future__ import annotations

from watchbudget.api.quantity import format_bytes
from watchbudget.policy.context import Context
from watchbudget.policy.model import Action
from watchbudget.policy.phrases import either_way
from watchbudget.policy.remedies import watch_less
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    limit = context.budget.spec.limits.cache_per_node
    cache = context.bill.cache_per_pod
    if limit is None or not cache or not context.bill.nodes or context.node_bytes <= limit:
        return None
    return Material(
        f"caches of all governed DaemonSets take up to {format_bytes(context.node_bytes)} on a node, "
        f"{format_bytes(cache)} of it here{either_way(cache, context.bill.cache_per_pod_up_to)}; the "
        f"budget allows {format_bytes(limit)}",
        *watch_less(context, context.watched),
        weight=(cache,),
    )


RULE = Rule(
    id="over-node-limit",
    meaning=(
        "The caches of all governed DaemonSets together take more memory on a node than limits.cachePerNode."
    ),
    default_action=Action.DENY,
    why=(
        "Each agent is small beside the node; together they are not. Every DaemonSet that adds to the sum "
        "gets the "
        "finding, since any of them can mend it."
    ),
    fix=(
        "Watch less in the dearest of them (`watchbudget audit` shows it first), or raise "
        "spec.limits.cachePerNode."
    ),
    check=_check,
)
