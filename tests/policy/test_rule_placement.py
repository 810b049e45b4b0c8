"""node-selector-missing and low-priority-agent."""

from __future__ import annotations

import pytest

from policy_samples import budget, context, daemon_set
from watchbudget.policy.rules import low_priority_agent, node_selector_missing

SELECTOR, PRIORITY = node_selector_missing.RULE, low_priority_agent.RULE


def test_a_selector_or_an_affinity_is_enough():
    assert SELECTOR.check(context(item=daemon_set(node_selector=(("pool", "a"),)))) is None
    assert SELECTOR.check(context(item=daemon_set(has_node_affinity=True))) is None
    material = SELECTOR.check(context())
    assert material is not None
    assert material.message == "it runs on all 100 nodes: neither nodeSelector nor node affinity"


@pytest.mark.parametrize(
    ("rollout", "priority", "fires"),
    [
        ({}, None, True),
        ({"gate": True}, None, True),
        ({"gate": False}, None, False),
        (None, None, False),
        ({}, "system-node-critical", False),
    ],
)
def test_only_a_gate_makes_a_priority_class_matter(rollout: dict | None, priority: str | None, fires: bool):
    of = budget(**({} if rollout is None else {"rollout": rollout}))
    material = PRIORITY.check(context(item=daemon_set(priority_class=priority), of=of))
    assert (material is not None) is fires
