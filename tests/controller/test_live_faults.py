"""What breaks under the operator on the real API server: it answers or fails open, writes nothing false,
and settles by itself.

The state of the cluster is the same all the time, a DaemonSet that violates a budget, so that whatever else
is written of it is false.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_proxy import ApiProxy
from replicas import (
    LEASE_PATH,
    SECRET_PATH,
    Replica,
    Reviewer,
    agent,
    eventually,
    moment,
    put_budget,
    received,
    writes,
)
from watchbudget.controller import tls
from watchbudget.controller.tls import service_hosts
from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.operator_process import install

STRICT = {"enforcement": {"action": "Deny"}}
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
WRONG_CLOCK = Path(__file__).parents[1] / "wrong_clock.py"
VIOLATING = "/apis/apps/v1/namespaces/default/daemonsets/violating"


@pytest.fixture(scope="module")
def cluster(control_plane: None) -> Iterator[LocalCluster]:
    with LocalCluster(audit_level="Request") as started:
        started.add_nodes(3)
        yield started


@pytest.fixture(scope="module")
def proxy(cluster: LocalCluster) -> Iterator[ApiProxy]:
    with ApiProxy(cluster) as started:
        yield started


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file: by how many seconds the operator's clock is wrong."""
    return tmp_path_factory.mktemp("clock") / "shift"


@pytest.fixture(scope="module")
def running(cluster: LocalCluster, proxy: ApiProxy, clock: Path) -> Iterator[Replica]:
    wrapper = (sys.executable, str(WRONG_CLOCK), str(clock))
    with Replica(cluster, proxy=proxy, wrapper=wrapper) as replica:
        cluster.request("POST", VIOLATING.rpartition("/")[0], agent("violating"))
        put_budget(cluster, "strict", **STRICT)
        yield replica


@pytest.fixture
def operator(running: Replica, cluster: LocalCluster) -> Iterator[Replica]:
    """The operator in a settled state, before and after; what it wrote meanwhile was true."""
    eventually(lambda: settled(cluster, running))
    began = moment()
    yield running
    try:
        eventually(lambda: settled(cluster, running), 60)
        assert false_writes(cluster, began) == []
        counted_by_a_watch(cluster)
        assert "Traceback" not in running.output()
    except AssertionError:
        print(running.output())
        raise


def settled(cluster: LocalCluster, operator: Replica) -> bool:
    """It leads, the status is right, and the API server's calls are answered."""
    return (
        operator.probe("/readyz")[0] == 200
        and operator.metric("watchbudget_leading") == 1.0
        and status(cluster).get("counts", {}).get("violating") == 1
        and refused(cluster)
    )


def status(cluster: LocalCluster) -> dict[str, Any]:
    answer = cluster.request("GET", "/apis/watchbudget.io/v1alpha1/watchbudgets/strict", check=False)
    found: dict[str, Any] = answer.json().get("status", {})
    return found


def refused(cluster: LocalCluster) -> bool:
    """Whether a bad agent is refused at its creation, by a dry run; else it must have been let through."""
    path = f"{VIOLATING.rpartition('/')[0]}?dryRun=All"
    answer = cluster.request("POST", path, agent("next"), check=False)
    assert answer.status in {201, 403}, answer.body
    assert answer.status == 201 or "is not accepted as it is" in answer.json()["message"]
    return answer.status == 403


def false_writes(cluster: LocalCluster, since: dt.datetime) -> list[str]:
    """Statuses that say something else than that one DaemonSet violates, and verdicts taken away."""
    found = []
    for event in writes(cluster):
        target, body = event["objectRef"], event.get("requestObject") or {}
        if received(event) < since:
            continue
        if target["resource"] == "watchbudgets" and target["name"] == "strict":
            told = body["status"]
            compliant = [each["status"] for each in told["conditions"] if each["type"] == "Compliant"]
            if compliant != ["False"] or told["counts"]["violating"] < 1:
                found.append(f"{compliant} {told['counts']}")
        if target["resource"] == "daemonsets" and target["name"] == "violating":
            verdict = body["metadata"]["annotations"].get("watchbudget.io/verdict", "deny")
            if verdict != "deny":
                found.append(f"annotated {verdict}")
    return found


def counted_by_a_watch(cluster: LocalCluster) -> None:
    """A DaemonSet that comes and goes is heard of at once: full lists are minutes apart."""
    path = VIOLATING.rpartition("/")[0]
    harmless = agent("harmless")
    harmless["metadata"]["annotations"] = {"watchbudget.io/watches": '{"namespaces": "none"}'}
    cluster.request("POST", path, harmless)
    try:
        eventually(lambda: status(cluster)["counts"]["governed"] == 2, 20)
    finally:
        cluster.request("DELETE", f"{path}/harmless")
    eventually(lambda: status(cluster)["counts"]["governed"] == 1, 20)


def test_connections_are_cut(operator: Replica, proxy: ApiProxy):
    with Reviewer(operator) as reviewer:
        for _ in range(5):
            proxy.break_connections()
            reviewer.wait_for(5)
            time.sleep(0.5)
        eventually(lambda: proxy.watches >= 4)
    assert set(reviewer.answers) == {"denied"}


@pytest.mark.parametrize(
    "error",
    [
        {"code": 500, "message": "etcdserver: leader changed"},
        {"code": 410, "reason": "Expired", "message": "too old resource version"},
    ],
    ids=["leader changed", "too old"],
)
def test_every_watch_ends_with_an_error(operator: Replica, proxy: ApiProxy, error: dict[str, Any]):
    eventually(lambda: proxy.watches >= 4)
    with Reviewer(operator) as reviewer:
        event = {"type": "ERROR", "object": {"kind": "Status", "status": "Failure", **error}}
        before = len(proxy.seen)
        assert proxy.tell_watches(event) >= 4
        reviewer.wait_for(10)
        began_anew = f"{VIOLATING.partition('/namespaces')[0]}/daemonsets?limit="
        eventually(lambda: [each for each in proxy.seen[before:] if each.path.startswith(began_anew)])
        eventually(lambda: proxy.watches >= 4)
    assert set(reviewer.answers) == {"denied"}


@pytest.mark.parametrize(
    ("code", "headers"), [(429, {"Retry_After": "1", "Content_Type": "text/plain"}), (500, {})]
)
def test_nothing_is_answered_but_refusals(
    operator: Replica, proxy: ApiProxy, code: int, headers: dict[str, str]
):
    with Reviewer(operator) as reviewer:
        began = time.monotonic()
        proxy.refuse(code, "no", **headers)
        proxy.break_connections()
        time.sleep(11)  # the Lease is lost
        assert operator.metric("watchbudget_leading") == 0.0
        proxy.restore()
        sent = [each for each in proxy.seen if each.at > began]
        assert len(sent) < 40 * (time.monotonic() - began)  # no hot loop
        assert operator.probe("/readyz")[0] == 200
    assert set(reviewer.answers) == {"denied"}


def test_the_api_server_is_restarted(operator: Replica, cluster: LocalCluster):
    with Reviewer(operator) as reviewer:
        cluster.stop_component("kube-apiserver")
        reviewer.wait_for(10)
        cluster.start_component("kube-apiserver")
        reviewer.wait_for(10)
    assert set(reviewer.answers) == {"denied"}


def test_etcd_stands_still(operator: Replica, cluster: LocalCluster):
    """For twelve seconds: longer than a leader leads without a renewal, as short as a test has to be."""
    with Reviewer(operator) as reviewer:
        cluster.pause("etcd")
        try:
            time.sleep(12)
            assert operator.metric("watchbudget_leading") == 0.0
            assert operator.probe("/readyz")[0] == 200
        finally:
            cluster.resume("etcd")
        reviewer.wait_for(10)
    assert set(reviewer.answers) == {"denied"}


def test_the_clock_is_wrong(operator: Replica, cluster: LocalCluster, clock: Path):
    """An hour, which NTP puts right at once, disturbs nothing; a year in the future fails open meanwhile."""
    transitions = cluster.request("GET", LEASE_PATH).json()["spec"]["leaseTransitions"]
    before = secret(cluster)
    with Reviewer(operator) as reviewer:
        clock.write_text("3600")
        time.sleep(17)  # certificates are looked at every 15 s
        reviewer.wait_for(5)
    assert set(reviewer.answers) == {"denied"}
    assert secret(cluster) == before
    clock.write_text(str(400 * 86400))
    eventually(lambda: secret(cluster) != before)
    assert operator.probe("/readyz")[0] == 200
    clock.unlink()
    eventually(lambda: refused(cluster))
    lease = cluster.request("GET", LEASE_PATH).json()["spec"]
    assert lease["leaseTransitions"] == transitions  # it goes by no clock that can be set


def test_the_secret_is_deleted(operator: Replica, cluster: LocalCluster):
    before = secret(cluster)
    with Reviewer(operator) as reviewer:
        cluster.request("DELETE", SECRET_PATH)
        eventually(lambda: cluster.request("GET", SECRET_PATH, check=False).status == 200)
        after = secret(cluster)
        assert after["tls.crt"] == before["tls.crt"]  # what API servers trust
        assert after["ca.key"] != before["ca.key"]
        eventually(lambda: bundles(cluster) == {after["ca.crt"]})
        assert refused(cluster)
        reviewer.wait_for(5)
    assert set(reviewer.answers) == {"denied"}


def test_the_certificate_has_expired(operator: Replica, cluster: LocalCluster):
    """As after a year in which nobody ran: the operator comes back to a Secret of which nothing is good."""
    long_ago = moment() - tls.CA_LIFETIME * 2
    expired = tls.create(service_hosts("watchbudget", "watchbudget-system", ("127.0.0.1",)), long_ago)
    data = {
        "ca.crt": expired.ca_certificates,
        "ca.key": expired.ca_key,
        "tls.crt": expired.certificate,
        "tls.key": expired.key,
    }
    put_secret(cluster, {key: base64.b64encode(value).decode() for key, value in data.items()})
    operator.stop()
    operator.start()
    operator.wait_ready()
    eventually(lambda: operator.metric("watchbudget_leading") and refused(cluster))
    assert secret(cluster)["tls.crt"] != data["tls.crt"]


def test_the_secret_is_damaged(operator: Replica, cluster: LocalCluster):
    put_secret(cluster, dict.fromkeys(("ca.crt", "ca.key", "tls.crt", "tls.key"), "bm9uc2Vuc2U="))
    assert refused(cluster)
    eventually(lambda: secret(cluster)["tls.crt"] != b"nonsense")
    eventually(lambda: bundles(cluster) == {secret(cluster)["ca.crt"]})
    assert refused(cluster)


def test_the_webhook_configurations_are_applied_anew(operator: Replica, cluster: LocalCluster):
    cluster.kubectl("delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration", "watchbudget")
    assert not refused(cluster)
    install(cluster, operator.port)
    eventually(lambda: refused(cluster))


def test_the_definition_of_our_type_is_deleted_and_comes_back(running: Replica, cluster: LocalCluster):
    """Last in this file: what is true changes with it."""
    began = moment()
    cluster.kubectl("delete", "crd", "watchbudgets.watchbudget.io", "--timeout=60s")
    eventually(lambda: not refused(cluster))
    assert running.probe("/readyz")[0] == 200
    gone = moment()
    time.sleep(3)
    install(cluster, running.port)
    body = {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget", "metadata": {"name": "strict"}}
    cluster.apply(json.dumps(body | {"spec": STRICT}))
    eventually(lambda: settled(cluster, running), 40)
    counted_by_a_watch(cluster)
    put_budget(cluster, "another", seconds=10)  # its own watch is back, too
    told = [event for event in writes(cluster) if received(event) > began]
    between = [event for event in told if received(event) < gone]
    assert "watchbudgets" not in {event["objectRef"]["resource"] for event in between}
    assert "Traceback" not in running.output()


def secret(cluster: LocalCluster) -> dict[str, bytes]:
    data = cluster.request("GET", SECRET_PATH).json()["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def put_secret(cluster: LocalCluster, data: dict[str, str]) -> None:
    cluster.request("PATCH", SECRET_PATH, {"data": data}, headers=MERGE_PATCH)


def bundles(cluster: LocalCluster) -> set[bytes]:
    """What the webhook configurations trust."""
    found = set()
    for resource in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        path = f"/apis/admissionregistration.k8s.io/v1/{resource}/watchbudget"
        for webhook in cluster.request("GET", path).json()["webhooks"]:
            found.add(base64.b64decode(webhook["clientConfig"].get("caBundle", "")))
    return found
