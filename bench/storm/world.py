"""The cluster the storms happen in: its objects, and the way back to a clean beginning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from storm.objects import BYSTANDERS, NAMESPACE, SETUP, daemon_set
from storm.scenarios import Change, Scenario
from waiting import wait_until
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.localcluster.components import UNPACED, UNPACED_QPS
from watchbudget.localcluster.play.bystander import Client

__all__ = ["FLAGS_TOLD", "World", "agents_of", "build"]

FLAGS_TOLD = (
    f"kube-controller-manager and kube-scheduler with --kube-api-qps={UNPACED_QPS} (defaults: 20 and 50), "
    "KWOK with 32 pods at a time (default 4): otherwise these would pace the storm"
)

PATIENCE = 120.0
"""Seconds for the cluster to be ready for the next scenario, each step of it."""

_POLICIES = "/apis/networking.k8s.io/v1/namespaces/wb-seed-00001/networkpolicies"
_SEEDED = {
    "namespaces": "/api/v1/namespaces/wb-seed-00001",
    "networkpolicies": f"{_POLICIES}/wb-seed-00001",
}


def agents_of(scenario: Scenario) -> tuple[str, ...]:
    """Return the names of a scenario's DaemonSets, which are those of their service accounts."""
    return ("agent-a", "agent-b")[: scenario.daemon_sets]


@dataclass
class World:
    """A running cluster with everything in it that all scenarios share.

    Attributes:
        cluster: The control plane.
        nodes: How many there are between scenarios.
        resources: What the agents list.
        start: Seconds from a pod's binding until its container runs, drawn evenly from this range.
    """

    cluster: LocalCluster
    nodes: int
    resources: tuple[str, ...]
    start: tuple[float, float]

    def tokens(self) -> dict[str, str]:
        """Return a fresh token for each agent's account."""
        return {name: self.cluster.token(NAMESPACE, name) for name in ("agent-a", "agent-b")}

    def bystanders(self) -> tuple[Client, ...]:
        """Return one in the agents' priority level (workload-low), one in another (global-default)."""
        admin = self.cluster.layout.pair("admin")
        path = f"/api/v1/namespaces/{BYSTANDERS}/configmaps"
        token = self.cluster.token(BYSTANDERS, "bystander")
        return (
            Client(name="same level", config_map=f"{path}/same-level", token=token),
            Client(name="other level", config_map=f"{path}/other-level", pair=(admin.certificate, admin.key)),
        )

    def reset(self) -> None:
        """Remove what a scenario left, and start the API server anew.

        Anew, because a Go process that has once grown keeps much of its memory: the second storm would seem
        to need none. Ready again when a DaemonSet created for the purpose has run and is gone.
        """
        self.cluster.kubectl("delete", "daemonsets", "--all", f"--namespace={NAMESPACE}", "--wait=true")
        wait_until(lambda: not self._pods(), "the last scenario's pods are gone", PATIENCE)
        names = self.node_names()
        for name in names[self.nodes :]:
            self.cluster.request("DELETE", f"/api/v1/nodes/{name}")
        self.cluster.stop_component("kube-apiserver")
        self.cluster.start_component("kube-apiserver")
        self.cluster.apply(daemon_set("canary", "1", node=names[0]))
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/canary"
        ready: Callable[[], bool] = lambda: bool(  # noqa: E731
            self.cluster.request("GET", path).json()["status"].get("numberReady")
        )
        wait_until(ready, "controller manager, scheduler and KWOK work with the new API server", PATIENCE)
        self.cluster.request("DELETE", path)
        wait_until(lambda: not self._pods(), "the canary's pod is gone", PATIENCE)
        self._let_sizes_be_known()

    def node_names(self) -> list[str]:
        """Return the nodes' names, in order."""
        return sorted(each["metadata"]["name"] for each in self._list("/api/v1/nodes"))

    def priced(self) -> list[tuple[str, str]]:
        """Return resource and group of everything the agents list."""
        groups = {"namespaces": "", "networkpolicies": "networking.k8s.io"}
        return [(resource, groups[resource]) for resource in self.resources]

    def install(self, scenario: Scenario) -> None:
        """Create the scenario's DaemonSets."""
        for name in agents_of(scenario):
            self.cluster.apply(daemon_set(name, scenario.max_unavailable, self.resources, self.start))

    def change(self, scenario: Scenario) -> None:
        """Begin the storm."""
        if scenario.change is Change.INSTALL:
            self.install(scenario)
        elif scenario.change is Change.JOIN:
            self.cluster.add_nodes(self.joining(scenario))
        else:
            patch = {"spec": {"template": {"metadata": {"annotations": {"storm/revision": "2"}}}}}
            for name in agents_of(scenario):
                self.cluster.request(
                    "PATCH",
                    f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{name}",
                    patch,
                    headers={"Content-Type": "application/merge-patch+json"},
                )

    def joining(self, scenario: Scenario) -> int:
        """Return how many nodes join."""
        return self.nodes // 3 if scenario.change is Change.JOIN else 0

    def new_pods(self, scenario: Scenario) -> int:
        """Return how many pods will be started by the change."""
        return (self.joining(scenario) or self.nodes) * scenario.daemon_sets

    def refused_by_fairness(self) -> float:
        """Return how many requests priority and fairness has refused since the API server began."""
        name = "apiserver_flowcontrol_rejected_requests_total{"
        lines = (line for line in self.cluster.metrics().splitlines() if line.startswith(name))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def _let_sizes_be_known(self) -> None:
        """Change one object of each priced resource: after its start an API server knows no sizes otherwise.

        It takes them from what is written and watched, not from what it loads at its start (v1.36.3).
        """
        patch = {"metadata": {"annotations": {"storm/at": str(time.time())}}}
        merge = {"Content-Type": "application/merge-patch+json"}
        for resource, group in self.priced():
            self.cluster.request("PATCH", _SEEDED[resource], patch, headers=merge)
            unknown = f'apiserver_resource_size_estimate_bytes{{group="{group}",resource="{resource}"}} -1\n'
            while unknown in self.cluster.metrics():
                time.sleep(0.5)

    def _pods(self) -> list[Any]:
        return self._list(f"/api/v1/namespaces/{NAMESPACE}/pods")

    def _list(self, path: str) -> list[Any]:
        return self.cluster.request("GET", path).json()["items"] or []


@contextmanager
def build(
    *,
    nodes: int,
    namespaces: int,
    policies: bool,
    start: tuple[float, float],
    processors: int | None,
    told: Callable[[str], None],
) -> Iterator[World]:
    """Start a cluster and fill it; everything ends with the block.

    Args:
        nodes: How many there are between scenarios.
        namespaces: How many are seeded.
        policies: Whether each has a network policy, which agents list, too.
        start: Seconds from a pod's binding until its container runs.
        processors: GOMAXPROCS of the API server; None: as many as the machine has.
        told: Progress, one line each.
    """
    procs = {} if processors is None else {"kube-apiserver": {"GOMAXPROCS": str(processors)}}
    # No account for each of 10,000 namespaces: that would be another storm, of writes.
    with LocalCluster(
        service_accounts=False, extra_flags=UNPACED, environment=procs, progress=told
    ) as cluster:
        cluster.add_nodes(nodes)
        told(f"Seeding {namespaces:,} namespaces" + (", a network policy in each" if policies else ""))
        cluster.seed(namespaces=namespaces, network_policies_per_namespace=int(policies))
        cluster.wait_until_counted()
        cluster.apply(SETUP)
        resources = ("namespaces", "networkpolicies") if policies else ("namespaces",)
        yield World(cluster, nodes, resources, start)
