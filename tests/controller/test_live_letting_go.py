"""How pods are let go that nobody gives permits to: not before `maxHold`, and slowly, by several replicas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from operator_process import NAMESPACE as OURS
from replicas import Replica, moment, received, writes
from staged import ACCOUNTS, LABEL, Raw, Staged, agent, eventually, install
from watchbudget.localcluster import LocalCluster

NODES = 30
PER_SECOND = 5
MAX_HOLD = 10.0
SOON = 5.0
LATE = 0.4
JUDGED = "watchbudget_last_judgement_timestamp_seconds"
NO_LEASE: Raw = {"rules": []}
MERGE = {"Content-Type": "application/merge-patch+json"}
BUDGET = {
    "apiVersion": "watchbudget.io/v1alpha1",
    "kind": "WatchBudget",
    "metadata": {"name": "staged"},
    "spec": {"rollout": {"maxHold": f"{MAX_HOLD:.0f}s"}},
}


@pytest.fixture
def standbys(control_plane: None) -> Iterator[tuple[LocalCluster, list[Replica]]]:
    """Two replicas that may not have the Lease."""
    with LocalCluster() as cluster, ExitStack() as stack:
        cluster.add_nodes(NODES)
        cluster.apply(ACCOUNTS)
        replicas = [Replica(cluster, installed=True, name=name) for name in ("one", "two")]
        install(cluster, replicas[0].port)
        role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{OURS}/roles/watchbudget"
        cluster.request("PATCH", role, NO_LEASE, headers=MERGE)
        cluster.apply(json.dumps(BUDGET))
        for replica in replicas:
            stack.push(replica).start()
        for replica in replicas:
            eventually(lambda replica=replica: replica.metric(JUDGED), "it knows the budget")  # type: ignore[misc]
        yield cluster, replicas


def born_held(name: str) -> Raw:
    """An agent whose pods are held by their template: no webhook holds what nobody could release."""
    raw = agent(name, schedulingGates=[{"name": LABEL}])
    raw["spec"]["template"]["metadata"]["labels"][LABEL] = "held"
    return raw


def test_five_a_second_however_many_replicas(standbys: tuple[LocalCluster, list[Replica]]):
    """Both choose the oldest, and each counts what the other has let go.

    Counted when the API server gets the patches: some of one second's may come a little later than others.
    """
    cluster, replicas = standbys
    staged = Staged(cluster, replicas[0])
    begun = moment().timestamp()
    staged.apply(born_held("agent"))
    eventually(lambda: len(staged.held()) == NODES, "all are held")
    born = moment().timestamp()
    eventually(lambda: len(staged.started("agent")) == NODES, "all are let go")
    patches = [each for each in writes(cluster) if each["objectRef"]["resource"] == "pods"]
    times = sorted(received(each).timestamp() for each in patches)
    print([round(time - begun, 2) for time in times])
    assert len(times) == NODES
    assert begun + MAX_HOLD <= times[0] <= born + MAX_HOLD + SOON
    for first, beyond in zip(times, times[PER_SECOND:], strict=False):
        assert beyond - first > 1 - LATE
    assert times[-1] - times[0] > NODES / PER_SECOND - 1 - LATE
    assert staged.unmarked()
    for metric in ("watchbudget_leading", "watchbudget_leader_known"):
        assert all(replica.metric(metric) == 0 for replica in replicas)
