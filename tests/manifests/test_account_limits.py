"""What our account may not do although RBAC lets it. The administrator may, so a policy refuses."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from manifests.installation import JSON_PATCH, NAME, NAMESPACE, daemon_set, pods_of
from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.client import ApiClient

START = "watchbudget.io/start"
LABEL = "/metadata/labels/watchbudget.io~1start"
GATES = [{"name": "example.com/other"}, {"name": START}]
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/watchbudget"
FLOW_SCHEMAS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/watchbudget-agents"
DAEMON_SETS = "/apis/apps/v1/namespaces/default/daemonsets"
PODS = "/api/v1/namespaces/default/pods"


class Case(NamedTuple):
    name: str
    patch: list[dict[str, Any]]
    refusal: str = ""  # part of the message; allowed without one


def add(path: str, value: object) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def remove(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}


RELEASE = [
    {"op": "test", "path": "/spec/schedulingGates/1/name", "value": START},
    remove("/spec/schedulingGates/1"),
    add(LABEL, "permitted"),
]

HELD = (
    Case("released", RELEASE),
    Case("released and forgotten", [remove("/spec/schedulingGates/1"), remove(LABEL)]),
    Case("only the gate", [remove("/spec/schedulingGates/1")]),
    Case("only the label", [add(LABEL, "permitted")]),
    Case("nothing", []),
    Case("another's gate", [remove("/spec/schedulingGates/0")], "only remove its own"),
    Case("all gates", [remove("/spec/schedulingGates")], "only remove its own"),
    Case("a strange value", [add(LABEL, "held2")], "its own, watchbudget.io/start, to permitted"),
    Case("a new label", [*RELEASE, add("/metadata/labels/new", "x")], "of a pod's labels"),
    Case("another's label", [*RELEASE, add("/metadata/labels/app", "x")], "of a pod's labels"),
    Case("another's label gone", [remove("/metadata/labels/kept")], "of a pod's labels"),
    Case("an annotation", [*RELEASE, add("/metadata/annotations", {"a": "b"})], "of a pod's metadata"),
    Case("a finalizer", [add("/metadata/finalizers", ["example.com/x"])], "of a pod's metadata"),
    Case("no owner", [remove("/metadata/ownerReferences")], "of a pod's metadata"),
    Case("an image", [*RELEASE, add("/spec/containers/0/image", "evil")], "of a pod's spec"),
    Case("a deadline", [add("/spec/activeDeadlineSeconds", 1)], "of a pod's spec"),
    Case("a node", [add("/spec/nodeSelector", {"a": "b"})], "of a pod's spec"),
)

FREE = (
    Case("nothing", [], "that carry its label"),
    Case("permitted", [add(LABEL, "permitted")], "that carry its label"),
    Case("an annotation", [add("/metadata/annotations", {"a": "b"})], "that carry its label"),
    Case("an image", [add("/spec/containers/0/image", "evil")], "that carry its label"),
)

DAEMON_SET = (
    Case("a verdict", [add("/metadata/annotations/watchbudget.io~1verdict", "warn")]),
    Case("no verdict", [remove("/metadata/annotations/watchbudget.io~1findings")]),
    Case("another's annotation", [add("/metadata/annotations/x", "y")], "of a DaemonSet's annotations"),
    Case("another's gone", [remove("/metadata/annotations/kept")], "of a DaemonSet's annotations"),
    Case("another's changed", [add("/metadata/annotations/kept", "2")], "of a DaemonSet's annotations"),
    Case(
        "a look-alike", [add("/metadata/annotations/awatchbudget.io~1x", "y")], "of a DaemonSet's annotations"
    ),
    Case("all annotations", [remove("/metadata/annotations")], "of a DaemonSet's annotations"),
    Case("a label", [add("/metadata/labels", {"a": "b"})], "of a DaemonSet's metadata"),
    Case("a finalizer", [add("/metadata/finalizers", ["example.com/x"])], "of a DaemonSet's metadata"),
    Case("an image", [add("/spec/template/spec/containers/0/image", "evil")], "not its spec"),
    Case(
        "a cap",
        [add("/spec/updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 7}})],
        "not its spec",
    ),
)

SUBJECT = {"kind": "ServiceAccount", "serviceAccount": {"namespace": "logging", "name": "agent"}}
LISTS = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"], "clusterScope": True}
EVERY_ACCOUNT = {"kind": "ServiceAccount", "serviceAccount": {"namespace": "logging", "name": "*"}}
PATHS = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}


def rules(subject: object = SUBJECT, lists: object = LISTS, **more: object) -> dict[str, Any]:
    return add("/spec/rules", [{"subjects": [subject], "resourceRules": [lists], **more}])


FLOW_SCHEMA = (
    Case("an agent", [rules()]),
    Case("nobody", [add("/spec/rules", [])]),
    Case("every account", [rules(EVERY_ACCOUNT)], "of single service accounts"),
    Case("a user", [rules({"kind": "User", "user": {"name": "jane"}})], "of single service accounts"),
    Case("a group", [rules({"kind": "Group", "group": {"name": "g"}})], "of single service accounts"),
    Case("writes", [rules(lists=LISTS | {"verbs": ["list", "update"]})], "only send lists and watches"),
    Case("all verbs", [rules(lists=LISTS | {"verbs": ["*"]})], "only send lists and watches"),
    Case("paths", [rules(nonResourceRules=[PATHS])], "only send lists and watches"),
    Case(
        "exempt",
        [rules(), add("/spec/priorityLevelConfiguration/name", "exempt")],
        "only change the rules",
    ),
    Case("first", [rules(), add("/spec/matchingPrecedence", 2)], "only change the rules"),
    Case("another flow", [remove("/spec/distinguisherMethod")], "only change the rules"),
    Case("a label", [add("/metadata/labels/a", "b")], "the metadata of a FlowSchema"),
)

HOOK = "/webhooks/0"
CONFIGURATION = (
    Case(
        "our CA",
        [add(f"{HOOK}/clientConfig/caBundle", "QUJD"), add("/webhooks/1/clientConfig/caBundle", "QUJD")],
    ),
    Case("no CA", [remove(f"{HOOK}/clientConfig/caBundle")]),
    Case(
        "another service",
        [add(f"{HOOK}/clientConfig/service/name", "evil")],
        "only change clientConfig.caBundle",
    ),
    Case("a port", [add(f"{HOOK}/clientConfig/service/port", 1)], "only change clientConfig.caBundle"),
    Case(
        "an address",
        [add(f"{HOOK}/clientConfig", {"url": "https://example.com/"})],
        "only change clientConfig.caBundle",
    ),
    Case("Fail", [add(f"{HOOK}/failurePolicy", "Fail")], "only change clientConfig.caBundle"),
    Case("Secrets too", [add(f"{HOOK}/rules/0/resources/-", "secrets")], "only change clientConfig.caBundle"),
    Case("everywhere", [remove(f"{HOOK}/namespaceSelector")], "only change clientConfig.caBundle"),
    Case("no conditions", [remove(f"{HOOK}/matchConditions")], "only change clientConfig.caBundle"),
    Case("one less", [remove("/webhooks/1")], "add, remove or rename"),
    Case("none", [remove("/webhooks")], "add, remove or rename"),
    Case("another name", [add(f"{HOOK}/name", "evil.watchbudget.io")], "add, remove or rename"),
    Case("a label", [add("/metadata/labels/a", "b")], "metadata of webhook configurations"),
    Case("no labels", [remove("/metadata/labels")], "metadata of webhook configurations"),
)


@pytest.fixture(scope="module")
def ours(installed: LocalCluster) -> ApiClient:
    return installed.client(installed.token(NAMESPACE, NAME))


@pytest.fixture(scope="module")
def held(installed: LocalCluster) -> Iterator[dict[str, Any]]:
    """A pod of a DaemonSet, held by our gate and by another's."""
    item = daemon_set("held", labels={START: "held", "kept": "1"}, schedulingGates=GATES)
    installed.request("POST", DAEMON_SETS, item)
    yield pods_of(installed, "held", 3)[0]
    installed.request("DELETE", f"{DAEMON_SETS}/held")


@pytest.fixture(scope="module")
def free(installed: LocalCluster) -> Iterator[dict[str, Any]]:
    """A pod of a DaemonSet that nobody holds, and the DaemonSet's annotations."""
    item = daemon_set("free")
    item["metadata"]["annotations"] = {"kept": "1", "watchbudget.io/findings": "duplicate-watch"}
    installed.request("POST", DAEMON_SETS, item)
    yield pods_of(installed, "free", 3)[0]
    installed.request("DELETE", f"{DAEMON_SETS}/free")


@pytest.fixture(scope="module")
def hooks(installed: LocalCluster) -> str:
    """The webhook configuration, with a CA in it."""
    installed.request("PATCH", WEBHOOKS, [add(f"{HOOK}/clientConfig/caBundle", "Rk9P")], headers=JSON_PATCH)
    return WEBHOOKS


def check(cluster: LocalCluster, ours: ApiClient, path: str, case: Case) -> None:
    dry = f"{path}?dryRun=All"
    assert cluster.request("PATCH", dry, case.patch, headers=JSON_PATCH, check=False).status == 200
    answer = ours.request("PATCH", dry, case.patch, headers=JSON_PATCH, check=False)
    if case.refusal:
        assert answer.status == 422, answer.body
        assert case.refusal in answer.json()["message"]
    else:
        assert answer.status == 200, answer.body


@pytest.mark.parametrize("case", HELD, ids=lambda case: case.name)
def test_of_a_held_pod(installed: LocalCluster, ours: ApiClient, held: dict[str, Any], case: Case):
    check(installed, ours, f"{PODS}/{held['metadata']['name']}", case)


@pytest.mark.parametrize("case", FREE, ids=lambda case: case.name)
def test_of_a_pod_without_our_label(
    installed: LocalCluster, ours: ApiClient, free: dict[str, Any], case: Case
):
    check(installed, ours, f"{PODS}/{free['metadata']['name']}", case)


def test_a_release_for_good_and_no_way_back(installed: LocalCluster, ours: ApiClient, held: dict[str, Any]):
    """Not a dry run, by a held pod of its own: gate gone, label changed, and bookkeeping with them."""
    name = pods_of(installed, "held", 3)[1]["metadata"]["name"]
    path = f"{PODS}/{name}"
    before = installed.request("GET", path).json()
    ours.request("PATCH", path, RELEASE, headers=JSON_PATCH)
    after = installed.request("GET", path).json()
    assert after["spec"]["schedulingGates"] == GATES[:1]
    assert after["metadata"]["labels"][START] == "permitted"
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    assert len(after["metadata"]["managedFields"]) > len(before["metadata"]["managedFields"])
    check(installed, ours, path, Case("held again", [add(LABEL, "held")], "to permitted, or remove it"))
    check(installed, ours, path, Case("forgotten", [remove(LABEL)]))


@pytest.mark.parametrize("case", DAEMON_SET, ids=lambda case: case.name)
def test_of_a_daemon_set(installed: LocalCluster, ours: ApiClient, free: dict[str, Any], case: Case):
    check(installed, ours, f"{DAEMON_SETS}/free", case)


@pytest.mark.parametrize("case", CONFIGURATION, ids=lambda case: case.name)
def test_of_our_webhooks(installed: LocalCluster, ours: ApiClient, hooks: str, case: Case):
    check(installed, ours, hooks, case)


@pytest.mark.parametrize("case", FLOW_SCHEMA, ids=lambda case: case.name)
def test_of_the_queue_of_the_agents(installed: LocalCluster, ours: ApiClient, case: Case):
    check(installed, ours, FLOW_SCHEMAS, case)


def test_no_webhook_more(installed: LocalCluster, ours: ApiClient, hooks: str):
    another = copy.deepcopy(installed.request("GET", hooks).json()["webhooks"][0])
    another["name"] = "evil.watchbudget.io"
    check(installed, ours, hooks, Case("another", [add("/webhooks/-", another)], "add, remove or rename"))


def delete(client: LocalCluster | ApiClient, name: str) -> Any:  # noqa: ANN401
    return client.request("DELETE", f"{PODS}/{name}?dryRun=All", check=False)


def test_only_pods_of_daemon_sets_may_be_deleted(
    installed: LocalCluster, ours: ApiClient, free: dict[str, Any]
):
    spec = {"containers": [{"name": "c", "image": "example.com/c:1"}]}
    labels = {"app": "deployed", START: "held"}  # the label is no licence
    bare = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare", "labels": {START: "held"}},
        "spec": spec,
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "deployed"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    installed.request("POST", PODS, bare)
    installed.request("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
    try:
        for name in ("bare", pods_of(installed, "deployed", 1)[0]["metadata"]["name"]):
            answer = delete(ours, name)
            assert answer.status == 422, answer.body
            assert "only delete pods that a DaemonSet controls" in answer.json()["message"]
            assert delete(installed, name).status == 200
    finally:
        installed.request("DELETE", f"{PODS}/bare?gracePeriodSeconds=0")
        installed.request("DELETE", "/apis/apps/v1/namespaces/default/deployments/deployed")
    assert delete(ours, free["metadata"]["name"]).status == 200


@pytest.mark.parametrize(
    ("resource", "name", "kind", "refused"),
    [
        ("secrets", "watchbudget-tls", "kubernetes.io/tls", False),
        ("secrets", "another", "kubernetes.io/tls", True),
        ("secrets", "watchbudget-tls", "Opaque", True),
        ("leases", "watchbudget", None, False),
        ("leases", "another", None, True),
    ],
)
def test_names_of_what_it_creates(
    installed: LocalCluster, ours: ApiClient, resource: str, name: str, kind: str | None, refused: bool
):
    body: dict[str, Any] = {"metadata": {"name": name}}
    if resource == "secrets":
        path = f"/api/v1/namespaces/{NAMESPACE}/secrets"
        body |= {"apiVersion": "v1", "kind": "Secret", "type": kind, "data": {"tls.crt": "", "tls.key": ""}}
    else:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
        body |= {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    answer = ours.request("POST", f"{path}?dryRun=All", body, check=False)
    assert answer.status == (422 if refused else 201), answer.body
    if refused:
        assert "may only create" in answer.json()["message"]
    assert installed.request("POST", f"{path}?dryRun=All", body, check=False).status == 201


def test_the_policies_have_no_faults_in_their_expressions(installed: LocalCluster):
    """The control plane checks them against the objects' schemas; a fault would refuse everything."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    policies = {item["metadata"]["name"]: item for item in installed.request("GET", path).json()["items"]}
    ours = {name: item for name, item in policies.items() if name.startswith("watchbudget-account-")}
    assert len(ours) == 6
    for name, item in ours.items():
        assert item["status"]["observedGeneration"] == item["metadata"]["generation"]
        assert "expressionWarnings" not in item["status"]["typeChecking"], json.dumps(item["status"])
        assert installed.request("GET", f"{path.removesuffix('policies')}policybindings/{name}").status == 200
