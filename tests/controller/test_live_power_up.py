"""A whole cluster that is powered up at once: every node is new, and the operator needs one of them.

The operator's own Deployment, placed by the real scheduler; where a pod of it runs, a real process starts.
Nodes have no network until the pod of a network plugin on them is Ready, which is a governed DaemonSet of
priority class `system-node-critical`. Until then they have the taint that real ones have, and run only pods
of the host's network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import yaml

from operator_process import NAMESPACE as OURS
from operator_process import ROOT, OperatorProcess
from staged import (
    ACCOUNTS,
    MERGE,
    PLAYED,
    SYNCED,
    WHEN_PLAYED,
    Raw,
    Staged,
    agent,
    eventually,
    install,
    is_ready,
    names,
    runs,
)
from watchbudget.localcluster import LocalCluster
from webhook_service import WebhookService

NODES = 5
JOINING = 3
NO_NETWORK = {"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}
CRITICAL = "system-node-critical"


class World:
    """A cluster without nodes, everything installed on it; and what happens on its nodes.

    Attributes:
        processes: of the operator, by uid of the pod that they stand for.
    """

    def __init__(self, cluster: LocalCluster, service: WebhookService) -> None:
        self.cluster, self._service = cluster, service
        self.processes: dict[str, OperatorProcess] = {}
        self._ended = contextlib.ExitStack()
        self.staged = Staged(cluster, OperatorProcess(cluster, installed=True))

    def install(self, overlay: str, **rollout: object) -> None:
        """Apply the operator as this folder of manifests has it, a budget, a network plugin and an agent."""
        install(self.cluster, self._service.port)
        built = self.cluster.kubectl("kustomize", str(ROOT / "manifests" / overlay)).stdout
        ours = {
            each["kind"]: each
            for each in yaml.safe_load_all(built)
            if each["kind"] in ("Namespace", "Deployment")
        }
        template = ours["Deployment"]["spec"]["template"]
        template["metadata"]["annotations"][PLAYED] = "external"
        budget = {
            "apiVersion": "watchbudget.io/v1alpha1",
            "kind": "WatchBudget",
            "metadata": {"name": "staged"},
            "spec": {"rollout": {"maxConcurrentStarts": 1, "settle": "0s", "maxHold": "5m", **rollout}},
        }
        self.cluster.apply(ACCOUNTS)
        self.staged.apply(
            *ours.values(),
            budget,
            agent("network", pods=WHEN_PLAYED, priorityClassName=CRITICAL, hostNetwork=True),
            agent("agent", pods=WHEN_PLAYED),
        )

    def add_nodes(self, count: int) -> list[str]:
        return self.cluster.add_nodes(count, taints=[NO_NETWORK])

    def nodes(self, *, networked: bool) -> set[str]:
        items = self.cluster.request("GET", "/api/v1/nodes").json()["items"]
        return {
            node["metadata"]["name"]
            for node in items
            if networked == all(taint["key"] != NO_NETWORK["key"] for taint in node["spec"].get("taints", []))
        }

    def replicas(self) -> list[Raw]:
        path = f"/api/v1/namespaces/{OURS}/pods"
        found: list[Raw] = self.cluster.request("GET", path).json()["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def goes_on(self) -> None:
        """What kubelets and network plugins do next."""
        networked = self.nodes(networked=True)
        for pod in self.staged.pods():
            if (
                runs(pod)
                and not is_ready(pod)
                and (pod["spec"].get("hostNetwork") or pod["spec"]["nodeName"] in networked)
            ):
                self.staged.play(pod)
        for pod in self.staged.started("network"):
            if (node := pod["spec"]["nodeName"]) not in networked:
                self.cluster.request(
                    "PATCH", f"/api/v1/nodes/{node}", {"spec": {"taints": None}}, headers=MERGE
                )
        for pod in self.replicas():
            if runs(pod) and not is_ready(pod):
                self._run(pod)

    def _run(self, pod: Raw) -> None:
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        if uid not in self.processes:
            process = self.processes[uid] = OperatorProcess(self.cluster, installed=True, name=name)
            self._ended.push(process)
            process.start()
            self._service.backends.append(process.port)
        if self.processes[uid].probe("/readyz")[0] == 200:
            ready = {"metadata": {"annotations": {SYNCED: "true"}}}
            self.cluster.request("PATCH", f"/api/v1/namespaces/{OURS}/pods/{name}", ready, headers=MERGE)

    def is_up(self, nodes: int) -> bool:
        """Whether everything is Ready; after what happens next."""
        self.goes_on()
        return (
            len(self.nodes(networked=True)) == nodes
            and self.staged.done("network", nodes)
            and self.staged.done("agent", nodes)
            and len(self.replicas()) == 2
            and all(map(is_ready, self.replicas()))
        )

    def leads(self) -> bool:
        return any(process.metric("watchbudget_leading") for process in self.processes.values())

    def end(self) -> None:
        self._ended.close()


@pytest.fixture
def world(control_plane: None) -> Iterator[World]:
    with LocalCluster() as cluster, WebhookService() as service:
        world = World(cluster, service)
        try:
            yield world
            for process in world.processes.values():
                print(process.output()[-2000:])
        finally:
            world.end()


def powered_up(world: World) -> None:
    """All nodes at once. Whoever could hold a pod is not there yet."""
    world.add_nodes(NODES)
    eventually(lambda: world.is_up(NODES), "everything is Ready")
    assert len(world.processes) == 2
    assert world.staged.released("network") == world.staged.released("agent") == set()
    eventually(world.leads, "one leads")


def test_network_plugins_wait_for_nobody(world: World):
    world.install("base")
    powered_up(world)
    world.add_nodes(JOINING)
    eventually(lambda: len(world.staged.permitted("agent")) == 1, "one starts")
    eventually(lambda: len(world.staged.held("agent")) == JOINING - 1, "the others are held")
    held = names(world.staged.held("agent"))
    eventually(lambda: world.is_up(NODES + JOINING), "everything is Ready")
    assert held < world.staged.released("agent")
    assert len(world.staged.released("agent")) == JOINING
    assert world.staged.released("network") == set()
    assert world.staged.in_flight(ready_at=2) == 1


def test_network_plugins_that_are_held_do_not_keep_those_away_who_would_release_them(world: World):
    """The worst time: no node that is left has a network, for all their network plugins are held."""
    world.install("overlays/host-network", gateCritical=True)
    powered_up(world)
    first = world.nodes(networked=True)
    world.add_nodes(JOINING)
    [starting] = eventually(lambda: [*filter(runs, world.staged.permitted())], "one starts")
    # Of which of them the DaemonSet controller makes pods first is chance.
    begun = starting["metadata"]["labels"]["app"]
    (other,) = {"network", "agent"} - {begun}
    eventually(lambda: len(world.staged.held(begun)) == JOINING - 1, "all others of it are held")
    eventually(lambda: len(world.staged.held(other)) == JOINING, "and those of the other DaemonSet")
    held = names(world.staged.held())
    lost = {*first, starting["spec"]["nodeName"]}
    for process in world.processes.values():
        process.kill()
    world.cluster.kubectl("delete", "node", *lost)
    for pod in [*world.staged.pods(), *world.replicas()]:
        if pod["spec"].get("nodeName") in lost:
            where = pod["metadata"]["namespace"], pod["metadata"]["name"]
            world.cluster.kubectl("delete", "pod", "-n", *where, "--force", "--wait=false")
    eventually(lambda: world.is_up(JOINING - 1), "everything is Ready")
    assert names(world.staged.pods()) <= held
    assert names(world.staged.pods(begun)) < world.staged.released(begun)
    assert names(world.staged.pods(other)) <= world.staged.released(other)
    assert world.staged.in_flight(ready_at=2) == 1
