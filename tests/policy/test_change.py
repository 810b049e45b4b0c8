"""An update is denied only for what it makes worse itself."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policy_samples import CALIBRATION, MIB, NOTHING_KNOWN, TODAY, budget, declared, fleet
from watchbudget.api.budget import WatchBudget
from watchbudget.inventory.fleet import Container, DaemonSet, UpdateStrategy
from watchbudget.policy.change import judged_as_change
from watchbudget.policy.judge import Judge
from watchbudget.policy.model import Action, Judgement, Verdict

BOTH = '{"namespaces": "all", "networkpolicies.networking.k8s.io": "all"}'


def changed(
    old: DaemonSet, new: DaemonSet, *budgets: WatchBudget, others: Sequence[DaemonSet] = ()
) -> Judgement:
    there = (old, *others)
    bench = Judge(
        fleet(*there), budgets or (budget(),), today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION
    )
    ledgers = bench.ledgers(map(bench.appraise, there))
    return judged_as_change(bench.judge_one(old, ledgers), bench.judge_one(new, ledgers))


def denied(judgement: Judgement) -> list[str]:
    return sorted({finding.rule for finding in judgement.findings if finding.action is Action.DENY})


def limited(mebibytes: int | None, image: str = "example.org/agent:2.1.0") -> tuple[Container, ...]:
    limit = None if mebibytes is None else mebibytes * MIB
    return (Container("agent", image, memory_limit=limit),)


def test_a_new_image_of_an_agent_in_violation_only_warns():
    old = declared()
    fix = replace(old, containers=limited(None, "example.org/agent:2.1.1"))
    judgement = changed(old, fix)
    assert judgement.verdict is Verdict.WARN
    assert {"unselective-watch", "memory-limit-missing"} <= {finding.rule for finding in judgement.findings}


def test_a_change_that_begins_to_watch_is_denied():
    judgement = changed(declared(watches='{"namespaces": "none"}'), declared())
    assert judgement.verdict is Verdict.DENY
    assert "unselective-watch" in denied(judgement)


def test_watching_one_resource_more_is_worse():
    assert "unselective-watch" in denied(changed(declared(), declared(watches=BOTH)))


def test_watching_one_resource_less_is_not():
    assert changed(declared(watches=BOTH), declared()).verdict is Verdict.WARN


def test_a_limit_taken_away_is_denied_and_one_that_was_missing_is_not():
    assert denied(changed(declared(containers=limited(512)), declared())) == ["memory-limit-missing"]
    assert denied(changed(declared(), declared())) == []


def test_a_limit_lowered_further_below_the_peak_is_denied_and_one_raised_is_not():
    low, lower = declared(containers=limited(40)), declared(containers=limited(30))
    assert denied(changed(low, lower)) == ["memory-limit-below-peak"]
    assert denied(changed(lower, low)) == []


def test_a_wider_rollout_is_denied_where_the_budget_denies_that():
    strict = budget(enforcement={"action": "Deny", "rules": [{"name": "rollout-too-wide", "action": "Deny"}]})
    half, all_at_once = (
        declared(update_strategy=UpdateStrategy(max_unavailable=wide)) for wide in ("50%", "100%")
    )
    assert denied(changed(half, all_at_once, strict)) == ["rollout-too-wide"]
    assert denied(changed(all_at_once, half, strict)) == []


def test_a_cluster_over_its_total_does_not_deny_an_update_that_costs_the_same():
    full = budget(limits={"cacheTotal": "1Gi"})
    judgement = changed(declared(), declared(containers=limited(512)), full, others=[declared("other")])
    assert "over-total-limit" in {finding.rule for finding in judgement.findings}
    assert denied(judgement) == []


def test_an_update_that_moves_to_fuller_nodes_and_costs_the_same_is_not_denied_for_their_sum():
    tight = budget(limits={"cachePerNode": "40Mi"})
    other = declared("other", node_selector=(("pool", "a"),))
    old = declared(node_selector=(("pool", "b"),))
    judgement = changed(old, replace(old, node_selector=(("pool", "a"),)), tight, others=[other])
    assert "over-node-limit" in {finding.rule for finding in judgement.findings}
    assert "over-node-limit" not in denied(judgement)


def test_an_update_that_raises_its_own_bill_beyond_the_total_is_denied():
    full = budget(limits={"cacheTotal": "4Gi"})  # 2.8 GiB before, 5.6 GiB after
    assert "over-total-limit" in denied(changed(declared(), declared(watches=BOTH), full))


@given(
    st.sampled_from([None, 20, 40, 64, 512]),
    st.sampled_from(["1", "10%", "50%", "100%"]),
    st.sampled_from(['{"namespaces": "all"}', BOTH]),
)
def test_no_change_is_denied_for_nothing(limit: int | None, wide: str, watches: str):
    strict = budget(
        limits={"cachePerPod": "1Mi", "cachePerNode": "1Mi", "cacheTotal": "1Mi"},
        enforcement={"action": "Deny", "rules": [{"name": "rollout-too-wide", "action": "Deny"}]},
    )
    strategy = UpdateStrategy(max_unavailable=wide)
    same = declared(watches=watches, containers=limited(limit), update_strategy=strategy)
    assert changed(same, replace(same, labels={"release": "next"}), strict).verdict is Verdict.WARN
