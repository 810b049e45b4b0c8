"""What breaks under the operator on the real API server: it answers or fails open, writes nothing false,
and settles by itself.

The state of the cluster is the same all the time, so that whatever else is written of it is false: a
DaemonSet violates a budget; by another budget one is exempted for two more days, and one was until two
days ago.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import random
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

DENY = {"enforcement": {"action": "Deny"}}
STRICT = DENY | {"daemonSetSelector": {"matchExpressions": [{"key": "dated", "operator": "DoesNotExist"}]}}
DAY = 86400
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
WRONG_CLOCK = Path(__file__).parents[1] / "wrong_clock.py"
DAEMON_SETS = "/apis/apps/v1/namespaces/default/daemonsets"


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
    replica = Replica(cluster, proxy=proxy, wrapper=wrapper, installed=True)
    install(cluster, replica.port)
    cluster.wait_until_counted()  # no figure changes later
    with replica:
        for each in (agent("violating"), dated("exempted"), dated("expired")):
            cluster.request("POST", DAEMON_SETS, each)
        for name, spec in budgets().items():
            put_budget(cluster, name, **spec)
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


def budgets() -> dict[str, dict[str, Any]]:
    """By name. What is exempted by the second is so for no shorter than a clock may be wrong by hours."""
    today = moment().date()
    soon, ago = (str(today + dt.timedelta(days)) for days in (2, -2))
    exemptions = [
        {"namespace": "default", "name": name, "rules": ["*"], "reason": "known", "until": until}
        for name, until in (("exempted", soon), ("soon", soon), ("expired", ago), ("late", ago))
    ]
    return {
        "strict": STRICT,
        "dated": DENY | {"daemonSetSelector": {"matchLabels": {"dated": "yes"}}, "exemptions": exemptions},
    }


def dated(name: str) -> dict[str, Any]:
    """An agent that the second budget governs."""
    item = agent(name)
    item["metadata"]["labels"] = {"dated": "yes"}
    return item


def settled(cluster: LocalCluster, operator: Replica) -> bool:
    """It leads, the status is right, and the API server's calls are answered."""
    return (
        operator.probe("/readyz")[0] == 200
        and operator.metric("watchbudget_leading") == 1.0
        and counts(cluster, "strict") == (1, 0)
        and counts(cluster, "dated") == (1, 1)
        and refused(cluster)
        and refused(cluster, dated("late"))
        and not refused(cluster, dated("soon"))
    )


def status(cluster: LocalCluster, name: str = "strict") -> dict[str, Any]:
    answer = cluster.request("GET", f"/apis/watchbudget.io/v1alpha1/watchbudgets/{name}", check=False)
    found: dict[str, Any] = answer.json().get("status", {})
    return found


def counts(cluster: LocalCluster, name: str) -> tuple[int | None, int | None]:
    """How many DaemonSets violate a budget, and how many are exempted."""
    found = status(cluster, name).get("counts", {})
    return found.get("violating"), found.get("exempted")


def refused(cluster: LocalCluster, item: dict[str, Any] | None = None) -> bool:
    """Whether a bad agent is refused at its creation, by a dry run; else it must have been let through."""
    answer = cluster.request("POST", f"{DAEMON_SETS}?dryRun=All", item or agent("next"), check=False)
    assert answer.status in {201, 403}, answer.body
    assert answer.status == 201 or "is not accepted as it is" in answer.json()["message"]
    return answer.status == 403


def false_writes(cluster: LocalCluster, since: dt.datetime, *, right_clock: bool = True) -> list[str]:
    """Statuses that say something else than what is the case, and verdicts taken away.

    Where the clock is wrong by days, that of the budget with dates is not looked at.
    """
    found, truth = [], {"strict": (1, 0)} | ({"dated": (1, 1)} if right_clock else {})
    for event in writes(cluster):
        target, body = event["objectRef"], event.get("requestObject") or {}
        if received(event) < since:
            continue
        if target["resource"] == "watchbudgets" and (true := truth.get(target["name"])):
            told = body["status"]
            compliant = [each["status"] for each in told["conditions"] if each["type"] == "Compliant"]
            counted = told["counts"]["violating"], told["counts"]["exempted"]
            if compliant != ["False"] or counted != true:
                found.append(f"{target['name']} {compliant} {told['counts']}")
        if target["resource"] == "daemonsets" and target["name"] == "violating":
            verdict = body["metadata"]["annotations"].get("watchbudget.io/verdict", "deny")
            if verdict != "deny":
                found.append(f"annotated {verdict}")
    return found


def counted_by_a_watch(cluster: LocalCluster) -> None:
    """A DaemonSet that comes and goes is heard of at once: full lists are minutes apart."""
    harmless = agent("harmless")
    harmless["metadata"]["annotations"] = {"watchbudget.io/watches": '{"namespaces": "none"}'}
    cluster.request("POST", DAEMON_SETS, harmless)
    try:
        eventually(lambda: status(cluster)["counts"]["governed"] == 2, 20)
    finally:
        cluster.request("DELETE", f"{DAEMON_SETS}/harmless")
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
        began_anew = "/apis/apps/v1/daemonsets?limit="
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


@pytest.mark.parametrize(
    ("code", "headers"), [(429, {"Retry_After": "1", "Content_Type": "text/plain"}), (500, {})]
)
def test_some_requests_are_refused(
    operator: Replica, cluster: LocalCluster, proxy: ApiProxy, code: int, headers: dict[str, str]
):
    """Every other one by chance, whatever it asks: it goes on, only slower."""
    chance = random.Random(code)  # noqa: S311 - no secret
    drawn: list[bool] = []

    def meant(*_: str) -> bool:
        drawn.append(chance.random() < 0.5)
        return drawn[-1]

    with Reviewer(operator) as reviewer:
        began = time.monotonic()
        proxy.refuse(code, "no", meant, **headers)
        try:
            for number in range(5):
                proxy.break_connections()
                eventually(lambda number=number: sum(drawn) > 4 * number)
                assert refused(cluster)
            put_budget(cluster, "under-fire", seconds=60, daemonSetSelector={"matchLabels": {"no": "one"}})
            sent = [each for each in proxy.seen if each.at > began]
            assert len(sent) < 40 * (time.monotonic() - began)  # no hot loop
            assert operator.probe("/readyz")[0] == 200
        finally:
            proxy.restore()
            cluster.kubectl("delete", "wb", "under-fire", "--ignore-not-found")
        reviewer.wait_for(5)
    assert set(reviewer.answers) == {"denied"}


def test_etcd_stands_still(operator: Replica, cluster: LocalCluster, proxy: ApiProxy):
    """For thirty seconds. What is asked for every two of them is not asked for oftener."""
    with Reviewer(operator) as reviewer:
        began = time.monotonic()
        cluster.pause("etcd")
        try:
            while time.monotonic() < began + 30:
                reviewer.wait_for(5)
                assert operator.probe("/livez")[0] == operator.probe("/readyz")[0] == 200
                assert operator.metric("watchbudget_leading") == 0.0 or time.monotonic() < began + 12
                time.sleep(1)
            sent = [each for each in proxy.seen if each.at > began]
            assert len(sent) < 10 * (time.monotonic() - began)  # no hot loop
        finally:
            cluster.resume("etcd")
        reviewer.wait_for(10)
    assert set(reviewer.answers) == {"denied"}


def test_the_clock_is_wrong_by_less_than_a_certificate_is_backdated(
    operator: Replica, cluster: LocalCluster, clock: Path
):
    """As NTP puts right at once: in neither direction is anything disturbed, nor any status written."""
    before, began = secret(cluster), moment()
    with Reviewer(operator) as reviewer:
        for shift in (3600, -3000):
            clock.write_text(str(shift))
            judge_soon(cluster)
            time.sleep(17)  # certificates are looked at every 15 s
            assert settled(cluster, operator)
        clock.unlink()
    assert set(reviewer.answers) == {"denied"}
    assert secret(cluster) == before
    assert status_writes(cluster, began) == []


@pytest.mark.parametrize("days", [4, -4, 400])
def test_the_clock_is_wrong_by_days(running: Replica, cluster: LocalCluster, clock: Path, days: int):
    """Exemptions are judged by the day that it has, as they say; all else stays as it is, and it comes back.

    There is another certificate where by that clock it is not good. Of a far future API servers do not
    accept it: they fail open meanwhile.
    """
    eventually(lambda: settled(cluster, running))
    transitions = cluster.request("GET", LEASE_PATH).json()["spec"]["leaseTransitions"]
    before, began = secret(cluster), moment()
    wrong = {True: (2, 0), False: (0, 2)}[days > 0]
    clock.write_text(str(days * DAY))
    try:
        judge_soon(cluster)
        eventually(lambda: counts(cluster, "dated") == wrong)
        if days != 4:
            eventually(lambda: secret(cluster) != before)
        if days != 400:  # who creates one is told the same
            eventually(lambda: refused(cluster))
            assert refused(cluster, dated("soon")) == refused(cluster, dated("late")) == (days > 0)
        assert running.probe("/readyz")[0] == 200
    finally:
        clock.unlink()
    right = moment()
    judge_soon(cluster)
    eventually(lambda: settled(cluster, running), 60)
    assert false_writes(cluster, began, right_clock=False) == []
    assert {each["objectRef"]["name"] for each in status_writes(cluster, began)} == {"dated"}
    lease = cluster.request("GET", LEASE_PATH).json()["spec"]
    assert lease["leaseTransitions"] == transitions  # it goes by no clock that can be set
    (compliant,) = [each for each in status(cluster, "dated")["conditions"] if each["type"] == "Compliant"]
    changed = dt.datetime.fromisoformat(compliant["lastTransitionTime"])
    assert changed.replace(microsecond=0) <= moment()
    assert (changed >= right.replace(microsecond=0)) == (days < 0)  # only then has it been true meanwhile


def judge_soon(cluster: LocalCluster) -> None:
    """Give it a reason to look at its clock: by itself it does so within half a minute."""
    patch = {"metadata": {"annotations": {"note": str(time.monotonic())}}}
    cluster.request("PATCH", f"{DAEMON_SETS}/violating", patch, headers=MERGE_PATCH)


def status_writes(cluster: LocalCluster, since: dt.datetime) -> list[dict[str, Any]]:
    """Since then, of all budgets."""
    return [
        event
        for event in writes(cluster)
        if received(event) > since and event["objectRef"]["resource"] == "watchbudgets"
    ]


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


def test_a_certificate_that_is_due_is_renewed_and_no_request_fails(operator: Replica, cluster: LocalCluster):
    before = secret(cluster)
    bundle = tls.parse(*(before[key] for key in ("ca.crt", "ca.key", "tls.crt", "tls.key")))
    hosts = service_hosts("watchbudget", "watchbudget-system", ("127.0.0.1",))
    due = tls.carry_out(bundle, tls.Plan.RENEW_SERVING, hosts, moment() - dt.timedelta(days=65))
    data = before | {"tls.crt": due.certificate, "tls.key": due.key}
    with Reviewer(operator) as reviewer:
        put_secret(cluster, {key: base64.b64encode(value).decode() for key, value in data.items()})

        def renewed() -> bool:
            assert refused(cluster)  # each time
            return secret(cluster)["tls.crt"] != due.certificate

        eventually(renewed, 60)
        reviewer.wait_for(20)
        assert refused(cluster)
    assert secret(cluster)["ca.crt"] == before["ca.crt"]
    assert set(reviewer.answers) == {"denied"}


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
    body = {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget"}
    for name, spec in budgets().items():
        cluster.apply(json.dumps(body | {"metadata": {"name": name}, "spec": spec}))
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
