"""rollout-too-wide: pods that start at once against seats of their priority level and the budget's cap."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_samples import budget, context, daemon_set, demand, from_manifest, only, patched, rules_of
from watchbudget.api.budget import Rollout, WatchBudget
from watchbudget.api.resources import NETWORK_POLICIES
from watchbudget.demand.model import Watches
from watchbudget.inventory.fleet import DaemonSet, UpdateStrategy
from watchbudget.policy.context import Context
from watchbudget.policy.rules.rollout_too_wide import RULE
from watchbudget.policy.starts import cap_of, starts_of


def rolling(
    unavailable: str | None = "0", surge: str | None = "0", kind: str = "RollingUpdate", **fields: object
) -> DaemonSet:
    return daemon_set(update_strategy=UpdateStrategy(kind, unavailable, surge), **fields)


def of(item: DaemonSet, *, of: WatchBudget | None = None, nodes: int = 100) -> Context:
    return context(item=item, of=of, nodes=nodes)  # one list of 6.7 MB: 10 seats


@pytest.mark.parametrize(
    ("namespace", "unavailable", "fires"),
    [
        ("logging", "24", False),  # 245 seats of workload-low hold 24 lists of 10
        ("logging", "25", True),
        ("kube-system", "9", False),  # 98 seats of workload-high hold 9
        ("kube-system", "10", True),
        ("logging", "24%", False),
        ("logging", "25%", True),
        ("kube-system", "1", False),
    ],
)
def test_fires_above_the_seats_of_the_level(namespace: str, unavailable: str, fires: bool):
    material = RULE.check(of(rolling(unavailable, namespace=namespace)))
    assert (material is not None) is fires


def test_says_seats_and_the_number_that_fits():
    material = RULE.check(of(rolling("100%")))
    assert material is not None
    assert material.message == (
        "a rollout starts 100 pods at once (maxUnavailable 100%): their lists take 1,000 seats of "
        "priority level workload-low, which has 245"
    )
    assert material.remedy.text == "Set maxUnavailable to 24 or less."


def test_a_surge_starts_pods_too():
    material = RULE.check(of(rolling("0", "50%")))
    assert material is not None
    assert material.remedy.patch == (
        {"op": "replace", "path": "/spec/updateStrategy/rollingUpdate/maxSurge", "value": 24},
    )


def test_a_gate_paces_a_surge_but_nodes_without_an_agent_are_capped():
    gated = budget(rollout={"maxConcurrentStarts": 5})
    open_ = budget(rollout={"maxConcurrentStarts": 5, "gate": False})
    assert RULE.check(of(rolling("0", "50%"), of=gated)) is None
    assert RULE.check(of(rolling("0", "50%"), of=open_)) is not None
    assert RULE.check(of(rolling("5"), of=gated)) is None
    material = RULE.check(of(rolling("6"), of=gated))
    assert material is not None
    assert material.message.endswith("(maxUnavailable 6): the budget's rollout allows 5")


FORTY = {"maxConcurrentStarts": 40, "maxUnavailable": 40}


def test_seats_are_no_question_where_a_gate_paces_the_lists():
    wide = rolling("40", namespace="kube-system")  # whose level has seats for 9 lists
    assert RULE.check(of(wide, of=budget(rollout=FORTY))) is None
    for not_held in ({"gate": False}, {"gate": True}):
        critical = rolling("40", namespace="kube-system", priority_class="system-node-critical")
        material = RULE.check(of(critical, of=budget(rollout={**FORTY, **not_held})))
        assert material is not None
        assert material.remedy.text == "Set maxUnavailable to 9 or less."
    careful = budget(rollout={**FORTY, "gateCritical": True})
    assert RULE.check(of(critical, of=careful)) is None


def test_a_surge_of_pods_that_no_gate_holds_is_too_wide():
    critical = rolling("0", "50%", priority_class="system-node-critical")
    assert RULE.check(of(critical, of=budget(rollout={}))) is not None
    assert RULE.check(of(critical, of=budget(rollout={"gateCritical": True}))) is None


def test_a_careful_budget_counts_what_may_be_listed_too():
    both = (demand(), demand(NETWORK_POLICIES, Watches.UNKNOWN))  # 6.7 MB each
    for careful, allowed in ((False, 5), (True, 2)):
        rollout = {"maxListBytesInFlight": "34M", "gateUncertain": careful}
        material = RULE.check(context(*both, item=rolling("9"), of=budget(rollout=rollout)))
        assert material is not None
        assert material.remedy.text == f"Set maxUnavailable to {allowed} or less."


def test_bytes_in_flight_cap_too_but_never_below_one():
    by_bytes = budget(rollout={"maxListBytesInFlight": "19M"})  # three lists of 6.7 MB do not fit, two do
    assert RULE.check(of(rolling("2"), of=by_bytes)) is None
    assert RULE.check(of(rolling("3"), of=by_bytes)) is not None
    tiny = budget(rollout={"maxListBytesInFlight": "1Mi"})
    assert RULE.check(of(rolling("1"), of=tiny)) is None


def test_on_delete_and_one_at_a_time_are_never_too_wide():
    assert RULE.check(of(rolling(None, None, "OnDelete"))) is None
    assert RULE.check(of(rolling("1"), nodes=100_000)) is None
    assert (
        RULE.check(context(demand(watchers_per_pod=50), item=rolling("1", namespace="kube-system"))) is None
    )


def test_without_a_certain_list_there_is_nothing_to_count():
    assert RULE.check(context(demand(selector="a=b"), item=rolling("100%"))) is None


@pytest.mark.parametrize("odd", ["", "abc", "-5", "-5%", "1.5", "5 %", "٣", "1_0", "9" * 30])
def test_a_number_that_is_none_is_no_finding(odd: str):
    assert starts_of(UpdateStrategy("RollingUpdate", odd, None), 100) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_percentages_round_up_and_stay_within_the_nodes(nodes: int, percent: int):
    starts = starts_of(UpdateStrategy("RollingUpdate", f"{percent}%", "0"), nodes)
    assert starts is not None
    assert starts.number == min(nodes, -(-nodes * percent // 100))


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1024, 2**60), st.integers(0, 2**60))
def test_the_cap_lets_one_start_and_keeps_all_bounds(
    nodes: int, starts: int, in_flight: int, list_bytes: int
):
    raw = {"maxUnavailable": nodes, "maxConcurrentStarts": starts, "maxListBytesInFlight": in_flight}
    cap = cap_of(Rollout.model_validate(raw), list_bytes)
    assert 1 <= cap <= min(nodes, starts)
    assert cap == 1 or cap * list_bytes <= in_flight


def test_the_patch_mends_the_manifest(tmp_path: Path):
    raw = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": "a",
            "namespace": "b",
            "annotations": {"watchbudget.io/watches": '{"namespaces": "all"}'},
        },
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "a", "image": "a"}]},
            },
        },
    }
    before = only(from_manifest(raw, tmp_path), budget())
    (finding,) = (each for each in before.findings if each.rule == RULE.id)
    assert RULE.id not in rules_of(
        only(from_manifest(patched(raw, finding.remedy.patch), tmp_path), budget())
    )
