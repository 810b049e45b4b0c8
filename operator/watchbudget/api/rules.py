"""The names of the rules, which budgets may set and exempt from. What each does is the judge's business."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["RULE_NAMES", "RuleName"]

RuleName = Literal[
    "unselective-watch",
    "memory-limit-missing",
    "memory-limit-below-peak",
    "over-pod-limit",
    "over-node-limit",
    "over-total-limit",
    "duplicate-watch",
    "rollout-too-wide",
    "unused-grant",
    "declaration-broken",
    "node-selector-missing",
    "low-priority-agent",
]
RULE_NAMES: tuple[RuleName, ...] = get_args(RuleName)
"""Every rule a budget may name, in the order in which they are explained."""
