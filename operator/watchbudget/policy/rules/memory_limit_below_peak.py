"""memory-limit-below-peak: out of memory, list again, out of memory again."""

from __future__ import annotations

from collections.abc import Iterator

from watchbudget.api.quantity import format_bytes
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.policy.context import Context
from watchbudget.policy.limits import Patch, container_patch, pod_patch, recommended_limit
from watchbudget.policy.model import Action, Remedy
from watchbudget.policy.needs import Need, needs_of
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    tight = [(need, limit) for need, limit in _bounded(context) if limit < need.total]
    if not tight:
        return None
    need, limit = max(tight, key=lambda pair: pair[0].total - pair[1])
    pod_limit = context.daemon_set.pod_memory_limit
    who = need.container if need.container and limit != pod_limit else "the pod"
    enough = recommended_limit(need.total, need.request)
    return Material(
        f"{who} may use {format_bytes(limit)}, but a re-list takes {format_bytes(need.total)} "
        f"({format_bytes(need.base)} idle, {format_bytes(need.peak)} caches): it is killed, lists again, "
        "is killed again",
        Remedy(
            f"Raise resources.limits.memory of {who} to {format_bytes(enough)} or more (the agent's other "
            "work comes on top), or watch less.",
            context.daemon_set.title,
            _patch(context.daemon_set, tight),
        ),
        weight=(need.total - limit,),
    )


def _bounded(context: Context) -> Iterator[tuple[Need, int]]:
    """What must fit, and into how much: each watching container, and all of them into the pod."""
    limits = dict(context.memory.by_container)
    if context.memory.limit_bytes is None and not any(limits.values()):
        return
    needs = needs_of(context)
    for need in needs:
        limit = limits.get(need.container) if need.container else None
        if limit is not None:
            yield need, limit
    # Containers do not share their limits: their sum is a bound only where nobody knows which one watches.
    unknown = any(need.container is None for need in needs)
    if needs and context.memory.limit_bytes is not None and (context.daemon_set.pod_memory_limit or unknown):
        yield Need(None, context.bill.base_bytes, context.bill.peak_per_pod), context.memory.limit_bytes


def _patch(daemon_set: DaemonSet, tight: list[tuple[Need, int]]) -> Patch:
    """Raise what is too low; the pod's limit must stay above each container's, or the API server refuses."""
    pod_limit = daemon_set.pod_memory_limit
    patch: Patch = ()
    largest = 0
    for need, limit in tight:
        enough = recommended_limit(need.total, need.request)
        if limit == pod_limit:
            largest = max(largest, enough)
        elif need.container:
            patch += container_patch(daemon_set, need.container, enough)
            largest = max(largest, enough)
    return (*patch, *pod_patch(largest)) if pod_limit and largest > pod_limit else patch


RULE = Rule(
    id="memory-limit-below-peak",
    meaning="The memory limit is below what a re-list takes.",
    default_action=Action.DENY,
    why=(
        "A re-list holds the old copy and the new one side by side. A limit below that peak kills the "
        "agent at the next "
        "API server restart, it starts, lists again and is killed again, on every node at once."
    ),
    fix="Raise the limit to the figure of the finding, or watch less: fewer objects need less at every list.",
    check=_check,
)
