"""No pod stays held, and no more start than may, whatever happens to the operator and what it needs."""

from __future__ import annotations

import base64
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller_reviews import now
from operator_process import NAMESPACE as OURS
from operator_process import USER, OperatorProcess, manifests
from staged import (
    ACCOUNTS,
    FEW,
    NAMESPACE,
    NEWER,
    SOON,
    WHEN_PLAYED,
    Staged,
    agent,
    eventually,
    install,
    is_ready,
    paced_cluster,
)
from watchbudget.controller import tls
from watchbudget.localcluster import LocalCluster

NODES = 20
MUTATING = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/watchbudget"
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def running(control_plane: None) -> Iterator[tuple[LocalCluster, OperatorProcess]]:
    with paced_cluster(NODES) as running:
        yield running


@pytest.fixture
def staged(running: tuple[LocalCluster, OperatorProcess]) -> Iterator[Staged]:
    """Everything installed, the operator running and leading."""
    cluster, operator = running
    if operator.process is None or operator.process.poll() is not None:
        operator.start()
    operator.signal(signal.SIGCONT)
    operator.wait_ready()
    install(cluster, operator.port)
    cluster.apply(ACCOUNTS)
    eventually(lambda: operator.metric("watchbudget_leading") == 1, "it leads")
    eventually(lambda: all(bundles(cluster)), "the API server trusts the webhooks")
    staged = Staged(cluster, operator)
    yield staged
    if operator.process.poll() is None:
        staged.tell()
        staged.clear()


def bundles(cluster: LocalCluster) -> list[str]:
    webhooks = cluster.request("GET", MUTATING).json()["webhooks"]
    return [webhook["clientConfig"].get("caBundle", "") for webhook in webhooks]


def held_behind(staged: Staged, name: str, **rollout: object) -> None:
    """Have all pods of an agent held but one, which starts for as long as nobody plays it."""
    staged.budget(maxConcurrentStarts=1, **rollout)
    staged.apply(agent(name, pods=WHEN_PLAYED))
    eventually(lambda: len(staged.permitted(name)) == 1, "one starts")
    eventually(lambda: len(staged.held(name)) == NODES - 1, "the others wait")


def starts_ungated(staged: Staged, name: str) -> None:
    """That pods which are created now start, without anybody's help."""
    staged.apply(agent(name, nodes="few"))
    eventually(lambda: len(staged.started(name)) == FEW, "pods start")
    assert len(staged.released(name)) == 0
    assert staged.pods(name, "held") == staged.pods(name, "permitted") == []


def is_held(staged: Staged, name: str) -> None:
    """That pods which are created now are held, and get their permits."""
    staged.apply(agent(name, nodes="few"))
    eventually(lambda: staged.done(name, FEW), "all start")
    assert len(staged.released(name)) == FEW


def test_a_killed_operator_loses_nothing(staged: Staged):
    staged.budget(maxConcurrentStarts=2, settle="1s", maxHold="1m")  # longer than until a new leader
    staged.apply(agent("agent", pods=SOON))
    eventually(lambda: len(staged.started("agent")) >= 4, "some have started")
    staged.operator.kill()  # -9
    assert len(staged.held("agent")) > NODES // 2
    starts_ungated(staged, "other")  # nobody lives who could hold it
    waiting = len(staged.held("agent"))
    staged.operator.start()
    eventually(lambda: staged.done("agent", NODES), "it goes on to the end")
    assert waiting > NODES // 2
    assert {len(story.patched) for story in staged.stories("agent").values()} == {2}
    assert 1 <= staged.in_flight("agent", settle=1) <= 2
    assert len(staged.released("other")) == 0


def test_another_replica_goes_on(staged: Staged):
    """The first ends in peace, the second leads; then that is stopped, and comes back too late."""
    first = staged.operator
    with OperatorProcess(staged.cluster, installed=True, name="second") as second:
        one_by_one(staged, "agent")
        assert first.stop() == 0
        eventually(lambda: second.metric("watchbudget_leading") == 1, "the second leads")
        first.start()
        first.wait_ready()
        next_starts(staged, "agent")

        second.signal(signal.SIGSTOP)
        eventually(lambda: first.metric("watchbudget_leading") == 1, "the first leads again")
        next_starts(staged, "agent")
        second.signal(signal.SIGCONT)
        to_the_end(staged, "agent")
        assert second.metric("watchbudget_leading") == 0
    assert {len(story.patched) for story in staged.stories("agent").values()} == {2}
    assert staged.in_flight("agent", ready_at=2) == 1


def one_by_one(staged: Staged, name: str) -> None:
    """Have an agent's pods start one by one, each when the one before is played."""
    staged.budget(maxConcurrentStarts=1, maxHold="5m", permitTimeout="10m")
    staged.apply(agent(name, nodes="few", pods=WHEN_PLAYED))
    eventually(lambda: len(staged.permitted(name)) == 1, "one starts")
    eventually(lambda: len(staged.held(name)) == FEW - 1, "the others wait")


def next_starts(staged: Staged, name: str) -> None:
    """That the one which starts can end, and another begins."""
    before = len(staged.released(name))
    staged.play(*staged.permitted(name))
    eventually(lambda: len(staged.released(name)) == before + 1, "the next starts")


def to_the_end(staged: Staged, name: str) -> None:
    """Play all that start, until all have."""

    def ended() -> bool:
        staged.play(*staged.permitted(name))
        return staged.done(name, FEW)

    eventually(ended, "all have started", 180)


def test_an_operator_that_hangs_holds_nobody(staged: Staged):
    held_behind(staged, "agent")
    install(staged.cluster, staged.operator.port, patience=1)
    staged.operator.signal(signal.SIGSTOP)
    starts_ungated(staged, "other")
    staged.operator.signal(signal.SIGCONT)
    staged.play(*staged.permitted("agent"))
    eventually(lambda: len(staged.released("agent")) == 2, "it goes on where it was")


def test_without_a_leader_the_oldest_are_let_go_slowly_and_no_others_are_held(staged: Staged):
    held_behind(staged, "agent", permitTimeout="10s")
    binding = ("rolebinding", "watchbudget", "-n", OURS)
    staged.cluster.kubectl("delete", *binding)  # the Lease cannot be renewed
    eventually(lambda: staged.operator.metric("watchbudget_leading") == 0, "nobody leads")
    eventually(lambda: not staged.held("agent"), "all are let go")
    stories = staged.stories("agent").values()
    assert [len(story.patched) for story in stories] == [1] * NODES  # one had a permit
    let_go = sorted(story.patched[0] for story in stories)[1:]
    # Five a second: the last of nineteen goes three seconds after the first, or later.
    assert let_go[-1] - let_go[0] > 2.5
    eventually(lambda: len(staged.running("agent")) == NODES, "all run")
    starts_ungated(staged, "other")


@pytest.mark.parametrize("how", ["deleted", "gate: false", "unselective"])
def test_a_budget_that_does_not_gate_any_more_frees_what_it_held(staged: Staged, how: str):
    held_behind(staged, "agent")
    if how == "deleted":
        staged.cluster.kubectl("delete", "wb", "staged")
    elif how == "gate: false":
        staged.budget(gate=False)
    else:
        staged.budget(selector={"matchLabels": {"no": "such"}})
    eventually(lambda: not staged.held("agent"), "all are freed")
    staged.play(*staged.permitted("agent"))
    eventually(staged.unmarked, "no label is left")
    eventually(lambda: len(staged.running("agent")) == NODES, "all run")
    starts_ungated(staged, "other")


def test_without_the_webhook_pods_start(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    staged.cluster.request("DELETE", MUTATING)
    starts_ungated(staged, "agent")
    install(staged.cluster, staged.operator.port)
    eventually(lambda: all(bundles(staged.cluster)), "the operator puts its CA in")
    is_held(staged, "other")


def test_with_a_certificate_that_nobody_trusts_pods_start_until_it_is_mended(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    ours = bundles(staged.cluster)
    other = base64.b64encode(tls.create(["127.0.0.1"], now()).ca_certificates).decode()
    binding = "clusterrolebinding/watchbudget-certificates"
    staged.cluster.kubectl("delete", binding)  # it would mend it within seconds
    eventually(lambda: not may_mend(staged), "that is in force")
    patch = [
        {"op": "replace", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": other}
        for index in range(len(ours))
    ]
    staged.cluster.request("PATCH", MUTATING, patch, headers=JSON_PATCH)
    starts_ungated(staged, "agent")
    install(staged.cluster, staged.operator.port)
    eventually(lambda: bundles(staged.cluster) == ours, "it is mended")
    is_held(staged, "other")


def may_mend(staged: Staged) -> bool:
    what = ["patch", "mutatingwebhookconfigurations/watchbudget", f"--as={USER}"]
    return staged.cluster.kubectl("auth", "can-i", *what, check=False).stdout.strip() == "yes"


def test_what_is_changed_or_deleted_while_it_is_held_is_no_matter(staged: Staged):
    held_behind(staged, "agent")
    held = {pod["metadata"]["name"] for pod in staged.held("agent")}
    newer = agent("agent", pods=SOON)
    newer["spec"]["template"]["spec"]["containers"][0]["image"] = NEWER
    staged.apply(newer, agent("gone", pods=SOON))
    eventually(
        lambda: held.isdisjoint(each["metadata"]["name"] for each in staged.pods()), "they are replaced"
    )
    staged.cluster.kubectl("delete", "ds", "gone", "-n", NAMESPACE, "--wait=false")
    joined = staged.cluster.add_nodes(2)
    staged.cluster.kubectl("delete", "node", *joined)
    eventually(lambda: staged.done("agent", NODES, NEWER), "all have started")
    eventually(lambda: not staged.pods("gone"), "the others are gone")
    assert staged.in_flight() == 1
    # Status of starts is written every ten seconds at most.
    eventually(lambda: staged.status()["starts"]["inFlight"] == 0, "nothing is in flight")


def test_a_namespace_that_is_deleted_takes_its_pods_along(staged: Staged):
    held_behind(staged, "agent")
    staged.cluster.kubectl("delete", "namespace", NAMESPACE)
    eventually(lambda: counts(staged) == (0, 0), "nothing is held or starts any more")
    staged.cluster.apply(ACCOUNTS)
    is_held(staged, "other")


def counts(staged: Staged) -> tuple[int, int]:
    starts = staged.status()["starts"]
    return starts["inFlight"], starts.get("held", 0)


def test_an_api_server_that_restarts_and_an_etcd_that_hangs_do_no_harm(staged: Staged):
    one_by_one(staged, "agent")
    staged.cluster.stop_component("kube-apiserver")
    staged.cluster.start_component("kube-apiserver")
    next_starts(staged, "agent")
    staged.cluster.pause("etcd")
    try:
        eventually(lambda: staged.operator.metric("watchbudget_leading") == 0, "nobody leads any more")
    finally:
        staged.cluster.resume("etcd")
    next_starts(staged, "agent")
    to_the_end(staged, "agent")
    assert {len(story.patched) for story in staged.stories("agent").values()} == {2}
    assert staged.in_flight("agent", ready_at=2) == 1


def test_a_scheduler_that_hangs_is_not_given_ever_more_pods(staged: Staged):
    """They would all start at once when it goes on."""
    staged.budget(maxConcurrentStarts=1, settle="1s")
    staged.cluster.pause("kube-scheduler")
    try:
        staged.apply(agent("agent", nodes="few", pods=SOON))
        eventually(lambda: len(staged.permitted("agent")) == 1, "one is released")
        time.sleep(20)  # a pod that no node takes gives its permit back after 15
    finally:
        staged.cluster.resume("kube-scheduler")
    eventually(lambda: staged.done("agent", FEW), "all have started")
    assert staged.in_flight("agent", settle=1) == 1


def test_a_pause_outlives_the_operator(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    staged.apply(agent("agent", nodes="few", pods=SOON, annotations={"watchbudget.io/paused": "true"}))
    eventually(lambda: len(staged.held("agent")) == FEW, "all are held")
    staged.operator.kill()
    staged.operator.start()
    staged.operator.wait_ready()
    eventually(
        lambda: staged.operator.metric("watchbudget_leading") == 1, "it leads again"
    )  # maxHold is over
    eventually(lambda: staged.rollout("agent").get("pausedReason") == "Paused", "it is shown")
    assert len(staged.released("agent")) == 0
    staged.annotate("ds/agent", "watchbudget.io/paused-")
    eventually(lambda: staged.done("agent", FEW), "all start")
    assert staged.in_flight("agent") == 1


def test_the_uninstall_recipe_leaves_nothing_held(staged: Staged):
    held_behind(staged, "agent")
    hooks, pods, rest = uninstalling()
    staged.cluster.kubectl(*hooks)
    staged.cluster.kubectl(*pods)
    eventually(lambda: len(staged.running("agent")) == NODES, "all run")
    assert staged.held() == []
    installed = manifests(staged.cluster, staged.operator.port)
    staged.cluster.kubectl("delete", "--ignore-not-found", "-f", "-", input=installed)
    assert rest[:2] == ["delete", "-k"]
    staged.operator.stop()
    [starting] = [
        pod for pod in staged.pods("agent") if not is_ready(pod) and "watchbudget.io/start" in str(pod)
    ]
    assert starting["status"]["phase"] == "Running"  # a label is all that is left
    staged.cluster.kubectl("delete", "ds", "--all", "-n", NAMESPACE)
    eventually(lambda: not staged.pods(), "the pods are gone")


def uninstalling() -> list[list[str]]:
    """The first three kubectl commands of docs/install.md, section Uninstall."""
    section = (DOCS / "install.md").read_text().partition("## Uninstall")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("kubectl ")]
    words = (
        subprocess.run(["bash", "-c", f"echo {line}"], capture_output=True, text=True, check=True)
        for line in lines
    )
    return [each.stdout.split()[1:] for each in words][:3]
