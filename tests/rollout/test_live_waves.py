"""What waves read, on the real DaemonSet controller, and a deletion that fits one pod only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from watchbudget.localcluster import LocalCluster
from watchbudget.rollout.model import DaemonSetNumbers
from watchbudget.rollout.roll import Roll, is_outdated, pods_of, pods_of_table, roll_of
from watchbudget.rollout.waves import Wave, Waves

NAMESPACE = "waves-test"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
KEY = (NAMESPACE, "agent")
AGENT = "localcluster.watchbudget.io/agent"
SYNCED = "localcluster.watchbudget.io/synced"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
def daemon_set(cluster: LocalCluster) -> Iterator[str]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    until(
        lambda: (
            cluster.request(
                "GET", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default", check=False
            ).status
            == 200
        )
    )
    labels = {"app": "agent"}
    spec = {
        "containers": [{"name": "agent", "image": "example.org/agent:1"}],
        "terminationGracePeriodSeconds": 0,
    }
    raw = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "annotations": {"watchbudget.io/rollout": "waves"}},
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "OnDelete"},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    cluster.request("POST", f"{APPS}/daemonsets", raw)
    yield f"{APPS}/daemonsets/agent"
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.1)


def read(cluster: LocalCluster, path: str) -> Roll:
    raw = cluster.request("GET", path).json()
    revisions = cluster.request("GET", f"{APPS}/controllerrevisions").json()["items"]
    whole = pods_of(cluster.request("GET", PODS).json()["items"], raw["metadata"]["uid"])
    roll = roll_of(raw, revisions, whole)
    assert roll is not None
    return roll


def old(roll: Roll) -> int:
    return sum(roll.is_old(pod) for pod in roll.pods)


def next_wave(waves: Waves, roll: Roll) -> Wave:
    waves.see(0, [roll], {KEY: 60.0}, ())
    return waves.turn(0, [roll], {KEY: DaemonSetNumbers(room=9)}, {KEY: 1}, {KEY: 60.0}, {})[KEY]


def successor(cluster: LocalCluster, path: str) -> str | None:
    """The pod that is new and not Ready."""
    roll = read(cluster, path)
    return next((pod.name for pod in roll.pods if not roll.is_old(pod) and not pod.ready), None)


def test_pods_are_replaced_one_by_one_and_only_once(cluster: LocalCluster, daemon_set: str):
    until(lambda: [pod.ready for pod in read(cluster, daemon_set).pods] == [True] * 3)
    until(lambda: not is_outdated(cluster.request("GET", daemon_set).json()))
    assert old(read(cluster, daemon_set)) == 0

    # From now on pods are Ready when we say so.
    change = {"spec": {"template": {"metadata": {"annotations": {AGENT: "external"}}}}}
    cluster.request("PATCH", daemon_set, change, headers=MERGE)
    until(lambda: read(cluster, daemon_set).caught_up)
    assert is_outdated(cluster.request("GET", daemon_set).json())
    roll = read(cluster, daemon_set)
    assert (old(roll), roll.desired, len({pod.node for pod in roll.pods})) == (3, 3, 3)

    table = cluster.request("GET", PODS, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    assert pods_of_table(table.json(), roll.uid, {}) == roll.pods

    waves = Waves()
    (first,) = next_wave(waves, roll).delete
    wrong = {"preconditions": {"uid": "another"}}
    assert cluster.request("DELETE", f"{PODS}/{first.name}", wrong, check=False).status == 409
    gone = set()
    for _ in range(3):
        (pod,) = next_wave(waves, read(cluster, daemon_set)).delete
        cluster.request("DELETE", f"{PODS}/{pod.name}", {"preconditions": {"uid": pod.uid}})
        waves.deleted(0, KEY, pod)
        gone.add(pod.node)
        until(lambda: len(read(cluster, daemon_set).pods) == 3 and successor(cluster, daemon_set))
        assert next_wave(waves, read(cluster, daemon_set)).delete == ()
        synced = {"metadata": {"annotations": {SYNCED: "true"}}}
        cluster.request("PATCH", f"{PODS}/{successor(cluster, daemon_set)}", synced, headers=MERGE)
        until(lambda: sum(each.ready for each in read(cluster, daemon_set).pods) == 3)
    assert len(gone) == 3
    assert next_wave(waves, read(cluster, daemon_set)) == Wave()
    until(lambda: not is_outdated(cluster.request("GET", daemon_set).json()))
