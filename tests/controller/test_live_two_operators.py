"""Two operators at once by mistake, each in a namespace of its own: two Leases, two authorities, one cluster.

The webhooks lead to the first one. Both lead, and both write their CA into the same webhook configurations.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from audit import Event, audited
from operator_process import ROOT, USER, install
from replicas import SECRET_PATH, Replica, Reviewer, agent, eventually, moment, put_budget, received
from watchbudget.localcluster import LocalCluster

OTHER = "another-system"
OTHER_USER = f"system:serviceaccount:{OTHER}:watchbudget"
DAEMON_SETS = "/apis/apps/v1/namespaces/default/daemonsets"
CONFIGURATIONS = {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
DENY = {"enforcement": {"action": "Deny"}}
INTERVAL = 15
"""Seconds between two looks of an operator at its certificates and where they are made known."""


class Another(Replica):
    """An operator with the account of its own namespace."""

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__(cluster, f"--namespace={OTHER}", name="another", installed=True)

    def make_kubeconfig(self) -> Path:
        return self.cluster.kubeconfig_for(OTHER, "watchbudget")


@pytest.fixture(scope="module")
def cluster(control_plane: None) -> Iterator[LocalCluster]:
    with LocalCluster(audit_level="Request") as started:
        started.add_nodes(3)
        started.apply(account())
        yield started


@pytest.fixture(scope="module")
def first(cluster: LocalCluster) -> Iterator[Replica]:
    replica = Replica(cluster, installed=True)
    install(cluster, replica.port)
    cluster.wait_until_counted()  # no figure changes later
    with replica:
        cluster.request("POST", DAEMON_SETS, agent("violating"))
        put_budget(cluster, "strict", **DENY)
        yield replica


def account() -> str:
    """The account of the manifests, and all its rights, once more in the other namespace."""
    objects = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OTHER}}]
    for file in ("account.yaml", "account-certificates.yaml"):
        for each in yaml.safe_load_all((ROOT / "manifests" / "base" / file).read_text()):
            if each["kind"] == "ClusterRoleBinding":
                each["metadata"]["name"] += "-another"
            elif each["kind"] != "ClusterRole":
                each["metadata"]["namespace"] = OTHER
            for subject in each.get("subjects", ()):
                subject["namespace"] = OTHER
            objects.append(each)
    return "---\n".join(yaml.safe_dump(each) for each in objects if each["kind"] != "ClusterRole")


def answer(cluster: LocalCluster, item: Event) -> int:
    """How the API server answers whoever creates a DaemonSet, by a dry run."""
    return cluster.request("POST", f"{DAEMON_SETS}?dryRun=All", item, check=False).status


def authority(cluster: LocalCluster, path: str) -> str:
    found: str = cluster.request("GET", path).json()["data"]["ca.crt"]
    return found


def bundles(cluster: LocalCluster) -> set[str]:
    """What the webhook configurations trust."""
    return {
        webhook["clientConfig"].get("caBundle", "")
        for resource in CONFIGURATIONS
        for webhook in cluster.request(
            "GET", f"/apis/admissionregistration.k8s.io/v1/{resource}/watchbudget"
        ).json()["webhooks"]
    }


def counts(cluster: LocalCluster) -> dict[str, int]:
    budget = cluster.request("GET", "/apis/watchbudget.io/v1alpha1/watchbudgets/strict").json()
    found: dict[str, int] = budget.get("status", {}).get("counts", {})
    return found


def written(cluster: LocalCluster, since: dt.datetime) -> list[Event]:
    """What both operators have written since then."""
    return [
        event
        for event in audited(cluster)
        if event["user"].get("username") in {USER, OTHER_USER}
        and event["stage"] == "ResponseComplete"
        and event["verb"] not in {"get", "list", "watch"}
        and event["objectRef"]["resource"] not in {"leases", "subjectaccessreviews"}
        and event["responseStatus"]["code"] < 300
        and received(event) > since
    ]


def false_writes(events: list[Event]) -> list[str]:
    """Statuses and annotations that say anything else than that one DaemonSet violates."""
    found = []
    for event in events:
        body, resource = event.get("requestObject") or {}, event["objectRef"]["resource"]
        if resource == "watchbudgets":
            told = {each["type"]: each["status"] for each in body["status"]["conditions"]}
            if told["Compliant"] != "False" or body["status"]["counts"]["violating"] != 1:
                found.append(f"{told} {body['status']['counts']}")
        if resource == "daemonsets":
            verdict = body["metadata"]["annotations"].get("watchbudget.io/verdict", "deny")
            if event["objectRef"]["name"] != "violating" or verdict != "deny":
                found.append(f"{event['objectRef']['name']}: {verdict}")
    return found


def test_two_operators_tell_the_truth_and_keep_nobody_out(cluster: LocalCluster, first: Replica):
    began = moment()
    good = agent("good")
    good["metadata"]["annotations"] = {"watchbudget.io/watches": '{"namespaces": "none"}'}
    answers: Counter[int] = Counter()
    with Another(cluster) as another, Reviewer(first) as reviewer:
        eventually(lambda: another.metric("watchbudget_leading") == 1.0)
        own = f"/api/v1/namespaces/{OTHER}/secrets/watchbudget-tls"
        authorities = {authority(cluster, SECRET_PATH), authority(cluster, own)}
        assert len(authorities) == 2
        put_budget(cluster, "strict", **DENY, limits={"cachePerPod": "1Gi"})  # it is followed by both
        cluster.request("POST", DAEMON_SETS, good)
        for operator in (first, another):
            eventually(lambda each=operator: each.metric("watchbudget_daemonsets") == 2)
        eventually(lambda: counts(cluster).get("governed") == 2)
        cluster.request("DELETE", f"{DAEMON_SETS}/good")
        eventually(lambda: counts(cluster).get("governed") == 1)
        quiet, until = moment(), time.monotonic() + INTERVAL + 2
        while time.monotonic() < until:
            answers[answer(cluster, agent("next"))] += 1
            assert answer(cluster, good) == 201
            assert bundles(cluster) <= authorities
            time.sleep(0.2)
        assert first.metric("watchbudget_leading") == another.metric("watchbudget_leading") == 1.0
        told = written(cluster, quiet)
    assert set(answers) <= {201, 403}  # refused as it should be, or not asked about: never an error
    assert set(reviewer.answers) == {"denied"}
    assert {event["objectRef"]["resource"] for event in told} <= CONFIGURATIONS  # not each other's status
    assert len(told) <= 8  # each of them both configurations, when it looks
    assert false_writes(written(cluster, began)) == []


def test_when_the_other_one_has_ended_all_is_as_before(cluster: LocalCluster, first: Replica):
    eventually(lambda: bundles(cluster) == {authority(cluster, SECRET_PATH)}, INTERVAL + 5)
    eventually(lambda: answer(cluster, agent("next")) == 403, 5)
    assert counts(cluster)["violating"] == 1
    assert "Traceback" not in first.output()
