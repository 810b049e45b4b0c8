"""Shapes of the judgement: growth never makes it milder, order never matters, nothing makes it fail."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from policy_samples import MIB, audit, budget, declared, fleet
from watchbudget.api.budget import WatchBudget
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES
from watchbudget.inventory.fleet import Census, Container, DaemonSet, ResourceCensus, UpdateStrategy
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
