"""node-selector-missing: it watches, and runs on every node. Off unless a budget asks."""

from __future__ import annotations

from watchbudget.policy.context import Context
from watchbudget.policy.model import Action, Remedy
from watchbudget.policy.phrases import counted
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    daemon_set = context.daemon_set
    if daemon_set.node_selector or daemon_set.has_node_affinity:
        return None
    return Material(
        f"it runs on all {counted(context.bill.nodes, 'node')}: neither nodeSelector nor node affinity",
        Remedy(
            "Set spec.template.spec.nodeSelector to the nodes that need the agent; each node left out "
            "saves one copy.",
            daemon_set.title,
        ),
    )


RULE = Rule(
    id="node-selector-missing",
    meaning="A DaemonSet that watches has neither a node selector nor node affinity.",
    default_action=Action.OFF,
    why=(
        "Its cost is multiplied by the nodes it runs on. Most agents belong on every node, so the rule is "
        "off by default."
    ),
    fix="Select the nodes that need it, by nodeSelector or node affinity.",
    check=_check,
)
