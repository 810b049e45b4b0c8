"""Which queue of the API server our account's requests stand in: the answer's headers say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from live_cluster import make_auditor
from manifests.installation import JSON_PATCH, MANIFESTS, MERGE_PATCH, NAME, NAMESPACE, daemon_set, pods_of
from watchbudget.api.resources import DEFAULT_WATCHED
from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.client import ApiClient, Response
from watchbudget.rollout.queue import Queue, rules_of

FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
BUDGETS = "/apis/watchbudget.io/v1alpha1/watchbudgets"
PODS = "/api/v1/namespaces/default/pods"
LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}
AGENT = [
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list"]},
]
LABELLED = [{"op": "add", "path": "/metadata/labels/watchbudget.io~1start", "value": "permitted"}]


@pytest.fixture(scope="module")
def ours(installed: LocalCluster) -> ApiClient:
    return installed.client(installed.token(NAMESPACE, NAME))


@pytest.fixture(scope="module")
def pod(installed: LocalCluster) -> Iterator[str]:
    """The path of a pod that we may change; with a Lease and a budget beside it."""
    item = daemon_set("paced", labels={"watchbudget.io/start": "held"})
    installed.request("POST", "/apis/apps/v1/namespaces/default/daemonsets", item)
    installed.request("POST", LEASES, LEASE)
    budget = {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget"}
    installed.request("POST", BUDGETS, budget | {"metadata": {"name": "flow"}, "spec": {}})
    yield f"{PODS}/{pods_of(installed, 'paced', 3)[0]['metadata']['name']}"
    installed.request("DELETE", "/apis/apps/v1/namespaces/default/daemonsets/paced")
    installed.request("DELETE", f"{LEASES}/{NAME}")
    installed.request("DELETE", f"{BUDGETS}/flow")


def where(cluster: LocalCluster, answer: Response) -> tuple[str, str]:
    """The flow schema and the priority level that a request was served by."""

    def name(resource: str, header: str) -> str:
        items: list[dict[str, Any]] = cluster.request("GET", f"{FLOW}/{resource}").json()["items"]
        uids = {item["metadata"]["uid"]: str(item["metadata"]["name"]) for item in items}
        return uids[answer.headers[header]]

    return (
        name("flowschemas", "X-Kubernetes-PF-FlowSchema-UID"),
        name("prioritylevelconfigurations", "X-Kubernetes-PF-PriorityLevel-UID"),
    )


def test_what_must_not_starve_has_a_level_of_its_own(installed: LocalCluster, ours: ApiClient, pod: str):
    lease = installed.request("GET", f"{LEASES}/{NAME}").json()
    status = {"status": {"observedGeneration": 1}}
    answers = [
        ours.request("PUT", f"{LEASES}/{NAME}", lease),
        ours.request("POST", f"{LEASES}?dryRun=All", LEASE, check=False),
        ours.request("PATCH", pod, LABELLED, headers=JSON_PATCH),
        ours.request("DELETE", f"{pod}?dryRun=All"),
        ours.request("PATCH", f"{BUDGETS}/flow/status", status, headers=MERGE_PATCH),
    ]
    assert [answer.status for answer in answers] == [200, 409, 200, 200, 200]
    assert {where(installed, answer) for answer in answers} == {("watchbudget", "watchbudget")}


@pytest.mark.parametrize(
    "path",
    [
        f"{LEASES}/{NAME}",  # the probe of the API server's latency
        "/apis/apps/v1/daemonsets?limit=1",
        f"{PODS}?labelSelector=watchbudget.io%2Fstart&limit=1",
        BUDGETS,
    ],
)
def test_reads_stand_where_everybody_does(installed: LocalCluster, ours: ApiClient, pod: str, path: str):
    assert where(installed, ours.request("GET", path)) == ("service-accounts", "workload-low")


def test_other_accounts_do_not_get_in(installed: LocalCluster, pod: str):
    other = installed.client(installed.token("default", "default"))
    answer = other.request("PATCH", pod, LABELLED, headers=JSON_PATCH, check=False)
    assert answer.status == 403
    assert where(installed, answer) == ("service-accounts", "workload-low")


def seats_of(cluster: LocalCluster) -> dict[str, float]:
    """By priority level."""
    seats = {}
    for line in cluster.metrics().splitlines():
        if line.startswith("apiserver_flowcontrol_nominal_limit_seats"):
            level = line.split('priority_level="')[1].split('"')[0]
            seats[level] = float(line.rsplit(" ", 1)[1])
    return seats


def test_the_level_has_seats_and_lends_no_more_than_half(installed: LocalCluster):
    seats = seats_of(installed)
    assert seats["watchbudget"] >= 10
    assert seats["watchbudget"] / sum(seats.values()) < 0.03


QUEUED = ("watchbudget-agents", "watchbudget-agents")
NAMESPACES, POLICIES = "/api/v1/namespaces", "/apis/networking.k8s.io/v1/networkpolicies"


@pytest.fixture(scope="module")
def agent(installed: LocalCluster) -> ApiClient:
    """Of kube-system, whose accounts are with the controllers otherwise; in the rules as they are written."""
    make_auditor(installed, "queued", AGENT, "kube-system")
    queue = Queue((("kube-system", "queued"),), DEFAULT_WATCHED)
    path = f"{FLOW}/flowschemas/watchbudget-agents?fieldManager=watchbudget&force=true"
    rules = {"metadata": {"name": "watchbudget-agents"}, "spec": {"rules": rules_of(queue)}}
    body = {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", **rules}
    applied = {"Content-Type": "application/apply-patch+yaml"}
    installed.client(installed.token(NAMESPACE, NAME)).request("PATCH", path, body, headers=applied)
    client = installed.client(installed.token("kube-system", "queued"))
    deadline = time.monotonic() + 10
    while where(installed, client.request("GET", f"{NAMESPACES}?limit=1")) != QUEUED:  # it learns by a watch
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return client


@pytest.mark.parametrize("path", [NAMESPACES, f"{NAMESPACES}?watch=1&timeoutSeconds=1", POLICIES])
def test_lists_and_watches_of_agents_have_a_queue_of_their_own(
    installed: LocalCluster, agent: ApiClient, path: str
):
    assert where(installed, agent.request("GET", path)) == QUEUED


def test_everything_else_of_theirs_has_not(installed: LocalCluster, agent: ApiClient):
    for path in (f"{NAMESPACES}/default", "/api/v1/nodes?limit=1"):
        assert where(installed, agent.request("GET", path))[1] == "workload-high"


def test_a_few_of_their_lists_are_answered_at_once(installed: LocalCluster):
    assert 1 <= seats_of(installed)["watchbudget-agents"] <= 6  # up to that a list has one, however large


def test_applying_the_manifests_again_leaves_the_rules(installed: LocalCluster, agent: ApiClient):
    installed.kubectl("apply", "-k", str(MANIFESTS))
    assert where(installed, agent.request("GET", NAMESPACES)) == QUEUED
