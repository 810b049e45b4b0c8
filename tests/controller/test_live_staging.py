"""Staged starts end to end: the operator's process, as installed, with the real controllers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from operator_process import USER, OperatorProcess
from staged import (
    CRASH,
    FEW,
    KEPT,
    LABEL,
    NAMESPACE,
    NEWER,
    ON_DELETE,
    QUIET,
    SOON,
    WATCHES,
    WHEN_PLAYED,
    Raw,
    Staged,
    agent,
    eventually,
    is_gated,
    is_ready,
    one_test,
    paced_cluster,
)
from watchbudget.controller.looked import RESUMED
from watchbudget.localcluster import LocalCluster

NODES = 40
MOST = 8  # of the cluster; what is known of the API server at first allows as many
UNKNOWN = "registry.example.com/unheard-of:1"  # what it does is not known


@pytest.fixture(scope="module")
def running(control_plane: None) -> Iterator[tuple[LocalCluster, OperatorProcess]]:
    with paced_cluster(NODES, f"--max-starts={MOST}") as running:
        yield running


@pytest.fixture
def staged(running: tuple[LocalCluster, OperatorProcess]) -> Iterator[Staged]:
    with one_test(*running) as staged:
        yield staged


def install_ungated(staged: Staged, *agents: Raw) -> None:
    """Have agents run from before there was any budget."""
    staged.apply(*agents)
    for each in agents:
        on = FEW if each["spec"]["template"]["spec"]["nodeSelector"] else NODES
        eventually(lambda name=each["metadata"]["name"], on=on: len(staged.running(name)) == on, "all run")  # type: ignore[misc]
    assert staged.writes("pods") == []
    assert staged.unmarked()


def with_image(raw: Raw, image: str) -> Raw:
    raw["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return raw


def test_a_first_install_starts_a_few_at_a_time(staged: Staged):
    staged.budget(maxConcurrentStarts=6, settle="1s")
    staged.apply(agent("agent", pods=SOON))
    eventually(lambda: staged.held("agent"), "pods are born held")
    assert all(is_gated(pod) for pod in staged.held("agent"))
    eventually(lambda: staged.done("agent", NODES), "all have started")
    assert {len(story.patched) for story in staged.stories("agent").values()} == {2}  # permit and end of each
    assert 1 < staged.in_flight(settle=1) <= 6


def test_others_are_never_held(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    container = {"name": "agent", "image": WATCHES}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "deployment", "namespace": NAMESPACE},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "deployment"}},
            "template": {
                "metadata": {"labels": {"app": "deployment"}},
                "spec": {"containers": [container], "serviceAccountName": "agent"},
            },
        },
    }
    staged.apply(agent("quiet", image=QUIET), deployment)
    eventually(lambda: len(staged.started("quiet")) == NODES, "those that watch nothing start")
    eventually(lambda: len(staged.started("deployment")) == 3, "Deployments' pods start")
    assert staged.writes("pods") == []  # and nobody else lets go of what is held
    assert staged.unmarked()
    assert staged.asked("start.pods.watchbudget.io") == NODES


def level_of_lists(cluster: LocalCluster) -> str:
    """The priority level in which a list of the agents' account is answered, by the answer's header."""
    levels = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"
    names = {
        item["metadata"]["uid"]: str(item["metadata"]["name"])
        for item in cluster.request("GET", levels).json()["items"]
    }
    listed = cluster.client(cluster.token(NAMESPACE, "agent")).request("GET", "/api/v1/namespaces")
    return names[listed.headers["X-Kubernetes-PF-PriorityLevel-UID"]]


def test_their_lists_wait_in_a_queue_of_their_own_as_long_as_a_budget_holds_them(staged: Staged):
    assert level_of_lists(staged.cluster) == "workload-low"
    staged.budget()
    staged.apply(agent("agent", nodes="few", pods=SOON))
    eventually(lambda: level_of_lists(staged.cluster) == "watchbudget-agents", "its account is in the rules")
    eventually(lambda: staged.done("agent", FEW), "all start")
    assert level_of_lists(staged.cluster) == "watchbudget-agents"  # as what restarts in place
    assert staged.operator.metric("watchbudget_queued_daemonsets") == 1
    staged.budget(queueLists=False)
    eventually(lambda: level_of_lists(staged.cluster) == "workload-low", "the budget wants no queue")
    staged.budget()
    eventually(lambda: level_of_lists(staged.cluster) == "watchbudget-agents", "it wants one again")
    staged.cluster.kubectl("delete", "wb", "--all")
    eventually(lambda: level_of_lists(staged.cluster) == "workload-low", "nobody holds it any more")
    assert "cannot be written" not in staged.operator.output()


def test_nodes_that_join_start_theirs_a_few_at_a_time(staged: Staged):
    install_ungated(staged, agent("agent", pods=SOON))
    staged.budget(maxConcurrentStarts=2, settle="1s")
    joined = staged.cluster.add_nodes(8)
    try:
        eventually(lambda: staged.done("agent", NODES + 8), "all have started")
        stories = staged.stories("agent")
        paced = {pod["metadata"]["name"] for pod in staged.pods("agent") if pod["spec"]["nodeName"] in joined}
        assert {name for name, story in stories.items() if story.patched} == paced
        assert 1 <= staged.in_flight("agent", settle=1) <= 2
    finally:
        staged.cluster.kubectl("delete", "node", *joined)


def test_a_fleet_that_is_not_ready_is_replaced_a_few_at_a_time(staged: Staged):
    """The DaemonSet controller deletes all such pods at once, whatever maxUnavailable says."""
    install_ungated(staged, agent("agent", nodes="few", pods=WHEN_PLAYED))
    old = {pod["metadata"]["name"] for pod in staged.pods("agent")}
    staged.budget(maxConcurrentStarts=2, settle="1s")
    staged.apply(agent("agent", nodes="few", pods=SOON))
    eventually(lambda: len(staged.held("agent")) > FEW // 2, "they are replaced at once")
    eventually(lambda: staged.done("agent", FEW), "all have started")
    assert old.isdisjoint(pod["metadata"]["name"] for pod in staged.pods("agent"))
    assert 1 <= staged.in_flight("agent", settle=1) <= 2


def test_a_rollout_leaves_few_nodes_without_their_agent(staged: Staged):
    staged.budget(maxConcurrentStarts=3)
    manifest = agent("agent", nodes="few", pods=SOON)
    said = staged.apply(manifest)
    assert "WatchBudget staged: maxUnavailable lowered from 100% to 3" in said
    eventually(lambda: staged.done("agent", FEW), "all have started")

    before = staged.daemon_set("agent")
    assert before["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == 3
    assert before["metadata"]["annotations"][KEPT] == "100%"
    staged.apply(manifest)
    again = staged.daemon_set("agent")
    assert again["metadata"]["generation"] == before["metadata"]["generation"]
    assert again["metadata"]["annotations"] == before["metadata"]["annotations"]

    staged.apply(with_image(manifest, NEWER))
    eventually(lambda: staged.done("agent", FEW, NEWER), "all have been replaced")
    assert 1 <= staged.in_flight("agent") <= 3
    assert 1 <= staged.without("agent") <= 3
    assert staged.daemon_set("agent")["spec"]["updateStrategy"] == before["spec"]["updateStrategy"]
    assert {story.deleted_by for story in staged.stories("agent").values() if story.deleted} == {
        "system:serviceaccount:kube-system:daemon-set-controller"
    }


def test_the_strictest_budget_wins_and_others_share_the_rest(staged: Staged):
    staged.budget("wide", maxConcurrentStarts=4, settle="1s")
    staged.budget("narrow", maxConcurrentStarts=1, selector={"matchLabels": {"team": "right"}})
    staged.apply(
        agent("left", nodes="few", pods=SOON),
        agent("right", nodes="few", pods=SOON, labels={"team": "right"}),
    )
    eventually(lambda: staged.done("left", FEW) and staged.done("right", FEW), "both have started")
    assert staged.in_flight("right", settle=1) == 1  # the longest settle counts
    assert 1 < staged.in_flight("left", "right", settle=1) <= 4


def test_all_budgets_share_what_the_cluster_may_start(staged: Staged):
    for team in ("left", "right"):
        staged.budget(team, maxConcurrentStarts=6, settle="1s", selector={"matchLabels": {"team": team}})
    staged.apply(*(agent(team, pods=SOON, labels={"team": team}) for team in ("left", "right")))
    eventually(lambda: staged.done("left", NODES) and staged.done("right", NODES), "both have started")
    assert 1 <= staged.in_flight("left", settle=1) <= 6
    assert 1 <= staged.in_flight("right", settle=1) <= 6
    assert 1 < staged.in_flight("left", "right", settle=1) <= MOST


def test_a_list_larger_than_may_be_in_flight_runs_alone(staged: Staged):
    staged.budget(maxConcurrentStarts=6, maxListBytesInFlight="1Ki")
    said = staged.apply(agent("agent", nodes="few", pods=SOON))
    assert "runs alone (maxListBytesInFlight 1 KiB)" in said
    eventually(lambda: staged.done("agent", FEW), "all have started")
    assert staged.in_flight("agent") == 1


def test_what_may_watch_is_held_where_the_budget_is_careful(staged: Staged):
    staged.budget(maxConcurrentStarts=2)
    staged.apply(agent("careless", image=UNKNOWN, nodes="few"))
    eventually(lambda: len(staged.started("careless")) == FEW, "they start")
    assert staged.writes("pods") == []
    staged.budget(maxConcurrentStarts=2, gateUncertain=True)
    staged.apply(agent("careful", image=UNKNOWN, nodes="few", pods=SOON))
    eventually(lambda: staged.done("careful", FEW), "all have started")
    assert len(staged.released("careful")) == FEW
    assert 1 <= staged.in_flight("careful") <= 2


def test_a_rollout_that_surges_leaves_no_node_without_its_agent(staged: Staged):
    staged.budget(maxConcurrentStarts=2, settle="1s")
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 0}}
    manifest = agent("agent", nodes="few", pods=SOON, strategy=surge)
    staged.apply(manifest)
    eventually(lambda: staged.done("agent", FEW), "all have started")
    staged.apply(with_image(manifest, NEWER))
    eventually(lambda: len(staged.held("agent")) >= 3, "new pods wait beside old ones")
    eventually(lambda: staged.done("agent", FEW, NEWER), "all have been replaced")
    stories = staged.stories("agent")
    assert {len(story.patched) for story in stories.values()} == {2}
    assert 1 <= staged.in_flight("agent", settle=1) <= 2
    nodes = {name: story.kubelet[0] for name, story in stories.items() if story.deleted is None}
    assert len(nodes) == FEW
    gone = sorted(story.deleted for story in stories.values() if story.deleted is not None)
    assert len(gone) == FEW
    for number, (ready, deleted) in enumerate(zip(sorted(nodes.values()), gone, strict=True)):
        assert ready < deleted, f"old pod {number} went before {number + 1} new ones were Ready"
    assert staged.daemon_set("agent")["spec"]["updateStrategy"] == surge


def test_a_budget_that_is_changed_holds_from_then_on(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    staged.apply(agent("agent", nodes="few", pods=WHEN_PLAYED))
    eventually(lambda: len(staged.permitted("agent")) == 1, "one starts")
    staged.budget(maxConcurrentStarts=3)
    eventually(lambda: three_start(staged), "two more start")
    staged.budget(maxConcurrentStarts=1)
    before = len(staged.released("agent"))
    staged.play(*staged.permitted("agent")[:2])
    eventually(lambda: staged.status()["starts"]["inFlight"] == 1, "two have ended")
    assert len(staged.released("agent")) == before
    staged.play(*staged.permitted("agent"))
    eventually(lambda: len(staged.released("agent")) == before + 1, "another starts in the last one's place")
    assert len(staged.permitted("agent")) == 1


def three_start(staged: Staged) -> bool:
    """A limit that a slow machine has lowered grows again as starts end."""
    starting = staged.permitted("agent")
    if len(starting) < 3:
        staged.play(*starting[:1])
    return len(starting) == 3


def test_critical_pods_are_held_only_by_leave(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    critical = {"nodes": "few", "pods": SOON, "priorityClassName": "system-node-critical"}
    staged.apply(agent("first", **critical))
    eventually(lambda: staged.done("first", FEW), "they start")
    assert staged.writes("pods") == []
    assert staged.daemon_set("first")["metadata"]["annotations"][KEPT] == "100%"  # capped all the same
    staged.budget(maxConcurrentStarts=1, gateCritical=True)
    staged.apply(agent("second", **critical))
    eventually(lambda: staged.done("second", FEW), "they start one by one")
    eventually(
        lambda: {len(story.patched) for story in staged.stories("second").values()} == {2},
        "each is released, and its label goes",
    )
    assert staged.in_flight("second") == 1


def test_a_permit_that_cannot_be_used_is_given_back(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    node = staged.cluster.kubectl("get", "node", "-l", "pool=few", "-o", "name").stdout.split()[0]
    full = {"name": "full", "image": QUIET, "resources": {"requests": {"cpu": "8"}}}
    spec = {"nodeName": node.removeprefix("node/"), "containers": [full], "terminationGracePeriodSeconds": 0}
    staged.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "full", "namespace": NAMESPACE},
            "spec": spec,
        }
    )
    wants = {"name": "agent", "image": WATCHES, "resources": {"requests": {"cpu": "1"}}}
    staged.apply(agent("blocked", nodes="few", containers=[wants]))
    eventually(lambda: len(staged.started("blocked")) == FEW - 1, "all others start")
    note = eventually(lambda: staged.events("blocked").get("StartBlocked"), "it is told")
    assert node.removeprefix("node/") in note
    eventually(lambda: staged.status()["starts"].get("blocked") == 1, "it is counted")
    [pod] = [pod for pod in staged.pods("blocked") if not is_ready(pod)]
    assert pod["metadata"]["labels"][LABEL] == "permitted"

    staged.cluster.kubectl("delete", "pod", "full", "-n", NAMESPACE, "--force")
    eventually(lambda: staged.done("blocked", FEW), "it starts when it can")
    eventually(lambda: not staged.status()["starts"].get("blocked"), "nothing is blocked any more")


def test_what_crash_loops_is_not_fed_and_does_not_stop_others(staged: Staged):
    staged.budget(maxConcurrentStarts=3)
    staged.apply(agent("broken", nodes="few", pods={CRASH: "true"}), agent("sound", nodes="few", pods=SOON))
    eventually(lambda: staged.done("sound", FEW), "what works starts")
    eventually(lambda: "StartsPaused" in staged.events("broken"), "what does not is paused")
    eventually(lambda: staged.rollout("broken").get("pausedReason") == "CrashLooping", "and shown so")
    assert "CrashLooping" in staged.events("broken")["StartsPaused"]
    assert {"StartFailed", "StartsPaused"}.isdisjoint(staged.events("sound"))
    # The third failure stops it; two permits were given back before, and used again.
    fed = len(staged.released("broken"))
    assert 3 <= fed <= 5
    eventually(lambda: staged.status()["starts"]["held"] == FEW - fed, "the others are shown as held")

    failing = [pod["metadata"]["name"] for pod in staged.pods("broken") if not is_gated(pod)]
    staged.cluster.kubectl("delete", "pod", "-n", NAMESPACE, "--force", *failing)
    eventually(lambda: len(staged.held("broken")) == FEW, "their successors are held")
    # What fails is gone, and what it came to counts for ten minutes.
    eventually(lambda: staged.rollout("broken").get("pausedReason") == "StartsFailing", "it stays paused")
    assert len(staged.released("broken")) == fed

    revision = staged.pods("broken")[0]["metadata"]["labels"]["controller-revision-hash"]
    staged.annotate("ds/broken", f"{RESUMED}={revision}")
    eventually(lambda: len(staged.released("broken")) == fed + FEW, "its owner accepts that")
    assert len(staged.held("broken")) == 0
    staged.apply(agent("broken", nodes="few", pods=SOON))
    eventually(lambda: staged.done("broken", FEW), "a template that works is rolled out")


def test_a_daemonset_is_paused_and_resumed_by_its_owner(staged: Staged):
    staged.budget(maxConcurrentStarts=1)
    staged.apply(agent("paused", nodes="few", pods=WHEN_PLAYED))
    eventually(lambda: len(staged.permitted("paused")) == 1, "one starts")
    staged.annotate("ds/paused", "watchbudget.io/paused=maintenance until noon")
    eventually(lambda: staged.rollout("paused").get("pausedReason") == "Paused", "it is shown")
    staged.play(*staged.permitted("paused"))
    eventually(lambda: not staged.permitted("paused"), "the one under way ends")
    told = eventually(lambda: staged.events("paused").get("StartsPaused"), "it is told")
    assert "maintenance until noon" in told
    eventually(lambda: wide(staged)["PAUSED"] == "Paused", "kubectl shows it")
    assert wide(staged)["HELD"] == str(FEW - 1)
    assert len(staged.released("paused")) == 1

    staged.annotate("ds/paused", "watchbudget.io/paused-")
    eventually(lambda: len(staged.permitted("paused")) == 1, "it goes on")
    eventually(lambda: "pausedReason" not in staged.status()["starts"], "that is shown")
    eventually(lambda: "StartsResumed" in staged.events("paused"), "it is told")


def test_a_budget_is_paused_and_resumed_by_its_owner(staged: Staged):
    staged.budget(maxConcurrentStarts=2)
    staged.cluster.kubectl("annotate", "wb", "staged", "watchbudget.io/paused=freeze")
    eventually(lambda: staged.status()["starts"].get("pausedReason") == "BudgetPaused", "it is shown")
    staged.apply(agent("agent", nodes="few", pods=SOON))
    eventually(lambda: len(staged.held("agent")) == FEW, "all are held")
    eventually(lambda: wide(staged)["HELD"] == str(FEW), "that is shown")
    assert "freeze" in staged.status()["starts"]["message"]
    assert len(staged.released("agent")) == 0
    staged.cluster.kubectl("annotate", "wb", "staged", "watchbudget.io/paused-")
    eventually(lambda: staged.done("agent", FEW), "it goes on")
    assert 1 <= staged.in_flight("agent") <= 2


def wide(staged: Staged) -> dict[str, str]:
    """What `kubectl get wb -o wide` shows, by column; empty cells are left out."""
    head, line = staged.cluster.kubectl("get", "wb", "staged", "-o", "wide").stdout.splitlines()
    names = head.split()
    starts = [*(head.index(f" {name}") + 1 if index else 0 for index, name in enumerate(names)), None]
    cells = (line[begin:end].strip() for begin, end in itertools.pairwise(starts))
    return dict(zip(names, cells, strict=True))


def test_old_pods_are_deleted_in_waves_only_where_the_owner_says_so(staged: Staged):
    waves = {"watchbudget.io/rollout": "waves"}
    ours = agent("ours", nodes="few", pods=SOON, strategy=ON_DELETE, annotations=waves)
    theirs = agent("theirs", nodes="few", pods=SOON, strategy=ON_DELETE)
    install_ungated(staged, ours, theirs)
    staged.budget(maxConcurrentStarts=2)
    staged.apply(with_image(ours, NEWER), with_image(theirs, NEWER))
    eventually(lambda: staged.done("ours", FEW, NEWER), "all have been replaced")
    stories = staged.stories("ours")
    assert [story.deleted_by for story in stories.values() if story.deleted] == [USER] * FEW
    assert 1 <= staged.without("ours") <= 2
    assert 1 <= staged.in_flight("ours") <= 2
    assert staged.done("theirs", FEW, WATCHES)
    assert not any(story.deleted for story in staged.stories("theirs").values())
