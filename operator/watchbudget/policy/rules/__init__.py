"""The rules, in the order in which they are explained.

A new rule is a file here and a line in this list. Webhook, scan and command line all go through
it, so that they cannot disagree. The names are fixed in `api/rules.py`, because budgets use them;
`unused-grant` and `declaration-broken` need evidence from an audit log and are not here yet.
"""

from __future__ import annotations

from watchbudget.policy.rules import (
    duplicate_watch,
    low_priority_agent,
    memory_limit_below_peak,
    memory_limit_missing,
    node_selector_missing,
    over_node_limit,
    over_pod_limit,
    over_total_limit,
    rollout_too_wide,
    unselective_watch,
)
from watchbudget.policy.rules.rule import Material, Rule

__all__ = ["RULES", "Material", "Rule"]

RULES: tuple[Rule, ...] = (
    unselective_watch.RULE,
    memory_limit_missing.RULE,
    memory_limit_below_peak.RULE,
    over_pod_limit.RULE,
    over_node_limit.RULE,
    over_total_limit.RULE,
    duplicate_watch.RULE,
    rollout_too_wide.RULE,
    node_selector_missing.RULE,
    low_priority_agent.RULE,
)
