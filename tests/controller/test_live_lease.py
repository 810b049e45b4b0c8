"""Real processes that contend for a Lease on a real API server."""

from __future__ import annotations

import datetime as dt
import os
import signal
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

CONTENDER = Path(__file__).parents[1] / "controller_contender.py"
NAMESPACE = "lease-test"
LEDGER = f"/api/v1/namespaces/{NAMESPACE}/configmaps/ledger"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
RULES = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]},
]


@pytest.fixture
def contender(cluster: LocalCluster) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts a contender; all are ended after the test."""
    make_auditor(cluster, "contender", RULES)
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("create", "configmap", "ledger", "-n", NAMESPACE, "--from-literal=writer=nobody")
    token = cluster.token(AUDITORS, "contender")
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(CONTENDER), cluster.url, str(cluster.ca_file), token, NAMESPACE, name]
        started.append(subprocess.Popen(argv))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def wait_for_writer(cluster: LocalCluster, name: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (writer := cluster.request("GET", LEDGER).json()["data"]["writer"]) != name:
        assert time.monotonic() < deadline, f"{writer} still writes, not {name}"
        time.sleep(0.05)


def writes(cluster: LocalCluster, name: str) -> list[dict[str, Any]]:
    """Everything that a contender asked for and that was carried out, but reads, from the audit log."""
    return [
        event
        for event in audited(cluster)
        if event.get("userAgent") == f"contender-{name}"
        and event["verb"] != "get"
        and event.get("responseStatus", {}).get("code", 0) < 300
    ]


def received(event: dict[str, Any]) -> dt.datetime:
    return dt.datetime.fromisoformat(event["requestReceivedTimestamp"])


def test_killed_paused_and_ended_leaders(
    cluster: LocalCluster, contender: Callable[[str], subprocess.Popen[bytes]]
):
    first = contender("first")
    wait_for_writer(cluster, "first", 10)
    second = contender("second")
    time.sleep(1)
    assert not writes(cluster, "second")

    first.kill()  # -9: the Lease runs out
    wait_for_writer(cluster, "second", 8)

    third = contender("third")
    time.sleep(1)
    os.kill(second.pid, signal.SIGSTOP)
    stopped = dt.datetime.now(dt.UTC)
    wait_for_writer(cluster, "third", 8)
    time.sleep(0.5)
    os.kill(second.pid, signal.SIGCONT)
    time.sleep(2)
    assert second.poll() is None
    assert [event for event in writes(cluster, "second") if received(event) > stopped] == []
    assert len(writes(cluster, "third")) > 10

    third.terminate()  # it releases: nobody waits for the Lease to run out
    assert third.wait(5) == 0
    wait_for_writer(cluster, "second", 1.5)

    # over the whole story each one's writes to the ledger end before the next one's begin
    ledger = sorted(
        (received(event), name)
        for name in ("first", "second", "third")
        for event in writes(cluster, name)
        if event["objectRef"]["resource"] == "configmaps"
    )
    names = [name for _, name in ledger]
    changes = [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]
    assert changes == ["first", "second", "third", "second"]


def test_a_put_with_uid_does_not_bring_back_a_lease_that_is_gone(cluster: LocalCluster):
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/gone"
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "gone"},
        "spec": {"holderIdentity": "a"},
    }
    made = cluster.request("POST", path.removesuffix("/gone"), lease).json()
    cluster.request("DELETE", path)
    old = {key: made["metadata"][key] for key in ("name", "uid", "resourceVersion")}
    assert cluster.request("PUT", path, lease | {"metadata": old}, check=False).status == 409
    assert cluster.request("GET", path, check=False).status == 404
    del old["uid"]  # why it is needed
    assert cluster.request("PUT", path, lease | {"metadata": old}, check=False).status == 201
    cluster.request("DELETE", path)
