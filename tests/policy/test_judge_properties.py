"""Shapes of the judgement: growth never makes it milder, order never matters, nothing makes it fail."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from policy_samples import CALIBRATION, MIB, NOTHING_KNOWN, TODAY, audit, budget, declared, fleet
from watchbudget.api.budget import WatchBudget
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES
from watchbudget.inventory.fleet import (
    AccessReviews,
    Census,
    Container,
    DaemonSet,
    LimitRange,
    ResourceCensus,
    ServiceAccount,
    UpdateStrategy,
)
from watchbudget.inventory.rbac import Binding, PolicyRule, Rbac, Role, Subject
from watchbudget.policy.judge import Judge, judge
from watchbudget.policy.model import Audit, Verdict

_SEVERITY = [Verdict.ALLOW, Verdict.WARN, Verdict.DENY]

daemon_sets = st.lists(
    st.builds(
        declared,
        st.sampled_from("abcdef"),
        st.sampled_from(
            [
                "{}",
                '{"namespaces": "all"}',
                '{"networkpolicies.networking.k8s.io": "all"}',
                '{"namespaces": "all", "networkpolicies.networking.k8s.io": "team=a"}',
            ]
        ),
        namespace=st.sampled_from(["logging", "kube-system"]),
        labels=st.sampled_from([{}, {"team": "x"}]),
        containers=st.sampled_from([None, 40 * MIB, 100 * MIB, 500 * MIB]).map(
            lambda limit: (Container("agent", "x", memory_limit=limit),)
        ),
        node_selector=st.sampled_from([(), (("os", "linux"),), (("os", "windows"),), (("pool", "a"),)]),
        priority_class=st.sampled_from([None, "high"]),
        update_strategy=st.builds(
            UpdateStrategy,
            st.just("RollingUpdate"),
            st.sampled_from(["1", "10%", "100%", "30"]),
            st.just("0"),
        ),
        nodes=st.sampled_from([None, 0, 3]),
    ),
    max_size=5,
    unique_by=lambda item: item.key,
)
budgets = st.lists(
    st.builds(
        budget,
        st.sampled_from("pqr"),
        limits=st.fixed_dictionaries(
            {},
            optional={
                "cachePerPod": st.sampled_from(["1Mi", "40Mi"]),
                "cachePerNode": st.sampled_from(["50Mi", "90Mi"]),
                "cacheTotal": st.sampled_from(["100Mi", "10Gi"]),
            },
        ),
        enforcement=st.fixed_dictionaries(
            {"action": st.sampled_from(["Audit", "Warn", "Deny"])},
            optional={
                "minimumEvidence": st.sampled_from(["granted", "catalogue", "declared"]),
                "denyInKubeSystem": st.booleans(),
                "trustDeclarations": st.booleans(),
                "rules": st.just([{"name": "rollout-too-wide", "action": "Deny"}]),
            },
        ),
        daemonSetSelector=st.sampled_from([{}, {"matchLabels": {"team": "x"}}]),
    ),
    max_size=3,
)


def sized(namespaces: tuple[int, int], policies: tuple[int, int]) -> Census:
    return Census(
        (
            ResourceCensus(NAMESPACES, *namespaces, "flag"),
            ResourceCensus(NETWORK_POLICIES, *policies, "flag"),
        ),
        (1, 36),
    )


sizes = st.tuples(st.integers(0, 50_000), st.integers(0, 10**8))


def severities(of: Audit) -> dict[tuple[str, str], int]:
    return {each.daemon_set.key: _SEVERITY.index(each.verdict) for each in of.judgements}


@settings(max_examples=150, deadline=None)
@given(daemon_sets, budgets, sizes, sizes, sizes, st.integers(0, 300), st.integers(0, 300))
def test_more_nodes_and_more_objects_never_make_a_verdict_milder(
    items: list[DaemonSet],
    of: list[WatchBudget],
    namespaces: tuple[int, int],
    policies: tuple[int, int],
    more: tuple[int, int],
    nodes: int,
    more_nodes: int,
) -> None:
    small = fleet(*items, nodes=nodes, census=sized(namespaces, policies))
    before = severities(audit(small, *of))
    grown = sized((namespaces[0] + more[0], namespaces[1] + more[1]), policies)
    after = severities(audit(replace(small, census=grown), *of))
    wider = severities(audit(replace(small, nodes=nodes + more_nodes), *of))
    for key, severity in before.items():
        assert after[key] >= severity
        assert wider[key] >= severity


@settings(max_examples=100, deadline=None)
@given(daemon_sets, budgets, st.randoms())
def test_the_order_of_reading_changes_nothing(
    items: list[DaemonSet], of: list[WatchBudget], chance: random.Random
) -> None:
    shuffled = [*items]
    chance.shuffle(shuffled)
    one, other = audit(fleet(*items), *of), audit(fleet(*shuffled), *of)
    assert one.judgements == other.judgements
    assert one.totals == other.totals
    assert sorted(map(str, one.problems)) == sorted(map(str, other.problems))


@settings(max_examples=100, deadline=None)
@given(daemon_sets, budgets)
def test_findings_come_only_where_something_is_watched_and_totals_add_up(
    items: list[DaemonSet], of: list[WatchBudget]
) -> None:
    result = audit(fleet(*items), *of)
    for judgement in result.judgements:
        if judgement.findings:
            assert any(demand.watches != "no" for demand in judgement.demands)
        assert judgement.bill.cache_per_pod <= judgement.bill.cache_per_pod_up_to
    assert result.totals.cache_total == sum(each.bill.cache_total for each in result.judgements)
    assert result.totals.cache_per_node <= sum(each.bill.cache_per_pod for each in result.judgements)


_ROLE = Role(None, "watcher", (PolicyRule(("list", "watch"), ("",), ("namespaces",)),))
_BINDING = Binding(None, "watcher", "ClusterRole", "watcher", (Subject("Group", "system:serviceaccounts"),))
changes = st.fixed_dictionaries(
    {},
    optional={
        "daemon_sets": daemon_sets.map(tuple),
        "nodes": st.integers(0, 300),
        "census": st.builds(
            lambda namespaces, policies, minor: replace(
                sized(namespaces, policies), server_version=(1, minor)
            ),
            sizes,
            sizes,
            st.sampled_from([33, 36]),
        ),
        "rbac": st.sampled_from([Rbac(), Rbac((_ROLE,)), Rbac((_ROLE,), (_BINDING,))]),
        "access": st.sampled_from(
            [
                AccessReviews(),
                AccessReviews("asked", {("logging", "agent", NAMESPACES, "watch"): False}),
            ]
        ),
        "service_accounts": st.sampled_from([(), (ServiceAccount("logging", "agent", automount=False),)]),
        "limit_ranges": st.sampled_from([(), (LimitRange("logging", "default", 60 * MIB),)]),
        "namespace_labels": st.sampled_from([{}, {"logging": {"team": "x"}}]),
        "shared_accounts": st.sampled_from([{}, {("logging", "agent"): ("Deployment other",)}]),
        "complete_rbac": st.booleans(),
    },
)
unselective = budget("broad", enforcement={"action": "Deny", "minimumEvidence": "granted"})
by_namespace = budget("narrow", namespaceSelector={"matchLabels": {"team": "x"}})
expiring = budget(
    "expiring",
    exemptions=[
        {"namespace": "logging", "name": "a", "rules": ["*"], "reason": "r", "until": TODAY.isoformat()}
    ],
)
courts = st.lists(
    st.one_of(budgets.flatmap(st.permutations), st.just([unselective, by_namespace, expiring])),
    min_size=1,
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(
    daemon_sets,
    courts,
    st.lists(st.tuples(changes, st.integers(0, 2), st.integers(0, 1), st.data()), max_size=5),
)
def test_a_judge_that_goes_on_says_what_one_made_anew_says(
    items: list[DaemonSet],
    of: list[list[WatchBudget]],
    steps: list[tuple[dict[str, Any], int, int, st.DataObject]],
) -> None:
    now = fleet(*items)
    rest: Any = {"catalogue": NOTHING_KNOWN, "calibration": CALIBRATION}
    bench = Judge(now, of[0], today=TODAY, **rest)
    bench.audit()
    for change, which, days, data in steps:
        # Some DaemonSets stay the very objects they were, as those do that no watch told anything of.
        there = {item.key: item for item in now.daemon_sets}
        others = change.pop("daemon_sets", now.daemon_sets)
        kept = data.draw(st.sets(st.sampled_from(sorted(there)))) if there else set()
        chosen = {item.key: item for item in others} | {key: there[key] for key in kept}
        now = replace(now, daemon_sets=tuple(chosen.values()), **change)
        court, today = of[which % len(of)], TODAY + timedelta(days=days)
        bench = bench.again(now, court, today=today)
        anew = Judge(now, court, today=today, **rest)
        assert bench.audit() == anew.audit() == judge(now, court, today=today, **rest)
        assert [sums.total for sums in bench.sums] == [sums.total for sums in anew.sums]
        assert [sums.worst_node for sums in bench.sums] == [sums.worst_node for sums in anew.sums]
