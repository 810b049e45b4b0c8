"""The second half of `watchbudget demo`: the operator beside the local cluster, and what kubectl says."""

from __future__ import annotations

import time
from contextlib import ExitStack
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from watchbudget.cli.demo_picture import Curve, as_text
from watchbudget.cli.demo_storm import PLAYED, Storms
from watchbudget.localcluster.errors import LocalClusterError
from watchbudget.localcluster.operator_process import OperatorProcess
from watchbudget.localcluster.progress import stderr_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from watchbudget.localcluster.cluster import LocalCluster

__all__ = ["show"]

SETTLE_SECONDS = 30.0
READING_SECONDS = 1.0
"""No one corrects an agent faster. What an answer rests on may be a third of a second old."""

ANOTHER = "vector-edge"

Raw = dict[str, Any]


def show(
    cluster: LocalCluster, console: Console, step: Callable[[Console, str], None]
) -> tuple[Curve, Curve]:
    """Install the operator, let it warn, deny and admit, and roll an agent out with it and without.

    Returns:
        The ungated rollout and the staged one.
    """
    budget, vector = _document("demo_budget.yaml"), _agent("DaemonSet", "vector")
    step(console, "kubectl apply -k manifests/ : the operator, and a budget that warns")
    with ExitStack() as stack:
        with stderr_progress() as steps:
            steps("Starting the operator")
            stack.enter_context(OperatorProcess(cluster))
        _apply(cluster, console, budget)
        _settled(cluster, violating=2)
        _kubectl(cluster, console, "get", "watchbudgets")

        step(console, "Another agent that watches everything is told what it costs")
        config, another = _agent("ConfigMap", ANOTHER), _agent("DaemonSet", ANOTHER)
        _apply(cluster, console, config)
        _apply(cluster, console, another)

        step(console, "The same budget with action: Deny, and the same agent created anew")
        cluster.kubectl("delete", "daemonset", ANOTHER, "-n", "logging")
        budget["spec"]["enforcement"]["action"] = "Deny"
        _apply(cluster, console, budget)
        _settled(cluster, violating=2)
        _apply(cluster, console, another)
        time.sleep(READING_SECONDS)

        step(console, "The agent with the fix that the denial names")
        config["data"]["vector.yaml"] = config["data"]["vector.yaml"].replace(
            "type: kubernetes_logs", "type: kubernetes_logs\n    insert_namespace_fields: false"
        )
        _apply(cluster, console, config)
        _apply(cluster, console, another)
        _settled(cluster, governed=4, violating=2, denied=1)
        _kubectl(cluster, console, "get", "watchbudgets")
        return _storms(cluster, console, step, vector)


def _storms(
    cluster: LocalCluster,
    console: Console,
    step: Callable[[Console, str], None],
    vector: Raw,
) -> tuple[Curve, Curve]:
    """Roll out one agent twice: as fast as the API server can serve, then all at once."""
    template = vector["spec"]["template"]
    template["metadata"]["annotations"] = dict(PLAYED)

    def newer() -> None:
        template["spec"]["containers"][0]["image"] += "-1"
        _apply(cluster, console, vector, only="maxUnavailable lowered")

    storms = Storms(cluster, console, "logging", "vector")
    step(console, "A new image for an agent with maxUnavailable: 100%")
    staged = storms.roll("staged", newer, storms.show_status)
    step(console, "The same once more, and nobody holds it back")
    _kubectl(cluster, console, "delete", "watchbudget", "agents")
    with stderr_progress() as steps:
        ungated = storms.roll("ungated", newer, lambda _: steps("All pods are replaced at once"))
    step(console, "Both rollouts")
    console.print(as_text(ungated, staged))
    return ungated, staged


def _document(name: str) -> Raw:
    text = files("watchbudget.cli").joinpath(name).read_text(encoding="utf-8")
    document: Raw = yaml.safe_load(text)
    return document


def _agent(kind: str, name: str) -> Raw:
    """One of vector's objects, under this name."""
    text = files("watchbudget.cli").joinpath("demo_agents.yaml").read_text(encoding="utf-8")
    named = (each for each in yaml.safe_load_all(text) if each["metadata"]["name"] == "vector")
    document: Raw = next(each for each in named if each["kind"] == kind)
    document["metadata"]["name"] = name
    if kind == "DaemonSet":
        labels, spec = {"app": name}, document["spec"]
        document["metadata"]["labels"] = spec["selector"]["matchLabels"] = labels
        spec["template"]["metadata"]["labels"] = labels
        spec["template"]["spec"]["volumes"][0]["configMap"]["name"] = name
    return document


def _apply(cluster: LocalCluster, console: Console, document: Raw, only: str = "") -> None:
    """Apply and show what is said, of warnings those with a certain text."""
    done = cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump(document), check=False)
    for line in (done.stderr + done.stdout).splitlines():
        if only in line or not line.startswith("Warning:"):
            console.print(line, markup=False, soft_wrap=True)


def _kubectl(cluster: LocalCluster, console: Console, *arguments: str) -> None:
    console.print(f"$ kubectl {' '.join(arguments)}", markup=False, style="dim")
    console.print(cluster.kubectl(*arguments).stdout.rstrip(), markup=False, soft_wrap=True)


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
