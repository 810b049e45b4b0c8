"""memory-limit-missing: nothing stops the cache from taking the node's memory."""

from __future__ import annotations

from watchbudget.api.quantity import format_bytes
from watchbudget.policy.context import Context
from watchbudget.policy.limits import container_patch, recommended_limit
from watchbudget.policy.model import Action, Remedy
from watchbudget.policy.needs import needs_of
from watchbudget.policy.phrases import names
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    memory = context.memory
    if memory.limit_complete:
        return None
    missing = ", ".join(memory.missing) or "the pod"
    resources = names(demand.resource for demand in context.watched)
    weight = (len(memory.missing), context.bill.peak_per_pod)
    need = next((need for need in needs_of(context) if need.container in memory.missing), None)
    if need is None or need.container is None:
        remedy = Remedy(
            f"Set resources.limits.memory of {missing}, above the most they use at a re-list.",
            context.daemon_set.title,
        )
        return Material(
            f"no memory limit on {missing}, in a pod that watches {resources}", remedy, weight=weight
        )
    limit = recommended_limit(need.total, need.request)
    remedy = Remedy(
        f"Set resources.limits.memory of {need.container} to {format_bytes(limit)} for the caches, plus "
        "what the agent needs besides them (compare container_memory_working_set_bytes).",
        context.daemon_set.title,
        container_patch(context.daemon_set, need.container, limit),
    )
    return Material(
        f"no memory limit on {missing}: caches of {resources} may grow until the node runs out "
        f"(a re-list takes {format_bytes(need.total)} today)",
        remedy,
        weight=weight,
    )


RULE = Rule(
    id="memory-limit-missing",
    meaning="A pod that watches has a container without a memory limit.",
    default_action=Action.DENY,
    why=(
        "A cache grows with the cluster, not with the node. Without a limit the node runs out of memory "
        "first, and the "
        "kernel kills whatever it likes."
    ),
    fix=(
        "Set resources.limits.memory on every container, or on the pod as a whole. Sidecars count; "
        "defaults of the "
        "namespace's LimitRange count as limits."
    ),
    check=_check,
)
