"""Whose lists the API server shall answer a few at a time, and how a FlowSchema says so."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from policy_samples import CALIBRATION, NOTHING_KNOWN, TODAY, budget, declared, fleet
from watchbudget.api.budget import WatchBudget
from watchbudget.api.resources import DEFAULT_WATCHED
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.policy.judge import Judge
from watchbudget.policy.starts import NODE_CRITICAL
from watchbudget.rollout.queue import MOST_ACCOUNTS, Queue, queue_of, rules_of

PACED = budget("paced", rollout={})


def queue(*items: DaemonSet, of: tuple[WatchBudget, ...] = (PACED,)) -> Queue:
    bench = Judge(fleet(*items), of, today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION)
    return queue_of(bench.appraisals, of)


def test_what_the_gate_holds_lists_in_the_queue():
    item = replace(declared(), service_account="reader")
    found = queue(item)
    assert found.accounts == ((item.namespace, "reader"),)
    assert found.daemon_sets == {item.key}
    assert set(found.resources) == set(DEFAULT_WATCHED)


@pytest.mark.parametrize(
    "other",
    [
        budget("other"),
        budget("other", rollout={"gate": False}),
        budget("other", rollout={"queueLists": False}),
        budget("other", rollout={}, daemonSetSelector={"matchLabels": {"a": "b"}}),
    ],
    ids=["no rollout", "no gate", "no queue", "not governed"],
)
def test_nothing_else_does(other: WatchBudget):
    assert queue(declared(), of=(other,)) == Queue()
    assert queue(declared(), of=(other, PACED)) == queue(declared())


def test_who_uses_no_service_account_cannot_be_told_from_others():
    item = declared()
    reads = replace(item.containers[0], args=("--kubeconfig=/etc/kubernetes/kubelet.conf",))
    assert queue(replace(item, containers=(reads,))) == Queue()


def test_a_network_plugin_is_queued_only_where_it_is_held():
    critical = replace(declared(), priority_class=NODE_CRITICAL)
    assert queue(critical) == Queue()
    assert queue(critical, of=(budget("all", rollout={"gateCritical": True}),)).daemon_sets == {critical.key}


def test_daemon_sets_of_one_account_are_one_subject():
    one, two = replace(declared(), name="one"), replace(declared(), name="two")
    found = queue(one, two)
    assert len(found.accounts) == 1
    assert found.daemon_sets == {one.key, two.key}


def test_only_what_the_budget_prices_is_queued():
    nodes = budget("nodes", rollout={}, resources=[{"group": "", "resource": "nodes"}])
    both = declared(watches='{"namespaces": "all", "nodes": "all"}')
    assert [str(each) for each in queue(both, of=(nodes,)).resources] == ["nodes"]


def test_the_same_fleet_gives_the_same_in_any_order_and_no_more_than_a_flow_schema_should_hold():
    items = [replace(declared(), name=f"a{n}", service_account=f"a{n:03}") for n in range(MOST_ACCOUNTS + 5)]
    found = queue(*items)
    assert found == queue(*reversed(items))
    assert len(found.accounts) == len(found.daemon_sets) == MOST_ACCOUNTS
    assert ("logging", f"a{MOST_ACCOUNTS:03}") not in found.accounts


def test_without_anybody_the_flow_schema_matches_nothing():
    assert rules_of(Queue()) == []


def test_a_rule_names_accounts_and_lists_and_watches_of_everything():
    (rule,) = rules_of(queue(declared()))
    account = {"namespace": "logging", "name": "agent"}
    assert rule["subjects"] == [{"kind": "ServiceAccount", "serviceAccount": account}]
    common: dict[str, Any] = {"verbs": ["list", "watch"], "clusterScope": True, "namespaces": ["*"]}
    assert rule["resourceRules"] == [
        {"apiGroups": [""], "resources": ["namespaces"], **common},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], **common},
    ]
