"""duplicate-watch: the same copy several times in one pod."""

from __future__ import annotations

from watchbudget.api.quantity import format_bytes
from watchbudget.policy.context import Context
from watchbudget.policy.model import Action, Remedy
from watchbudget.policy.remedies import watch_less
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    copies: dict[str, int] = {}
    spare_bytes = 0
    several = []
    for resource in dict.fromkeys(demand.resource for demand in context.watched):
        demands = [demand for demand in context.watched if demand.resource == resource]
        watchers = sum(max(1, demand.watchers_per_pod) for demand in demands)
        if watchers < 2:
            continue
        several += demands
        copies[resource.resource] = watchers
        lines = [line for line in context.certain_lines if line.resource == resource]
        # One copy has to stay, the dearest: what goes is the rest.
        spare_bytes += sum(line.cache_bytes for line in lines) - max(
            (line.cache_bytes // line.watchers for line in lines), default=0
        )
    if not copies:
        return None
    listed = " and ".join(f"{number} copies of the {name}" for name, number in copies.items())
    price = f", {format_bytes(spare_bytes)} more than one would take" if spare_bytes else ""
    narrowing, freed = watch_less(context, several)
    spare = spare_bytes * context.bill.nodes
    return Material(
        f"every pod keeps {listed}{price}",
        Remedy(
            "Share one copy: merge the sources or inputs of which each keeps its own. Or end the watch. "
            f"{narrowing.text}",
            context.daemon_set.title,
        ),
        max(spare, freed),
        weight=(sum(copies.values()),),
    )


RULE = Rule(
    id="duplicate-watch",
    meaning="One pod keeps several copies of the same objects.",
    default_action=Action.WARN,
    why=(
        "Many agents open a watch and a cache of their own for every input in their configuration: two "
        "inputs cost twice, "
        "on every node."
    ),
    fix=(
        "Merge the inputs, or apply the option that ends the watch to every one of them: one forgotten "
        "keeps a copy."
    ),
    check=_check,
)
