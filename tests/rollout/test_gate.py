"""Whose pods are held, by which budgets; and what is read of a pod for that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_samples import CALIBRATION, CENSUS, NOTHING_KNOWN, STORED, TODAY, budget, declared, fleet
from watchbudget.api.budget import WatchBudget
from watchbudget.inventory.fleet import Census, DaemonSet
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.judge import Judge
from watchbudget.rollout.gate import (
    Gate,
    ceilings_of,
    gate_of,
    is_critical,
    node_of,
    paused_of,
    terms_of,
)
from watchbudget.rollout.model import Terms

PACED = budget("paced", rollout={})
CAREFUL = budget("careful", rollout={"gateUncertain": True})
OF_ALL = '{"namespaces": "all", "networkpolicies.networking.k8s.io": "all"}'


def appraised(item: DaemonSet, *budgets: WatchBudget, census: Census = CENSUS) -> Appraisal:
    bench = Judge(
        fleet(item, census=census), budgets, today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION
    )
    return bench.appraise(item)


def gate(item: DaemonSet, *budgets: WatchBudget, census: Census = CENSUS) -> Gate:
    return gate_of(appraised(item, *budgets, census=census), budgets)


def test_a_budget_holds_what_counts_as_watching_under_it():
    (hold,) = gate(declared(), PACED).holds
    assert (hold.budget, hold.list_bytes, hold.certain, hold.critical) == ("paced", STORED, True, False)
    assert hold.reason == "it watches namespaces"


@pytest.mark.parametrize(
    "other",
    [
        budget(),
        budget(rollout={"gate": False}),
        budget(rollout={}, daemonSetSelector={"matchLabels": {"a": "b"}}),
        budget(rollout={}, namespaceSelector={"matchLabels": {"a": "b"}}),
        budget(rollout={}, resources=[{"group": "", "resource": "nodes"}]),
        budget(rollout={}, enforcement={"minimumEvidence": "observed"}),
    ],
    ids=[
        "no rollout",
        "no gate",
        "other labels",
        "other namespaces",
        "other resource",
        "too little evidence",
    ],
)
def test_no_other_budget_does(other: WatchBudget):
    assert gate(declared(), other) == Gate()
    assert [hold.budget for hold in gate(declared(), other, PACED).holds] == ["paced"]


@pytest.mark.parametrize("action", ["Audit", "Annotate", "Warn", "Deny"])
def test_it_holds_whatever_the_action_and_whatever_is_exempted(action: str):
    exemption = {"namespace": "logging", "name": "agent", "rules": ["*"], "reason": "known"}
    assert gate(declared(), budget(rollout={}, enforcement={"action": action}, exemptions=[exemption])).holds


def test_what_watches_nothing_is_held_by_nobody():
    nothing = declared(watches='{"namespaces": "none"}')
    trusting = budget(rollout={"gateUncertain": True}, enforcement={"trustDeclarations": True})
    without = declared(automount=False, watches="{}")
    assert gate(without, PACED, CAREFUL) == Gate()
    (hold,) = gate(nothing, trusting).holds
    assert hold.reason.startswith("it may watch networkpolicies,")  # of which its owner says nothing


def test_what_may_watch_is_held_by_careful_budgets_with_what_it_may_list():
    unknown = declared(watches="{}")
    assert gate(unknown, PACED) == Gate()
    (hold,) = gate(unknown, PACED, CAREFUL).holds
    assert (hold.budget, hold.list_bytes, hold.certain) == ("careful", 2 * STORED, False)
    assert (
        hold.reason
        == "it may watch namespaces and networkpolicies, and the budget is careful (gateUncertain)"
    )


def test_where_permission_counts_as_watching_it_is_certain():
    granted = budget(rollout={}, enforcement={"minimumEvidence": "granted"})
    assert gate(declared(watches="{}"), granted) == Gate()  # no grant was found
    (hold,) = gate(declared(), granted).holds
    assert hold.certain


def test_a_selective_watch_is_held_and_counted_as_if_it_were_none():
    """How much it selects is not known, so it takes as much room as the whole list."""
    (hold,) = gate(declared(watches='{"namespaces": "team=a"}'), PACED).holds
    assert (hold.certain, hold.list_bytes) == (True, STORED)


def test_without_a_census_it_is_held_and_takes_no_room():
    (hold,) = gate(declared(), PACED, census=Census()).holds
    assert hold.list_bytes == 0


def test_critical_pods_are_held_only_with_leave():
    leave = budget("leave", rollout={"gateCritical": True})
    assert gate(declared(), PACED).applies(critical=False)
    assert not gate(declared(), PACED).applies(critical=True)
    assert gate(declared(), PACED, leave).applies(critical=True)
    assert not Gate().applies(critical=False)


def test_the_terms_name_every_budget_and_the_largest_list():
    one = budget("one", rollout={}, resources=[{"group": "", "resource": "namespaces"}])
    both = budget("both", rollout={})
    item = declared(watches=OF_ALL)
    terms = terms_of(appraised(item, one, budget("off"), both), (one, budget("off"), both))
    assert terms == Terms(("one", "both"), 2 * STORED)
    assert terms_of(appraised(item), ()).budgets == ()


def test_ceilings_are_those_of_budgets_with_a_rollout():
    slow = budget("slow", rollout={"maxConcurrentStarts": 3, "gate": False})
    ceilings = ceilings_of((budget("none"), slow, PACED), {"slow": "maintenance"})
    assert list(ceilings) == ["slow", "paced"]
    assert (ceilings["slow"].max_starts, ceilings["slow"].paused) == (3, "maintenance")
    assert ceilings["paced"].paused is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, None),
        ("", None),
        (" false ", None),
        ("False", None),
        ("true", "by annotation watchbudget.io/paused"),
        ("True", "by annotation watchbudget.io/paused"),
        ("incident 4711", "incident 4711"),
        ("x" * 5000, "x" * 200),
    ],
)
def test_an_owner_pauses_by_annotation(said: str | None, why: str | None):
    annotations = {} if said is None else {"watchbudget.io/paused": said}
    assert paused_of(DaemonSet("a", "b", annotations=annotations)) == why


@pytest.mark.parametrize(
    ("spec", "critical"),
    [
        ({"priorityClassName": "system-node-critical"}, True),
        ({"priorityClassName": "system-node-critical", "priority": 2000001000}, True),
        ({"priority": 2000001000}, True),
        ({"priorityClassName": "system-cluster-critical", "priority": 2000000000}, False),
        ({"priority": "2000001000"}, False),
        ({"priority": True, "priorityClassName": ["system-node-critical"]}, False),
        ({}, False),
    ],
)
def test_critical_by_name_or_by_number(spec: dict[str, Any], critical: bool):
    assert is_critical({"spec": spec}) is critical


def meant_for(*values: object, key: object = "metadata.name", operator: object = "In") -> dict[str, Any]:
    """A pod as the DaemonSet controller creates it."""
    field = {"key": key, "operator": operator, "values": list(values)}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return {"spec": {"affinity": affinity}}


@pytest.mark.parametrize(
    ("pod", "node"),
    [
        (meant_for("n1"), "n1"),
        ({"spec": {"nodeName": "n2", **meant_for("n1")["spec"]}}, "n2"),
        ({"spec": {"nodeName": ""}}, None),
        (meant_for("n1", "n2"), None),
        (meant_for(), None),
        (meant_for(""), None),
        (meant_for(5), None),
        (meant_for("n1", operator="NotIn"), None),
        (meant_for("n1", key="metadata.namespace"), None),
        ({}, None),
    ],
)
def test_the_node_a_pod_is_meant_for(pod: dict[str, Any], node: str | None):
    assert node_of(pod) == node


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(JUNK, JUNK, JUNK)
def test_no_junk_in_a_pod_raises(spec: object, affinity: object, terms: object):
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    for pod in (
        {"spec": spec},
        {"spec": {"nodeName": spec, "affinity": affinity, "priority": terms}},
        {"spec": {"affinity": {"nodeAffinity": required}}},
    ):
        assert node_of(pod) is None or isinstance(node_of(pod), str)
        is_critical(pod)
