"""Which requests the API server sends to which path, by the webhooks of the development overlay."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from manifests.installation import (
    JSON_PATCH,
    MANIFESTS,
    NAME,
    NAMESPACE,
    daemon_set,
    pods_of,
)
from watchbudget.controller import tls
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.controller.server import AdmissionServer
from watchbudget.localcluster import LocalCluster

DAEMON_SETS = "/apis/apps/v1/namespaces/default/daemonsets"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
PATHS = ("/mutate-daemonsets", "/mutate-pods", "/validate-daemonsets", "/validate-clusterrolebindings")
JUDGED = ["/mutate-daemonsets", "/validate-daemonsets"]
WIDE = {"rollingUpdate": {"maxUnavailable": "50%"}}
KEPT = "watchbudget.io/max-unavailable"
CALLED: list[tuple[str, str, str]] = []  # path, operation, name


def listener(path: str) -> Callable[[AdmissionRequest], AdmissionResponse]:
    def handle(request: AdmissionRequest) -> AdmissionResponse:
        raw = request.object or {}
        CALLED.append((path, request.operation, str(request.name or raw["metadata"].get("generateName"))))
        return AdmissionResponse(allowed=True)

    return handle


class Listening:
    """An admission server in a thread of its own."""

    def __init__(self) -> None:
        self.bundle = tls.create(["127.0.0.1"], dt.datetime.now(dt.UTC))
        self.port = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        local = ("127.0.0.1", 0)
        server = AdmissionServer({path: listener(path) for path in PATHS}, address=local, probe_address=local)
        server.load_certificate(self.bundle.certificate, self.bundle.key)
        await server.start()
        self.port = server.port
        self._started.set()
        await self._end.wait()
        await server.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)


@pytest.fixture(scope="module")
def developed(installed: LocalCluster, kubectl: Path) -> Iterator[LocalCluster]:
    """The development overlay, its port replaced, our listener's CA in it, and in force."""
    cluster = installed
    with Listening() as listening:
        folder = MANIFESTS / "overlays" / "development"
        text = subprocess.run(
            [kubectl, "kustomize", folder], capture_output=True, text=True, check=True
        ).stdout
        cluster.apply(text.replace("127.0.0.1:9443", f"127.0.0.1:{listening.port}"))
        ca = base64.b64encode(listening.bundle.ca_certificates).decode()
        for resource in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
            path = f"/apis/admissionregistration.k8s.io/v1/{resource}/{NAME}"
            count = len(cluster.request("GET", path).json()["webhooks"])
            patch = [
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": ca}
                for index in range(count)
            ]
            cluster.request("PATCH", path, patch, headers=JSON_PATCH)
        deadline = time.monotonic() + 30
        while {path for path, *_ in CALLED} != set(PATHS):
            assert time.monotonic() < deadline, f"only {CALLED} were called"
            cluster.request("POST", f"{DAEMON_SETS}?dryRun=All", daemon_set("first", strategy=WIDE))
            cluster.request("POST", f"{BINDINGS}?dryRun=All", binding("first"))
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "ownerReferences": [owner()]}}
            pod["spec"] = {"containers": [{"name": "c", "image": "x"}]}
            cluster.request("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod)
            time.sleep(0.2)
        yield cluster
        cluster.kubectl("apply", "-k", str(MANIFESTS))


@pytest.fixture
def called(developed: LocalCluster) -> list[tuple[str, str, str]]:
    """What is called from now on."""
    CALLED.clear()
    return CALLED


@pytest.fixture
def agent(developed: LocalCluster) -> Iterator[str]:
    """The path of a DaemonSet with three pods, half of which may be replaced at once."""
    item = daemon_set("agent", strategy=WIDE)
    item["metadata"]["annotations"] = {"kept": "1", "watchbudget.io/watches": "{}"}
    developed.request("POST", DAEMON_SETS, item)
    pods_of(developed, "agent", 3)
    yield f"{DAEMON_SETS}/agent"
    developed.kubectl("delete", "daemonset", "agent", "--cascade=foreground", "--ignore-not-found")
    pods_of(developed, "agent", 0)


def owner(kind: str = "DaemonSet", version: str = "apps/v1", *, controller: bool = True) -> dict[str, Any]:
    reference = {"apiVersion": version, "kind": kind, "name": "x", "uid": "0"}
    return reference | ({"controller": True} if controller else {})


def binding(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    }


def test_a_daemon_set_is_capped_then_judged_and_its_pods_may_be_held(
    developed: LocalCluster, called: list[tuple[str, str, str]], agent: str
):
    assert called[:2] == [(path, "CREATE", "agent") for path in JUDGED]
    assert called[2:] == [("/mutate-pods", "CREATE", "agent-")] * 3


@pytest.mark.parametrize(
    ("strategy", "annotations", "asked"),
    [
        (None, {}, False),
        ({"type": "RollingUpdate"}, {"kept": "1"}, False),
        ({"type": "OnDelete"}, {}, False),
        ({"rollingUpdate": {"maxUnavailable": 1}}, {}, False),
        ({"rollingUpdate": {"maxUnavailable": 1}}, {KEPT: "50%"}, True),
        ({"rollingUpdate": {"maxUnavailable": 2}}, {}, True),
        ({"rollingUpdate": {"maxUnavailable": "1%"}}, {}, True),
        ({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}, {}, True),
    ],
    ids=json.dumps,
)
def test_only_those_that_may_be_capped_cost_a_second_question(
    developed: LocalCluster,
    called: list[tuple[str, str, str]],
    strategy: dict[str, Any] | None,
    annotations: dict[str, str],
    asked: bool,
):
    item = daemon_set("narrow", strategy=strategy)
    item["metadata"]["annotations"] = annotations
    developed.request("POST", f"{DAEMON_SETS}?dryRun=All", item)
    assert [path for path, *_ in called] == (JUDGED if asked else JUDGED[1:])


def test_taking_our_annotation_away_costs_one_too(
    developed: LocalCluster, called: list[tuple[str, str, str]]
):
    item = daemon_set("kept", strategy={"rollingUpdate": {"maxUnavailable": 1}})
    item["metadata"]["annotations"] = {KEPT: "50%"}
    developed.request("POST", DAEMON_SETS, item)
    pods_of(developed, "kept", 3)
    called.clear()
    patch = [{"op": "remove", "path": "/metadata/annotations"}]
    developed.request("PATCH", f"{DAEMON_SETS}/kept?dryRun=All", patch, headers=JSON_PATCH)
    assert [path for path, *_ in called] == JUDGED
    developed.kubectl("delete", "daemonset", "kept", "--cascade=foreground")
    pods_of(developed, "kept", 0)


@pytest.mark.parametrize(
    ("patch", "asked"),
    [
        ([{"op": "add", "path": "/spec/template/spec/containers/0/image", "value": "y"}], True),
        ([{"op": "add", "path": "/spec/updateStrategy/rollingUpdate/maxUnavailable", "value": 2}], True),
        ([{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}], True),
        ([{"op": "add", "path": "/metadata/annotations/watchbudget.io~1paused", "value": "true"}], True),
        ([{"op": "add", "path": "/metadata/annotations/watchbudget.io~1watches", "value": "{ }"}], True),
        ([{"op": "remove", "path": "/metadata/annotations/watchbudget.io~1watches"}], True),
        ([{"op": "remove", "path": "/metadata/annotations"}], True),
        ([{"op": "add", "path": "/metadata/annotations/other", "value": "x"}], False),
        ([{"op": "remove", "path": "/metadata/annotations/kept"}], False),
        ([{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/x"]}], False),
        ([], False),
    ],
    ids=json.dumps,
)
def test_only_changes_that_count_are_asked_about(
    developed: LocalCluster,
    agent: str,
    called: list[tuple[str, str, str]],
    patch: list[dict[str, Any]],
    asked: bool,
):
    called.clear()
    developed.request("PATCH", f"{agent}?dryRun=All", patch, headers=JSON_PATCH)
    assert called == ([(path, "UPDATE", "agent") for path in JUDGED] if asked else [])


def test_not_asked_about_status_deletion_or_our_own_writes(
    developed: LocalCluster, agent: str, called: list[tuple[str, str, str]]
):
    stored = developed.request("GET", agent).json()
    ours = developed.client(developed.token(NAMESPACE, NAME))
    verdict = [{"op": "add", "path": "/metadata/annotations/watchbudget.io~1verdict", "value": "warn"}]
    finalizer = [{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/x"]}]
    spec = [
        {"op": "remove", "path": "/metadata/finalizers"},
        {"op": "add", "path": "/metadata/labels", "value": {}},
    ]
    called.clear()
    developed.request(
        "PUT", f"{agent}/status?dryRun=All", stored | {"status": {**stored["status"], "numberReady": 1}}
    )
    ours.request("PATCH", agent, verdict, headers=JSON_PATCH)
    assert called == []
    developed.request("PATCH", agent, finalizer, headers=JSON_PATCH)
    developed.request("DELETE", agent)
    spec[1]["value"] = {"a": "b"}  # what counts otherwise
    developed.request("PATCH", f"{agent}?dryRun=All", spec, headers=JSON_PATCH)
    developed.request("PATCH", agent, spec[:1], headers=JSON_PATCH)
    assert called == []


@pytest.mark.parametrize(
    ("owners", "asked"),
    [
        ([owner()], True),
        ([owner("Node", "v1", controller=False), owner()], True),
        ([], False),
        ([owner("ReplicaSet")], False),
        ([owner(controller=False)], False),
        ([owner(version="apps.kruise.io/v1beta1")], False),
    ],
    ids=json.dumps,
)
def test_only_pods_of_daemon_sets_are_asked_about(
    developed: LocalCluster, called: list[tuple[str, str, str]], owners: list[dict[str, Any]], asked: bool
):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "pod-", "ownerReferences": owners},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    developed.request("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod)
    assert called == ([("/mutate-pods", "CREATE", "pod-")] if asked else [])


def test_our_own_namespace_is_left_alone(developed: LocalCluster, called: list[tuple[str, str, str]]):
    pod = {"containers": [{"name": "c", "image": "x"}]}
    item = daemon_set("agent", **pod)
    item["metadata"]["namespace"] = NAMESPACE
    developed.request("POST", f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets?dryRun=All", item)
    assert called == []


@pytest.mark.parametrize(("name", "asked"), [("agents", True), ("system:agents", False)])
def test_bindings(developed: LocalCluster, called: list[tuple[str, str, str]], name: str, asked: bool):
    developed.request("POST", f"{BINDINGS}?dryRun=All", binding(name))
    assert called == ([("/validate-clusterrolebindings", "CREATE", name)] if asked else [])


def test_the_api_servers_own_bindings_wait_for_nobody(
    developed: LocalCluster, called: list[tuple[str, str, str]]
):
    """At its start it puts back what someone took from its own, also where the name gives nothing away."""
    patch = [{"op": "add", "path": "/subjects", "value": []}]
    developed.request("PATCH", f"{BINDINGS}/cluster-admin", patch, headers=JSON_PATCH)
    assert called == [("/validate-clusterrolebindings", "UPDATE", "cluster-admin")]
    called.clear()
    developed.stop_component("kube-apiserver")
    developed.start_component("kube-apiserver")
    deadline = time.monotonic() + 30
    while not developed.request("GET", f"{BINDINGS}/cluster-admin").json().get("subjects"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert called == []
