"""A cluster with a made-up fleet and the operator beside it, for bench/scale_operator.py."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import yaml

from fleets import daemon_sets, rbac
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.localcluster.operator_process import OperatorProcess, install

__all__ = [
    "QUIET",
    "TEAMS",
    "add_pods",
    "count_nodes",
    "fill",
    "judged",
    "operator",
    "pid_of",
    "put_budgets",
    "wait_until",
]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
DAEMON_SETS = "/apis/apps/v1/daemonsets"
PATHS = {
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
}
WATCHES = {"watchbudget.io/watches": '{"namespaces": "all"}'}
"""What every fourth DaemonSet declares, so that there is something to find."""

QUIET = ("clusterrole-aggregation-controller", "namespace-controller")
"""Controllers that run: the one of DaemonSets sends 20 requests a second."""

TEAMS = 50
ACTIONS = ("Audit", "Annotate", "Warn", "Deny")


def create(cluster: LocalCluster, texts: Iterator[str]) -> None:
    """Create manifests as fast as the API server takes them."""

    def each() -> Iterator[tuple[str, object]]:
        for text in texts:
            raw = yaml.load(text, Loader=yaml.CSafeLoader)
            if raw["kind"] == "DaemonSet" and int(raw["metadata"]["name"].rpartition("-")[2]) % 4 == 0:
                raw["metadata"]["annotations"] = WATCHES
            yield PATHS[raw["kind"]].format(namespace=raw["metadata"].get("namespace")), raw

    cluster.admin.create_all(each(), workers=8, on_done=lambda _: None)


def fill(cluster: LocalCluster, count: int) -> None:
    """Namespaces of teams, `count` DaemonSets in them, and a role and a binding for each."""
    for number in range(TEAMS):
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": f"team-{number}"}})
    create(cluster, rbac(count, count * 2))
    create(cluster, daemon_sets(count))


def add_pods(cluster: LocalCluster, nodes: list[str]) -> None:
    """The pods of all DaemonSets on these nodes, as their controller makes them; returns when all run."""
    items = cluster.request("GET", DAEMON_SETS).json()["items"]
    pods = (
        (f"/api/v1/namespaces/{item['metadata']['namespace']}/pods", _pod(item, node))
        for node in nodes
        for item in items
    )
    cluster.admin.create_all(pods, workers=8, on_done=lambda _: None)
    others = "/api/v1/pods?fieldSelector=status.phase!=Running&limit=1"
    wait_until("all pods run", lambda: not cluster.request("GET", others).json()["items"])


def _pod(daemon_set: dict[str, Any], node: str) -> dict[str, Any]:
    metadata, template = daemon_set["metadata"], daemon_set["spec"]["template"]
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "metadata": {
            "name": f"{metadata['name']}-{node}",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"] | {"nodeName": node, "tolerations": [{"operator": "Exists"}]},
    }


def count_nodes(cluster: LocalCluster, nodes: int) -> None:
    """Say of every DaemonSet that it should run on so many nodes: its controller takes minutes for that."""
    status = {"observedGeneration": 1, "desiredNumberScheduled": nodes, "numberReady": nodes}
    status |= {"currentNumberScheduled": nodes, "numberMisscheduled": 0, "numberAvailable": nodes}

    def put(item: dict[str, Any]) -> None:
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        path = f"{PATHS['DaemonSet'].format(namespace=namespace)}/{name}/status"
        headers = {"Content-Type": "application/merge-patch+json"}
        cluster.request("PATCH", path, {"status": status}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, cluster.request("GET", DAEMON_SETS).json()["items"]))


def put_budgets(cluster: LocalCluster, count: int) -> None:
    """Budgets that all govern everything, each with limits of its own."""
    budgets = [
        {
            "apiVersion": "watchbudget.io/v1alpha1",
            "kind": "WatchBudget",
            "metadata": {"name": f"budget-{number}"},
            "spec": {
                "enforcement": {"action": ACTIONS[number % 4]},
                "limits": {"cachePerPod": f"{64 + number}Mi"},
            },
        }
        for number in range(count)
    ]
    cluster.apply("\n---\n".join(map(json.dumps, budgets)))


@contextmanager
def operator(
    cluster: LocalCluster, daemon_set_count: int, budgets: int, *options: str
) -> Iterator[tuple[OperatorProcess, float]]:
    """A fresh process that has judged everything, and the seconds from its start until it was ready."""
    process = OperatorProcess(cluster, *options, installed=True)
    install(cluster, process.port)
    if budgets:
        put_budgets(cluster, budgets)
    began = time.monotonic()
    with process:
        ready = time.monotonic() - began
        wait_until("all is judged", lambda: judged(process) == daemon_set_count * budgets)
        yield process, ready


def judged(process: OperatorProcess) -> float:
    """DaemonSets, counted once for each budget."""
    return process.metric("watchbudget_daemonsets")


def pid_of(process: OperatorProcess) -> int:
    if process.process is None:
        raise SystemExit("the operator was not started")
    return process.process.pid


def wait_until(what: str, holds: Callable[[], bool], seconds: float = 1800) -> None:
    """Wait, and tell what for: some of it takes minutes."""
    began = time.monotonic()
    print(f"waiting until {what}", file=sys.stderr)
    while not holds():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"not so after {seconds} s: the figures would mean nothing")
        time.sleep(0.2)
