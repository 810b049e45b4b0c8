"""Status, annotations and Events on the real API server, as kubectl shows them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fake_apiserver import async_test
from live_cluster import make_auditor, requests_of
from policy_samples import CENSUS
from reporting_rig import BUDGETS, Rig, judged, live_rig, view_of
from watchbudget.api.crd import NAME as CRD
from watchbudget.api.crd import crd_yaml
from watchbudget.api.status import Condition, RolloutStatus, Starts
from watchbudget.controller.news import budget_ref
from watchbudget.controller.recorder import OBJECT_BURST
from watchbudget.controller.status import Staging
from watchbudget.localcluster import LocalCluster

ROOT = Path(__file__).parents[2]
NAMESPACE = "status-test"
ACCOUNT = "reporter"
LONG = "x" * 253
AGENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"
HEADERS = ("ACTION", "GOVERNED", "VIOLATING", "PER-NODE", "TOTAL", "IN-FLIGHT", "COMPLIANT")
WRITES = {"watchbudgets/status", "daemonsets", "events"}


def rules() -> list[dict[str, Any]]:
    """What the manifests let the operator write of its judgement, and nothing else."""
    documents = yaml.safe_load_all((ROOT / "manifests" / "base" / "account.yaml").read_text())
    role = next(each for each in documents if each["kind"] == "ClusterRole")
    found = [
        rule for rule in role["rules"] if WRITES & set(rule.get("resources", ())) and "patch" in rule["verbs"]
    ]
    assert len(found) == len(WRITES)
    return found


@pytest.fixture(scope="module")
def server(cluster: LocalCluster) -> Iterator[LocalCluster]:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD}"
    installed = cluster.request("GET", path, check=False).status == 200
    cluster.apply(crd_yaml())
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=30s")
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    if not installed:
        cluster.kubectl("delete", "crd", CRD, "--wait", "--timeout=60s")


@pytest.fixture(scope="module")
def kubeconfig(server: LocalCluster) -> Path:
    return make_auditor(server, ACCOUNT, rules())


@pytest.fixture
def clean(server: LocalCluster) -> Iterator[LocalCluster]:
    yield server
    server.kubectl("delete", "wb", "--all")
    server.kubectl("delete", "daemonset", "--all", "-n", NAMESPACE)


def agent(name: str = "agent", **annotations: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "agent", "image": "registry.example/agent:1.0"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": {"watchbudget.io/watches": '{"namespaces": "all"}'} | annotations,
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def budget(name: str = "nodes", **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "watchbudget.io/v1alpha1",
        "kind": "WatchBudget",
        "metadata": {"name": name},
        "spec": {"enforcement": {"action": "Deny"}} | spec,
    }


def put(cluster: LocalCluster, *objects: dict[str, Any]) -> None:
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def stored(cluster: LocalCluster, name: str = "nodes") -> dict[str, Any]:
    found: dict[str, Any] = cluster.request("GET", f"{BUDGETS}/{name}").json()
    return found


def annotations(cluster: LocalCluster, name: str = "agent") -> dict[str, str]:
    found: dict[str, str] = cluster.request("GET", f"{AGENTS}/{name}").json()["metadata"]["annotations"]
    return {key: value for key, value in found.items() if key.startswith("watchbudget.io/")}


def conditions(cluster: LocalCluster, name: str = "nodes") -> dict[str, Any]:
    return {each["type"]: each for each in stored(cluster, name)["status"]["conditions"]}


async def report(rig: Rig, cluster: LocalCluster, **options: Any) -> None:  # noqa: ANN401
    """One judgement, and everything written that is due."""
    view = view_of(cluster, NAMESPACE)
    await rig.reporter.report(judged(view, options.pop("census", CENSUS)), view, census_age=10, **options)
    await rig.reporter.flush()


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_status_as_kubectl_shows_it(clean: LocalCluster, kubeconfig: Path):
    put(clean, agent(), agent("other"), budget(limits={"cachePerNode": "32Mi"}))

    @async_test
    async def first() -> None:
        async with live_rig(kubeconfig) as rig:
            await report(rig, clean)
            assert rig.count("watchbudget_writes_total", target="status") == 1

    first()
    waited = clean.kubectl("wait", "--for=condition=Compliant=false", "wb/nodes", "--timeout=5s")
    assert "condition met" in waited.stdout
    header, line = clean.kubectl("get", "wb").stdout.splitlines()
    assert header.split() == ["NAME", *HEADERS, "AGE"]
    # IN-FLIGHT is empty: nothing is known of starts
    assert line.split()[:-1] == ["nodes", "Deny", "2", "2", "79Mi", "240Mi", "False"]
    wide = clean.kubectl("get", "wb", "-o", "wide").stdout
    assert re.search(r"False +\S+ +False +32Mi +470Mi +agent +catalogue +2 .* True +Findings", wide), wide
    described = clean.kubectl("describe", "wb", "nodes").stdout
    assert "2 of 2 governed DaemonSets have findings: status-test/agent (memory-limit-missing" in described
    assert "79Mi on a node (32Mi allowed)" in described
    found = conditions(clean)
    assert found["WithinBudget"]["reason"] == "OverNodeLimit"
    assert found["Accepted"]["status"] == "True"
    assert found["Progressing"]["reason"] == "NotStaged"
    assert {each["observedGeneration"] for each in found.values()} == {1}
    assert stored(clean)["status"]["observedGeneration"] == 1

    off = [{"name": name, "action": "Off"} for name in ("unselective-watch", "memory-limit-missing")]
    put(clean, budget(enforcement={"action": "Deny", "rules": off}))

    @async_test
    async def second() -> None:
        async with live_rig(kubeconfig) as rig:
            rig.clock.seconds += 100
            await report(rig, clean)

    second()
    assert "condition met" in clean.kubectl("wait", "--for=condition=Compliant", "wb/nodes").stdout
    after = conditions(clean)
    assert after["Compliant"]["lastTransitionTime"] == "2026-11-24T12:01:40Z"
    assert after["Accepted"]["lastTransitionTime"] == found["Accepted"]["lastTransitionTime"]
    assert after["WithinBudget"]["reason"] == "NoLimits"
    assert {each["observedGeneration"] for each in after.values()} == {2}


def test_what_stays_the_same_is_not_written_again_not_even_after_a_restart(
    clean: LocalCluster, kubeconfig: Path
):
    put(clean, agent(), budget())

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            await report(rig, clean)
            before = [
                stored(clean),
                clean.request("GET", f"{AGENTS}/agent").json()["metadata"]["annotations"],
            ]
            sent = len(rig.wire.sent)
            assert sent >= 2
            rig.clock.seconds += 3000
            await report(rig, clean)  # the watches know it by now
            assert len(rig.wire.sent) == sent
        async with live_rig(kubeconfig) as restarted:
            restarted.clock.seconds += 5000
            await report(restarted, clean)
            assert restarted.wire.sent == []
        after = [stored(clean), clean.request("GET", f"{AGENTS}/agent").json()["metadata"]["annotations"]]
        assert after == before

    run()


def test_fields_no_longer_reported_are_removed_and_nothing_else_is_touched(
    clean: LocalCluster, kubeconfig: Path
):
    put(clean, agent(), budget(rollout={}))
    before = stored(clean)
    starting = Staging(
        starts=Starts(in_flight=3, held=7, permits=5, paused_reason="TooManyFailures", message="5 of 60"),
        rollouts=(RolloutStatus(namespace=NAMESPACE, name="agent", nodes=3, updated=1, failed=1),),
        progressing=Condition(
            type="Progressing", status="True", last_transition_time="", reason="Starting", message="3 start"
        ),
    )

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            await report(rig, clean, staging={"nodes": starting})
            full = stored(clean)["status"]
            assert full["starts"]["pausedReason"] == "TooManyFailures"
            assert [each["name"] for each in full["worst"]] == ["agent"]
            assert conditions(clean)["Progressing"]["reason"] == "Starting"
            wide = clean.kubectl("get", "wb", "nodes", "-o", "wide").stdout
            assert re.search(r" 3 +False .* 5 +7 +TooManyFailures ", wide), wide
            clean.kubectl("delete", "daemonset", "agent", "-n", NAMESPACE)
            rig.clock.seconds += 100
            await report(rig, clean, staging={"nodes": Staging(starts=Starts(in_flight=0))})

    run()
    after = stored(clean)
    assert after["status"]["starts"] == {"inFlight": 0}
    assert "rollouts" not in after["status"]
    assert "worst" not in after["status"]
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == 1
    ours = [each for each in after["metadata"]["managedFields"] if each["manager"] == "watchbudget"]
    assert [(each["operation"], each["subresource"], [*each["fieldsV1"]]) for each in ours] == [
        ("Apply", "status", ["f:status"])
    ]


def test_a_budget_made_anew_does_not_get_the_old_ones_status(clean: LocalCluster, kubeconfig: Path):
    put(clean, agent(), budget())

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            old = view_of(clean, NAMESPACE)
            clean.kubectl("delete", "wb", "nodes")
            put(clean, budget())
            await rig.reporter.report(judged(old), old, census_age=1)
            await rig.reporter.flush()
            assert "status" not in stored(clean)
            assert rig.reporter.pending.statuses == ("nodes",)
            await report(rig, clean)
            assert stored(clean)["status"]["counts"]["governed"] == 1
            clean.kubectl("delete", "wb", "nodes")
            rig.clock.seconds += 1000
            await report(rig, clean)
            assert rig.reporter.pending.statuses == ()

    run()


def test_the_definition_deleted_and_back(clean: LocalCluster, kubeconfig: Path):
    put(clean, agent(), budget())

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            view = view_of(clean, NAMESPACE)
            clean.kubectl("delete", "crd", CRD, "--wait", "--timeout=60s")
            await rig.reporter.report(judged(view), view, census_age=1)
            await rig.reporter.flush()
            assert rig.reporter.pending.statuses == ("nodes",)
            clean.apply(crd_yaml())
            clean.kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=30s")
            put(clean, budget())
            await report(rig, clean)
            assert rig.reporter.pending.statuses == ()
            assert stored(clean)["status"]["counts"]["violating"] == 1

    run()


def test_annotations_come_and_go_and_no_pod_is_replaced(clean: LocalCluster, kubeconfig: Path):
    put(clean, agent(owner="team-a"), budget())
    clean.kubectl("rollout", "status", "daemonset/agent", "-n", NAMESPACE, "--timeout=30s")
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    revisions = f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions"

    def running() -> object:
        found = [clean.request("GET", path).json()["items"] for path in (pods, revisions)]
        names = [
            sorted((each["metadata"]["name"], each["metadata"]["uid"]) for each in some) for some in found
        ]
        assert len(names[0]) == 3
        return names, clean.request("GET", f"{AGENTS}/agent").json()["metadata"]["generation"]

    before = running()

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            await report(rig, clean)
            assert annotations(clean) == {
                "watchbudget.io/watches": '{"namespaces": "all"}',
                "watchbudget.io/verdict": "deny",
                "watchbudget.io/findings": "memory-limit-missing,unselective-watch",
                "watchbudget.io/cache-per-pod": "39Mi",
                "watchbudget.io/list-bytes-per-start": "6.4Mi",
            }
            clean.kubectl("delete", "wb", "nodes")
            rig.clock.seconds += 1
            await report(rig, clean)

    run()
    assert annotations(clean) == {"watchbudget.io/watches": '{"namespaces": "all"}'}
    whole = clean.request("GET", f"{AGENTS}/agent").json()
    assert whole["metadata"]["annotations"]["owner"] == "team-a"
    # the controller has seen what we did, and done nothing about it
    clean.kubectl("annotate", "daemonset", "agent", "-n", NAMESPACE, "seen=yes")
    time.sleep(2)
    assert running() == before


def test_a_daemon_set_made_anew_or_deleted_is_not_annotated(clean: LocalCluster, kubeconfig: Path):
    put(clean, agent(), agent("leaving"), budget())

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            view = view_of(clean, NAMESPACE)
            clean.kubectl("delete", "daemonset", "--all", "-n", NAMESPACE)
            put(clean, agent())
            await rig.reporter.report(judged(view), view, census_age=1)
            await rig.reporter.flush()
            assert "watchbudget.io/verdict" not in annotations(clean)
            assert rig.count("watchbudget_writes_total", target="annotations") == 0
            assert len([sent for sent in rig.wire.sent if "daemonsets" in sent.path]) == 2

            held = agent("held")
            held["metadata"]["finalizers"] = ["test.watchbudget.io/hold"]
            put(clean, held)
            clean.kubectl("delete", "daemonset", "held", "-n", NAMESPACE, "--wait=false")
            rig.clock.seconds += 10
            await report(rig, clean)
            assert "watchbudget.io/verdict" in annotations(clean)
            assert "watchbudget.io/verdict" not in annotations(clean, "held")

    try:
        run()
    finally:
        free = json.dumps([{"op": "remove", "path": "/metadata/finalizers"}])
        clean.kubectl("patch", "daemonset", "held", "-n", NAMESPACE, "--type=json", "-p", free)


def test_status_of_a_large_fleet_names_the_worst_and_stays_small(clean: LocalCluster, kubeconfig: Path):
    fleet = [agent(f"agent-{'x' * 50}-{number:02}") for number in range(40)]
    for each in fleet:
        each["spec"]["template"]["spec"]["nodeSelector"] = {"no": "node"}
    put(clean, *fleet, budget())

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            await report(rig, clean)

    run()
    status = stored(clean)["status"]
    assert status["counts"]["violating"] == 40
    assert len(status["worst"]) == 10
    assert len(json.dumps(status)) < 16_000


def test_events_as_kubectl_describes_them(clean: LocalCluster, kubeconfig: Path):
    put(clean, agent(), budget(), budget(LONG))

    def events_of(kind: str, name: str) -> str:
        where = ("-n", NAMESPACE) if kind == "daemonset" else ()
        return clean.kubectl("describe", kind, name, *where).stdout.partition("Events:")[2]

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            await report(rig, clean)
            rig.clock.seconds += 90
            view = view_of(clean, NAMESPACE)
            uid = view.budget_meta["nodes"].uid
            for _ in range(3):
                rig.reporter.recorder.event(budget_ref("nodes", uid), "Normal", "Paused", "ü" * 800, "Pause")
            await rig.reporter.flush()
            rig.clock.seconds += 90
            rig.reporter.recorder.event(budget_ref("nodes", uid), "Normal", "Paused", "ü" * 800, "Pause")
            await rig.reporter.flush()
            assert rig.count("watchbudget_write_failures_total", target="events", outcome="refused") == 0
            for number in range(40):  # each of its own: nothing to be counted up
                rig.reporter.recorder.event(budget_ref(LONG, "uid"), "Normal", "Paused", str(number), "Pause")
            await rig.reporter.flush()
            assert rig.count("watchbudget_events_dropped_total", reason="rate") == 40 - OBJECT_BURST

    run()
    of_agent = events_of("daemonset", "agent")
    assert re.search(
        r"Warning +WatchBudgetViolation +\S+ +watchbudget.io/operator +WatchBudget \S+, ", of_agent
    ), of_agent
    of_budget = events_of("wb", "nodes")
    assert re.search(r"Warning +NotCompliant +\S+ +watchbudget.io/operator +1 of 1 governed", of_budget), (
        of_budget
    )
    assert re.search(r"Normal +Paused +\S+ \(x4 over \S+\) +watchbudget.io/operator +ü+…", of_budget), (
        of_budget
    )
    assert "NotCompliant" in events_of("wb", LONG)


def test_a_budget_of_a_newer_version_is_told_so(clean: LocalCluster, kubeconfig: Path):
    newer = yaml.safe_load(crd_yaml())
    spec = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["limits"]["properties"]["cachePerRack"] = {"type": "string"}
    clean.apply(yaml.safe_dump(newer))
    wait_until(
        lambda: "cachePerRack" in clean.kubectl("explain", "wb.spec.limits").stdout, "the schema never came"
    )
    put(clean, agent(), budget(limits={"cachePerRack": "1Gi"}))

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            await report(rig, clean)
            assert "watchbudget.io/verdict" not in annotations(clean)
            found = conditions(clean)
            assert (found["Accepted"]["status"], found["Accepted"]["reason"]) == ("False", "Invalid")
            assert "spec.limits.cachePerRack: there is no such field" in found["Accepted"]["message"]
            assert found["Compliant"]["status"] == "Unknown"
            rig.clock.seconds += 100
            put(clean, budget(limits={}))
            await report(rig, clean)
            assert conditions(clean)["Accepted"]["status"] == "True"
            assert conditions(clean)["Accepted"]["lastTransitionTime"] == "2026-11-24T12:01:40Z"

    try:
        run()
    finally:
        clean.apply(crd_yaml())
    events = clean.kubectl("describe", "wb", "nodes").stdout.partition("Events:")[2]
    assert "NotAccepted" in events
    assert re.search("Normal +Accepted", events)


def test_a_status_put_there_by_others_is_put_right(clean: LocalCluster, kubeconfig: Path):
    put(clean, agent(), budget())
    patch = json.dumps({"status": {"counts": {"governed": 9, "violating": 0}}})

    @async_test
    async def run() -> None:
        async with live_rig(kubeconfig) as rig:
            await report(rig, clean)
            clean.kubectl("patch", "wb", "nodes", "--subresource=status", "--type=merge", "-p", patch)
            rig.clock.seconds += 2
            await report(rig, clean)
            assert stored(clean)["status"]["counts"]["violating"] == 1
            assert conditions(clean)["Compliant"]["lastTransitionTime"] == "2026-11-24T12:00:00Z"

    run()


def test_explain_describes_the_spec(server: LocalCluster):
    text = server.kubectl("explain", "wb.spec").stdout
    for field in ("daemonSetSelector", "limits", "enforcement", "exemptions", "rollout", "resources"):
        assert re.search(rf"^  {field}\t<", text, re.MULTILINE), text


def test_nothing_is_read_or_asked_beyond_its_rights(server: LocalCluster, kubeconfig: Path):
    """Last in the file: everything above went through this account."""
    asked = requests_of(server, ACCOUNT)
    assert asked
    assert {event["verb"] for event in asked} <= {"patch", "create"}
    assert not [event for event in asked if event["responseStatus"]["code"] == 403]
