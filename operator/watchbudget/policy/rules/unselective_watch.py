"""unselective-watch: a full copy of everything on every node."""

from __future__ import annotations

from watchbudget.api.quantity import format_bytes
from watchbudget.demand.model import Watches
from watchbudget.policy.context import Context
from watchbudget.policy.model import Action
from watchbudget.policy.phrases import counted, names
from watchbudget.policy.remedies import watch_less
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    wide = [demand for demand in context.watched if demand.selector is None]
    if not wide:
        return None
    cost = context.cache_of(wide)
    price = (
        f": {format_bytes(cost)} per pod, {format_bytes(cost * context.bill.nodes)} on "
        f"{counted(context.bill.nodes, 'node')}"
        if cost
        else ""
    )
    sure = any(demand.watches is Watches.YES for demand in wide)
    resources = names(demand.resource for demand in wide)
    does = "keeps" if sure else "may keep"
    remedy, freed = watch_less(context, wide)
    copies = sum(max(1, demand.watchers_per_pod) for demand in wide)
    return Material(f"every pod {does} a copy of all {resources}{price}", remedy, freed, (copies, cost))


RULE = Rule(
    id="unselective-watch",
    meaning="Every pod keeps a copy of all objects of a watched resource.",
    default_action=Action.DENY,
    why=(
        "The price is objects x bytes x nodes. Each node pays for every tenant of the cluster, and each "
        "start of a pod "
        "asks the API server for all of them."
    ),
    fix=(
        "Turn the watch off or narrow it by the agent's own option; the finding names it, with the version "
        "and what is "
        "lost then. A filter on the client's side saves nothing."
    ),
    check=_check,
)
