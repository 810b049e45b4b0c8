"""Staged starts by several replicas and by none, on the real DaemonSet controller and scheduler.

The operator as a whole: test_live_staging.py. Here templates carry gate and label themselves, so that pods
are born held without a webhook; kubelets are KWOK's.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit import audited
from live_cluster import AUDITORS, make_auditor
from watchbudget.localcluster import LocalCluster
from watchbudget.rollout.gate import GATE, LABEL

REPLICA = Path(__file__).parents[1] / "pacing_replica.py"
NODES = 30
NAMESPACE = "pacing"
ACCOUNT = "pacer"
USER = f"system:serviceaccount:{AUDITORS}:{ACCOUNT}"
SELECTED = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={LABEL}"
RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch", "delete"]},
    {"apiGroups": ["apps"], "resources": ["daemonsets", "controllerrevisions"], "verbs": ["list"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
]
SOON = {"pod-ready.stage.kwok.x-k8s.io/delay": "0.3s"}
CEILING = {"max_starts": 8, "settle": 0.5, "permit_timeout": 60, "max_hold": 20}


@pytest.fixture(scope="module")
def many(control_plane: None) -> Iterator[LocalCluster]:
    """A cluster of thirty nodes for all tests of this file."""
    with LocalCluster() as cluster:
        cluster.add_nodes(NODES)
        cluster.kubectl("create", "namespace", NAMESPACE)
        make_auditor(cluster, ACCOUNT, RULES)
        yield cluster


class Replicas:
    """Processes that pace, and what they told."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self._kubeconfig = cluster.kubeconfig_for(AUDITORS, ACCOUNT)
        self._folder = folder
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, terms: dict[str, Any], **ceiling: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
        plan = json.dumps({"terms": terms, "ceilings": {"budget": CEILING | ceiling}})
        argv = [sys.executable, str(REPLICA), str(self._kubeconfig), NAMESPACE, name, plan]
        with (
            (self._folder / f"{name}.out").open("wb") as out,
            (self._folder / f"{name}.err").open("wb") as err,
        ):
            self.started[name] = subprocess.Popen(argv, stdout=out, stderr=err)
        return self.started[name]

    def told(self, name: str, of: str = "agent") -> list[tuple[str, str]]:
        """Reasons and notes of a replica's events about an object."""
        lines = map(json.loads, (self._folder / f"{name}.out").read_text().splitlines())
        return [(reason, note) for regarding, _, reason, note in lines if regarding == of]

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.err").read_text()

    def end(self) -> None:
        for process in self.started.values():
            process.kill()
            process.wait()


@pytest.fixture
def replicas(many: LocalCluster, tmp_path: Path) -> Iterator[Replicas]:
    replicas = Replicas(many, tmp_path)
    yield replicas
    replicas.end()
    for name, process in replicas.started.items():
        print(f"--- {name} ({process.returncode})\n{replicas.log(name)[-3000:]}")
    many.kubectl("delete", "daemonsets,leases", "--all", "-n", NAMESPACE, "--wait=false")
    until(lambda: not pods(many, ""), "the pods go")


def daemon_set(name: str, *, strategy: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:  # noqa: ANN401
    """A DaemonSet whose pods are born held. Further arguments are fields of its pods."""
    annotations = pod.pop("annotations", {})
    spec = {
        "schedulingGates": [{"name": GATE}],
        "containers": [{"name": "agent", "image": "agent"}],
        "terminationGracePeriodSeconds": 0,
        **pod,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "updateStrategy": strategy
            or {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": {"app": name, LABEL: "held"}, "annotations": annotations},
                "spec": spec,
            },
        },
    }


def terms(*names: str) -> dict[str, Any]:
    """The terms of these DaemonSets, for `Replicas.start`."""
    return {f"{NAMESPACE}/{name}": {"budgets": ["budget"], "list_bytes": 1000} for name in names}


def create(cluster: LocalCluster, raw: dict[str, Any]) -> None:
    cluster.kubectl("create", "-f", "-", input=json.dumps(raw))


def pods(cluster: LocalCluster, selector: str = LABEL) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={selector}"
    items: list[dict[str, Any]] = cluster.request("GET", path).json()["items"]
    return items


def ready(cluster: LocalCluster, name: str) -> int:
    return int(status(cluster, name).get("numberReady", 0))


def status(cluster: LocalCluster, name: str) -> dict[str, Any]:
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{name}"
    found: dict[str, Any] = cluster.request("GET", path).json()["status"]
    return found


def until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)


def answered(cluster: LocalCluster, since: dt.datetime) -> Iterator[tuple[str, str, str, dt.datetime]]:
    """Who changed which pod how and when, from the audit log, in order; only what was done."""
    for event in audited(cluster):
        ref = event.get("objectRef", {})
        if event["stage"] != "ResponseComplete" or ref.get("resource") != "pods":
            continue
        when = dt.datetime.fromisoformat(event["stageTimestamp"])
        verb = f"{event['verb']} {ref.get('subresource', '')}".strip()
        if event["responseStatus"]["code"] < 300 and when > since and ref.get("namespace") == NAMESPACE:
            yield event["user"].get("username"), verb, ref.get("name", ""), when


def patches(cluster: LocalCluster, since: dt.datetime) -> dict[str, list[dt.datetime]]:
    """By pod, when it was patched by us: to release it, and to take its label."""
    found: dict[str, list[dt.datetime]] = {}
    for user, verb, name, when in answered(cluster, since):
        if user == USER and verb == "patch":
            found.setdefault(name, []).append(when)
    return found


def most_in_flight(cluster: LocalCluster, since: dt.datetime) -> int:
    """How many pods started at once: from our patch that released each to KWOK's that made it Ready."""
    begun: set[str] = set()
    running: set[str] = set()
    most = 0
    for user, verb, name, _ in answered(cluster, since):
        if user == USER and verb == "patch" and name not in begun:
            begun.add(name)
            running.add(name)
        elif verb == "patch status" and "kwok" in user:
            running.discard(name)
        most = max(most, len(running))
    return most


@pytest.fixture
def begun() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def test_a_killed_leaders_successor_goes_on(many: LocalCluster, replicas: Replicas, begun: dt.datetime):
    create(many, daemon_set("gone"))
    create(many, daemon_set("agent", annotations=SOON))
    until(lambda: len(pods(many)) == 2 * NODES, "all pods are born")
    assert all(pod["spec"]["schedulingGates"] for pod in pods(many))
    replicas.start("one", terms("gone", "agent"))
    until(lambda: ready(many, "agent") > 3, "the first leads")
    replicas.start("two", terms("gone", "agent"))
    until(lambda: ready(many, "agent") > 8, "it gets on")
    replicas.started["one"].kill()  # -9
    many.kubectl("delete", "daemonset", "gone", "-n", NAMESPACE, "--wait=false")
    left = NODES - ready(many, "agent")
    assert left > 5
    until(lambda: ready(many, "agent") == NODES and not pods(many), "the second has gone on to the end")
    assert "leads" in replicas.log("two")
    assert (
        len(patches(many, begun).keys() & {pod["metadata"]["name"] for pod in pods(many, "app=agent")})
        == NODES
    )
    assert 1 < most_in_flight(many, begun) <= CEILING["max_starts"]
    assert {len(times) for name, times in patches(many, begun).items() if name.startswith("agent-")} == {2}


def test_pods_that_nobody_gives_permits_to_are_let_go_slowly(
    many: LocalCluster, replicas: Replicas, begun: dt.datetime
):
    create(many, daemon_set("agent"))
    until(lambda: len(pods(many)) == NODES, "all pods are born")
    for name in ("standby-one", "standby-two"):
        replicas.start(name, terms("agent"), max_hold=3)
    until(lambda: ready(many, "agent") == NODES and not pods(many), "all are let go")
    times = sorted(times[0] for times in patches(many, begun).values())
    assert len(times) == NODES
    assert (times[-1] - times[0]).total_seconds() > 0.5 * NODES / 5  # not at once
    assert "leads" not in replicas.log("standby-one") + replicas.log("standby-two")


def test_a_gate_of_somebody_else_stays(many: LocalCluster, replicas: Replicas, begun: dt.datetime):
    other = {"name": "example.com/other"}
    node = {"kubernetes.io/hostname": "wb-node-00001"}
    create(many, daemon_set("agent", schedulingGates=[other, {"name": GATE}], nodeSelector=node))
    until(lambda: len(pods(many)) == 1, "the pod is born")
    replicas.start("one", terms("agent"))
    until(lambda: "StartBlocked" in dict(replicas.told("one")), "it cannot use its permit")
    [pod] = pods(many)
    assert pod["metadata"]["labels"][LABEL] == "permitted"
    assert pod["spec"]["schedulingGates"] == [other]
    ungate = '[{"op": "remove", "path": "/spec/schedulingGates/0"}]'
    many.kubectl("patch", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "--type=json", "-p", ungate)
    until(lambda: ready(many, "agent") == 1 and not pods(many), "it starts when the other lets it")
