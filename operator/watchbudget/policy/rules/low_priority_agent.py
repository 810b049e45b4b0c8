"""low-priority-agent: while its pod is held, others may take its room."""

from __future__ import annotations

from watchbudget.policy.context import Context
from watchbudget.policy.model import Action, Remedy
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULE"]


def _check(context: Context) -> Material | None:
    rollout = context.budget.spec.rollout
    if rollout is None or not rollout.gate or context.daemon_set.priority_class:
        return None
    return Material(
        "its new pods are held until they may list, and hold no room on their node meanwhile: without a "
        "priority class "
        "others may fill it",
        Remedy(
            "Set spec.template.spec.priorityClassName to a class above ordinary workloads (`kubectl get "
            "priorityclasses`).",
            context.daemon_set.title,
        ),
    )


RULE = Rule(
    id="low-priority-agent",
    meaning="Its pods are held at the start, and have no priority class to win their room back.",
    default_action=Action.WARN,
    why=(
        "A pod with a scheduling gate reserves nothing. On a full node an agent without priority may find "
        "no room when it "
        "is let go. Asked only where the budget's rollout.gate is on."
    ),
    fix="Give the pod template a priorityClassName above ordinary workloads.",
    check=_check,
)
