"""A fleet that is being rolled when the worst happens: it is rolled to the end, never faster than it may.

Two replicas behind one address, as in production. Two DaemonSets share what may start at once and each is
capped to all of it, so half of their new pods are held. Their agents are played: the middle of the rollout
lasts until a test goes on.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from operator_process import OperatorProcess
from staged import (
    FEW,
    KEPT,
    NEWER,
    WATCHES,
    WHEN_PLAYED,
    Raw,
    Staged,
    agent,
    eventually,
    install,
    is_ready,
    names,
    paced_cluster,
    runs,
)
from watchbudget.localcluster import LocalCluster
from webhook_service import WebhookService

MOST = 4
AGENTS = ("left", "right")
NEWEST = WATCHES.replace("v3.30.0", "v3.30.2")


@dataclass
class Fleet:
    """Both agents; `staged` tells what has happened since their rollout began.

    Attributes:
        before: their DaemonSets as they were then.
        old: names of the pods that ran then.
    """

    staged: Staged
    replicas: list[OperatorProcess]
    before: dict[str, Raw]
    old: set[str]

    def is_led(self) -> OperatorProcess:
        """Wait until one of the replicas leads, and those that live know it: before, they hold no pods."""
        alive = [each for each in self.replicas if each.process and each.process.poll() is None]
        replica: OperatorProcess = eventually(
            lambda: next((each for each in alive if leads(each)), None), "somebody leads"
        )
        eventually(lambda: all(each.metric("watchbudget_leader_known") for each in alive), "all know it")
        return replica

    def roll(self, image: str) -> None:
        self.staged.apply(*(fleet_agent(name, image) for name in AGENTS))

    def new(self) -> list[Raw]:
        return [pod for pod in self.staged.pods() if pod["metadata"]["name"] not in self.old]

    def play(self) -> None:
        """Be the agents of all new pods that run and are not Ready yet."""
        self.staged.play(*(pod for pod in self.new() if runs(pod) and not is_ready(pod)))

    def has_begun(self) -> bool:
        self.play()
        return sum(map(is_ready, self.new())) >= MOST

    def is_in_the_middle(self) -> bool:
        """Whether some are done, some start, some are held, and some are old; until somebody plays."""
        new = self.new()
        wait = [pod for pod in new if not is_ready(pod)]
        starts = [pod for pod in self.staged.permitted() if runs(pod)]
        return (
            MOST <= len(new) - len(wait) < 2 * FEW - len(wait)
            and len(wait) == 2 * MOST
            and len(self.staged.held()) >= MOST
            and len(starts) + len(self.staged.held()) == len(wait)
        )

    def to_the_end(self, image: str) -> None:
        def ended() -> bool:
            self.play()
            return all(self.staged.done(name, FEW, image) for name in AGENTS)

        eventually(ended, "all have been replaced")

    def ungated(self) -> set[str]:
        """Names of new pods that were never held."""
        stories = self.staged.stories(*AGENTS)
        return {name for name, its in stories.items() if its.kubelet and not its.patched} - self.old

    def was_rolled(self, image: str, changes: int) -> None:
        """That it went by the ceiling, and that of the spec nothing changed but image and cap."""
        assert 1 < self.staged.in_flight(*AGENTS, ready_at=2) <= MOST
        for name, before in self.before.items():
            after, expected = self.staged.daemon_set(name), copy.deepcopy(before["spec"])
            expected["template"]["spec"]["containers"][0]["image"] = image
            expected["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = MOST
            assert before["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "100%"
            assert after["spec"] == expected
            assert after["metadata"]["generation"] == before["metadata"]["generation"] + changes
            assert after["metadata"]["annotations"][KEPT] == "100%"


def fleet_agent(name: str, image: str) -> Raw:
    return agent(name, image=image, pods=WHEN_PLAYED)


def judges_agents(replica: OperatorProcess) -> bool:
    return "watchbudget_daemonsets{" in replica.probe("/metrics")[1]


def leads(replica: OperatorProcess) -> bool:
    return replica.metric("watchbudget_leading") == 1


@pytest.fixture(scope="module")
def running(control_plane: None) -> Iterator[tuple[LocalCluster, list[OperatorProcess]]]:
    with (
        paced_cluster(FEW) as (cluster, first),
        OperatorProcess(cluster, installed=True, name="second") as second,
        WebhookService(first.port, second.port) as service,
    ):
        install(cluster, service.port)
        yield cluster, [first, second]


@pytest.fixture
def fleet(running: tuple[LocalCluster, list[OperatorProcess]]) -> Iterator[Fleet]:
    """Both agents on all nodes from before there was a budget, in the middle of a rollout."""
    cluster, replicas = running
    for replica in replicas:
        if replica.process is None or replica.process.poll() is not None:
            replica.start()
    for replica in replicas:
        replica.wait_ready()
    staged = Staged(cluster, replicas[0])
    try:
        yield in_the_middle(staged, replicas)
    finally:
        staged.tell()
        print(replicas[1].output()[-3000:])
        staged.clear()
        eventually(lambda: not any(map(judges_agents, replicas)), "all have forgotten them")


def in_the_middle(staged: Staged, replicas: list[OperatorProcess]) -> Fleet:
    """Begin the rollout, and wait until some are done and others are held."""
    staged.apply(*(fleet_agent(name, WATCHES) for name in AGENTS))
    eventually(lambda: sum(map(runs, staged.pods())) == 2 * FEW, "all run")
    staged.play(*staged.pods())
    eventually(lambda: all(map(is_ready, staged.pods())), "all are Ready")
    staged.budget(maxConcurrentStarts=MOST, maxHold="1m", permitTimeout="10m")
    # The leader follows it; whoever else is asked about pods must know of it, too.
    eventually(lambda: all(map(judges_agents, replicas)), "all know the budget")
    before = {name: staged.daemon_set(name) for name in AGENTS}
    old = names(staged.pods())
    fleet = Fleet(Staged(staged.cluster, replicas[0]), replicas, before, old)
    fleet.is_led()
    fleet.roll(NEWER)
    eventually(fleet.has_begun, "the first are done")
    eventually(fleet.is_in_the_middle, "some are done, others are held")
    return fleet


def test_another_replica_takes_over_from_a_killed_leader(fleet: Fleet):
    leader = fleet.is_led()
    known = names(fleet.new())
    fleet.play()  # so that permits are being given out
    killed = time.time()
    leader.kill()  # -9
    eventually(lambda: names(fleet.staged.held()) - known, "pods that are born now are held as well")
    fleet.is_led()
    fleet.to_the_end(NEWER)
    unasked = fleet.staged.let_in_unasked()  # what the leader was just being asked about
    assert len(fleet.ungated()) == len(unasked)
    assert all(abs(when - killed) < 1 for when in unasked)
    fleet.was_rolled(NEWER, changes=1)


def test_replicas_that_were_all_killed_go_on_where_they_were(fleet: Fleet):
    for replica in fleet.replicas:
        replica.kill()  # -9
    waiting = names(fleet.staged.held())
    fleet.play()
    eventually(fleet.ungated, "pods that are born now start")
    time.sleep(1)
    assert names(fleet.staged.held()) == waiting
    for replica in fleet.replicas:
        replica.start()
    fleet.is_led()
    born = fleet.ungated()
    fleet.to_the_end(NEWER)
    assert fleet.ungated() == born
    fleet.was_rolled(NEWER, changes=1)


def restart_api_server(cluster: LocalCluster) -> None:
    cluster.stop_component("kube-apiserver")
    cluster.start_component("kube-apiserver")


def pause_etcd(cluster: LocalCluster) -> None:
    cluster.pause("etcd")
    time.sleep(4)
    cluster.resume("etcd")


@pytest.mark.parametrize("trouble", [restart_api_server, pause_etcd])
def test_trouble_with_the_api_server_does_no_harm(fleet: Fleet, trouble: Callable[[LocalCluster], None]):
    fleet.play()  # so that permits are being given out
    trouble(fleet.staged.cluster)
    fleet.is_led()
    fleet.to_the_end(NEWER)
    assert fleet.ungated() == set()
    fleet.was_rolled(NEWER, changes=1)


def test_a_second_change_of_the_template_wins(fleet: Fleet):
    held = names(fleet.staged.held())
    fleet.roll(NEWEST)
    eventually(lambda: held.isdisjoint(names(fleet.new())), "they are replaced")
    fleet.to_the_end(NEWEST)
    assert fleet.ungated() == set()
    fleet.was_rolled(NEWEST, changes=2)
