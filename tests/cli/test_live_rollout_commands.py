"""`watchbudget rollout` and `watchbudget uninstall` against the operator as installed, and without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from live_cluster import make_auditor
from operator_process import OperatorProcess
from staged import (
    CRASH,
    FEW,
    LABEL,
    NAMESPACE,
    PLAYED,
    SOON,
    Staged,
    agent,
    eventually,
    one_test,
    paced_cluster,
)
from watchbudget.cli import rollout, uninstall
from watchbudget.controller.looked import RESUMED
from watchbudget.localcluster import LocalCluster
from watchbudget.rollout.gate import PAUSED


@pytest.fixture(scope="module")
def running(control_plane: None) -> Iterator[tuple[LocalCluster, OperatorProcess]]:
    with paced_cluster(FEW) as running:
        yield running


@pytest.fixture
def staged(running: tuple[LocalCluster, OperatorProcess]) -> Iterator[Staged]:
    with one_test(*running) as staged:
        yield staged


def run(staged: Staged, *arguments: str, kubeconfig: Path | None = None) -> Result:
    reach = ["--kubeconfig", str(kubeconfig or staged.cluster.kubeconfig)]
    return CliRunner().invoke(rollout.command, [*arguments, *reach], env={"COLUMNS": "160"})


def told(staged: Staged, *arguments: str) -> dict[str, Any]:
    result = run(staged, "status", "-o", "json", *arguments)
    assert result.exit_code == 0, result.output
    state: dict[str, Any] = json.loads(result.stdout)
    return state


def annotations(staged: Staged, name: str) -> dict[str, str]:
    found: dict[str, str] = staged.daemon_set(name)["metadata"].get("annotations", {})
    return found


def test_a_budget_is_paused_seen_and_resumed(staged: Staged):
    staged.budget()
    assert "No pod is held or starting" in run(staged, "status").stdout
    assert run(staged, "pause", "--budget", "staged", "--reason", "incident 4711").exit_code == 0
    eventually(lambda: staged.status()["starts"].get("pausedReason") == "BudgetPaused", "it is followed")
    staged.apply(agent("agent", pods=SOON))
    eventually(lambda: len(staged.held("agent")) == FEW, "all are held")
    eventually(lambda: staged.status()["starts"].get("held") == FEW, "and reported")

    state = told(staged)
    assert state["leader"] == "one"
    [its] = state["daemonSets"]
    assert (its["name"], its["nodes"], its["held"], its["inFlight"], its["done"]) == (
        "agent",
        FEW,
        FEW,
        0,
        False,
    )
    shown = run(staged, "status").stdout
    for part in ("staged", "BudgetPaused", "agents/agent", "incident 4711", "Permits are given by one."):
        assert part in shown

    resumed = run(staged, "resume", "--all")
    assert (resumed.exit_code, resumed.stderr) == (0, "budget staged goes on\n")
    watched = run(staged, "status", "agents/agent", "--watch")  # until it is done
    assert watched.exit_code == 0
    assert "100%" in watched.stdout
    eventually(lambda: staged.done("agent", FEW), "their labels are gone, too")
    assert told(staged, "ds/agent", "-n", NAMESPACE)["daemonSets"][0]["done"]


def test_a_daemonset_is_paused_and_its_pods_released_all_the_same(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    staged.apply(agent("agent", pods={PLAYED: "external"}))
    eventually(lambda: staged.permitted("agent"), "one starts")
    assert run(staged, "pause", "ds/agent", "-n", NAMESPACE).exit_code == 0
    assert annotations(staged, "agent")[PAUSED] == "true"
    eventually(lambda: staged.rollout("agent").get("pausedReason") == "Paused", "it is paused")
    assert "paused by annotation" in run(staged, "status").stdout
    result = run(staged, "release", "ds/agent", "-n", NAMESPACE)
    assert result.exit_code == 0, result.output
    assert f"{FEW - 1} pods were held; none could not be freed." in result.stderr
    assert not staged.held("agent")
    assert "No pod is held" in run(staged, "release", "--all").stderr
    assert run(staged, "resume", "agents/agent").exit_code == 0
    assert PAUSED not in annotations(staged, "agent")
    assert RESUMED not in annotations(staged, "agent")  # nothing had failed


def test_a_pause_for_failures_is_resumed_for_that_revision(staged: Staged):
    staged.budget(maxConcurrentStarts=3)
    staged.apply(agent("broken", pods={CRASH: "true"}))
    eventually(lambda: staged.rollout("broken").get("pausedReason") == "CrashLooping", "it is paused")
    assert "CrashLooping" in run(staged, "status").stdout
    assert run(staged, "pause", "ds/broken", "-n", NAMESPACE).exit_code == 0
    eventually(lambda: staged.rollout("broken").get("pausedReason") == "Paused", "people's word hides it")
    revision = staged.pods("broken")[0]["metadata"]["labels"]["controller-revision-hash"]
    result = run(staged, "resume", "ds/broken", "-n", NAMESPACE)
    assert f"failures of its revision {revision} accepted" in result.stderr
    assert annotations(staged, "broken")[RESUMED] == revision
    eventually(lambda: not staged.held("broken"), "it goes on")


def test_glass_is_broken_without_an_operator(staged: Staged):
    staged.budget(maxHold="1h")
    assert run(staged, "pause", "--all").exit_code == 0
    eventually(lambda: staged.status()["starts"].get("pausedReason") == "BudgetPaused", "it is followed")
    staged.apply(agent("agent"))
    eventually(lambda: len(staged.held("agent")) == FEW, "all are held")

    reader = make_auditor(
        staged.cluster, "reader", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    )
    refused = run(staged, "release", "--all", kubeconfig=reader)
    assert refused.exit_code == 2
    assert 'cannot patch resource "pods"' in refused.stderr
    assert len(staged.held("agent")) == FEW

    staged.operator.kill()
    try:
        result = run(staged, "release", "--all")
        assert result.exit_code == 0, result.output
        eventually(lambda: staged.done("agent", FEW), "they run")
    finally:
        staged.operator.start()
        staged.operator.wait_ready()


def test_the_operator_is_taken_away_and_strands_no_pod(running: tuple[LocalCluster, OperatorProcess]):
    """The last test here: the operator is gone after it."""
    staged = Staged(*running)
    staged.budget(maxHold="1h")
    assert run(staged, "pause", "--all").exit_code == 0
    eventually(lambda: staged.status()["starts"].get("pausedReason") == "BudgetPaused", "it is followed")
    staged.apply(agent("agent"))
    eventually(lambda: len(staged.held("agent")) == FEW, "all are held")

    def take_away(*arguments: str) -> Result:
        reach = ["--kubeconfig", str(staged.cluster.kubeconfig)]
        return CliRunner().invoke(uninstall.command, [*arguments, *reach])

    shown = take_away("--dry-run")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[:3] == [
        "mutatingwebhookconfigurations/watchbudget",
        "validatingwebhookconfigurations/watchbudget",
        f"{FEW} held pods",
    ]
    assert {"leases/watchbudget in watchbudget-system", "namespaces/watchbudget-system"} <= set(lines)
    assert not any("customresourcedefinitions" in line for line in lines)
    assert len(staged.held("agent")) == FEW  # nothing was done

    result = take_away()
    assert result.exit_code == 0, result.output
    eventually(lambda: staged.done("agent", FEW), "they came back, ungated")
    kinds = "clusterrole,clusterrolebinding,validatingadmissionpolicy,flowschema,prioritylevelconfiguration"
    ours = "app.kubernetes.io/part-of=watchbudget"
    assert staged.cluster.kubectl("get", kinds, "-l", ours, "-o", "name").stdout == ""
    assert staged.cluster.kubectl("get", "wb", "-o", "name").stdout.split() == [
        "watchbudget.watchbudget.io/staged"
    ]
    staged.apply(agent("later"))
    eventually(lambda: staged.done("later", FEW), "nobody holds any more")
    assert not any(LABEL in pod["metadata"]["labels"] for pod in staged.pods())

    assert take_away("--all").exit_code == 0
    eventually(
        lambda: staged.cluster.kubectl("get", "wb", check=False).returncode, "their definition is gone"
    )
    again = eventually(lambda: (done := take_away("--all")).stdout == "" and done, "all is gone")
    assert "Nothing of WatchBudget is installed here" in again.stderr
