"""What is deleted while its pods are held takes neither permits nor places in the queue along."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from operator_process import OperatorProcess
from staged import (
    FEW,
    NAMESPACE,
    SOON,
    WHEN_PLAYED,
    Raw,
    Staged,
    agent,
    eventually,
    is_gated,
    names,
    one_test,
    paced_cluster,
    runs,
)
from watchbudget.localcluster import LocalCluster


@pytest.fixture(scope="module")
def running(control_plane: None) -> Iterator[tuple[LocalCluster, OperatorProcess]]:
    with paced_cluster(FEW) as running:
        yield running


@pytest.fixture
def staged(running: tuple[LocalCluster, OperatorProcess]) -> Iterator[Staged]:
    with one_test(*running) as staged:
        yield staged


def bound_for(pod: Raw) -> str:
    """The only node that a DaemonSet's pod may run on."""
    [term] = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    [field] = term["matchFields"]
    [name] = field["values"]
    return str(name)


def starts(staged: Staged) -> tuple[int, int]:
    """How many start and how many are held, by the leader's books."""
    metric = staged.operator.metric
    return int(metric("watchbudget_starts_in_flight")), int(metric("watchbudget_starts_held"))


def test_nodes_that_are_deleted_while_their_pods_are_held(staged: Staged):
    """The DaemonSet controller takes such pods away when it next looks at the DaemonSet."""
    staged.budget(maxConcurrentStarts=1)
    joined = set(staged.cluster.add_nodes(4))
    staged.apply(agent("agent", pods=WHEN_PLAYED))
    eventually(lambda: len(staged.permitted("agent")) == 1, "one starts")
    eventually(lambda: len(staged.held("agent")) == FEW + 3, "the others are held")
    held = {pod["metadata"]["name"]: bound_for(pod) for pod in staged.held("agent") if is_gated(pod)}
    gone = {name for name, node in held.items() if node in joined}
    assert len(gone) >= 3
    eventually(lambda: starts(staged) == (1, len(held)), "that is in the books")
    staged.cluster.kubectl("delete", "node", *(held[name] for name in gone))

    def ended() -> bool:
        staged.play(*(pod for pod in staged.permitted("agent") if runs(pod)))
        return staged.done("agent", FEW + 4 - len(gone))

    eventually(ended, "all others start")
    assert gone.isdisjoint(names(staged.pods("agent")))
    assert staged.released("agent") >= held.keys() - gone
    assert staged.in_flight(ready_at=2) == 1
    eventually(lambda: starts(staged) == (0, 0), "nobody waits for them")


def test_a_daemonset_that_is_deleted_while_its_pods_are_held(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    staged.apply(agent("gone", nodes="few", pods=WHEN_PLAYED))
    eventually(lambda: len(staged.permitted("gone")) == 1, "one starts")
    eventually(lambda: len(staged.held("gone")) == FEW - 1, "the others are held")
    staged.apply(agent("stays", nodes="few", pods=SOON))
    eventually(lambda: len(staged.held("stays")) == FEW, "those wait for the same permit")
    assert all(map(is_gated, staged.held()))
    assert staged.released("stays") == set()
    staged.cluster.kubectl("delete", "ds", "gone", "-n", NAMESPACE, "--wait=false")
    eventually(lambda: staged.done("stays", FEW), "the permit goes to those")
    assert staged.pods("gone") == []
    assert len(staged.released("gone")) == 1
    assert staged.in_flight() == 1
    eventually(lambda: starts(staged) == (0, 0), "nothing of it is in the books")
