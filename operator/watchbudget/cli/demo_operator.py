"""The second half of `watchbudget demo`: the operator beside the local cluster, and what kubectl says."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from watchbudget.localcluster.errors import LocalClusterError
from watchbudget.localcluster.operator_process import OperatorProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from watchbudget.localcluster.cluster import LocalCluster

__all__ = ["show"]

SETTLE_SECONDS = 30.0
ROLLOUT_SECONDS = 180.0

DAEMON_SETS = "/apis/apps/v1/namespaces/logging/daemonsets"


def show(cluster: LocalCluster, console: Console, step: Callable[[Console, str], None]) -> None:
    """Install the operator, and let it warn, deny and admit."""
    budget, vector, config = _document("demo_budget.yaml"), _agent("DaemonSet"), _agent("ConfigMap")
    step(console, "kubectl apply -k manifests/ : the operator, and a budget that warns")
    with OperatorProcess(cluster):
        _apply(cluster, console, budget)
        _settled(cluster, violating=2)
        _kubectl(cluster, console, "get", "watchbudgets")

        step(
            console,
            "Who changes an agent that is in violation is told, and let through",
        )
        changed = copy.deepcopy(vector)
        changed["spec"]["template"]["spec"]["containers"][0]["image"] += "-debian"
        _apply(cluster, console, changed)
        step(console, "It asks for maxUnavailable: 100%; its pods start ten at a time")
        _watch_starts(cluster, console)

        step(console, "The same budget with action: Deny, and a new agent that watches everything")
        budget["spec"]["enforcement"]["action"] = "Deny"
        _apply(cluster, console, budget)
        _settled(cluster, denied=1)
        cluster.kubectl("delete", "daemonset", "vector", "-n", "logging")
        _settled(cluster, violating=1)
        _apply(cluster, console, vector)

        step(console, "The agent with the fix that the denial names, and a memory limit")
        config["data"]["vector.yaml"] = config["data"]["vector.yaml"].replace(
            "type: kubernetes_logs", "type: kubernetes_logs\n    insert_namespace_fields: false"
        )
        _apply(cluster, console, config)
        _apply(cluster, console, vector)
        _settled(cluster, governed=3, violating=1)
        _kubectl(cluster, console, "get", "watchbudgets")


def _document(name: str) -> dict[str, Any]:
    text = files("watchbudget.cli").joinpath(name).read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def _agent(kind: str) -> dict[str, Any]:
    text = files("watchbudget.cli").joinpath("demo_agents.yaml").read_text(encoding="utf-8")
    named = (each for each in yaml.safe_load_all(text) if each["metadata"]["name"] == "vector")
    document: dict[str, Any] = next(each for each in named if each["kind"] == kind)
    return document


def _apply(cluster: LocalCluster, console: Console, document: dict[str, Any]) -> None:
    done = cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump(document), check=False)
    for line in (done.stderr + done.stdout).splitlines():
        console.print(line, markup=False, soft_wrap=True)


def _kubectl(cluster: LocalCluster, console: Console, *arguments: str) -> None:
    console.print(f"$ kubectl {' '.join(arguments)}", markup=False, style="dim")
    console.print(cluster.kubectl(*arguments).stdout.rstrip(), markup=False, soft_wrap=True)


def _watch_starts(cluster: LocalCluster, console: Console) -> None:
    """Show the rollout while it goes on, and what it came to."""
    began, shown = time.monotonic(), False
    while True:
        daemon_set = cluster.request("GET", f"{DAEMON_SETS}/vector").json()
        status = daemon_set["status"]
        counted = status.get("observedGeneration") == daemon_set["metadata"]["generation"]
        updated, ready = status.get("updatedNumberScheduled", 0), status.get("numberReady", 0)
        nodes = status["desiredNumberScheduled"]
        if counted and not shown and nodes // 3 < updated:
            shown = True
            _show_status(cluster, console)
        if counted and updated == ready == nodes:
            break
        if time.monotonic() - began > ROLLOUT_SECONDS:
            raise LocalClusterError(f"The rollout is not done after {ROLLOUT_SECONDS:.0f} s: {status}")
        time.sleep(0.1)
    console.print(f"All {nodes} pods were replaced in {time.monotonic() - began:.0f} s.")


def _show_status(cluster: LocalCluster, console: Console) -> None:
    console.print("$ watchbudget rollout status", markup=False, style="dim")
    argv = [sys.executable, "-m", "watchbudget", "rollout", "status", f"--kubeconfig={cluster.kubeconfig}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    console.print((done.stdout or done.stderr).rstrip(), markup=False, soft_wrap=True)


def _settled(cluster: LocalCluster, **counts: int) -> None:
    """Wait until the budget's status tells these counts: it is written a moment after a judgement."""
    deadline = time.monotonic() + SETTLE_SECONDS
    path = "/apis/watchbudget.io/v1alpha1/watchbudgets/agents"
    while True:
        budget = cluster.request("GET", path).json()
        status = budget.get("status", {})
        current = status.get("observedGeneration") == budget["metadata"]["generation"]
        if current and all(status.get("counts", {}).get(name) == count for name, count in counts.items()):
            return
        if time.monotonic() > deadline:
            raise LocalClusterError(
                f"The budget's status is not {counts} after {SETTLE_SECONDS:.0f} s: {status}"
            )
        time.sleep(0.1)
