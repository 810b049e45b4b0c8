"""By the audit log of a whole life of the operator: what it reads, and that it needs every right it has."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from api_proxy import ApiProxy
from manifests.installation import NAMESPACE as SYSTEM
from manifests.installation import built, rights
from reads import OF_THE_CLUSTER, Event, forbidden_reads, requests
from replicas import SECRET_PATH, Replica
from staged import (
    ACCOUNTS,
    CRASH,
    FEW,
    MERGE,
    NAMESPACE,
    NEWER,
    ON_DELETE,
    QUIET,
    Staged,
    agent,
    eventually,
    install,
)
from watchbudget.localcluster import LocalCluster

IMPATIENT = """
import sys
from watchbudget.cli import main
from watchbudget.controller import recorder
recorder.SERIES_INTERVAL = 3.0
sys.argv = ["watchbudget", *sys.argv[4:]]
main.main()
"""
"""Runs `python -m watchbudget`, and counts repeated Events after seconds, not a minute."""

Right = tuple[str, str, str, str, str]
"""Namespace, group, resource or path, name, verb; "" where it is any."""


@pytest.fixture(scope="module")
def lived(control_plane: None) -> Iterator[LocalCluster]:
    """A cluster in which the operator has seen everything that it is there for."""
    with LocalCluster() as cluster:
        cluster.add_nodes(FEW, labels={"pool": "few"})
        cluster.apply(ACCOUNTS)
        cluster.seed(namespaces=100, network_policies_per_namespace=1)
        cluster.wait_until_counted()
        with ApiProxy(cluster) as proxy:
            wrapper = (sys.executable, "-c", IMPATIENT)
            one = Replica(cluster, "--resync=20s", installed=True, name="one", proxy=proxy, wrapper=wrapper)
            install(cluster, one.port)
            with one, Replica(cluster, installed=True, name="two"):
                live(Staged(cluster, one), proxy)
                yield cluster


def live(staged: Staged, proxy: ApiProxy) -> None:
    """Budgets, agents, roles, an install, rollouts, waves, a crash loop, a damaged Secret, deletions."""
    staged.apply(agent("early", nodes="nowhere"))
    staged.put_budget("warns", {"enforcement": {"action": "Warn"}, "limits": {"cachePerPod": "1Ki"}})
    eventually(lambda: "WatchBudgetViolation" in staged.events("early"), "it is told of")
    staged.apply(agent("early", nodes="nowhere", image=QUIET))
    eventually(lambda: "WatchBudgetCompliant" in staged.events("early"), "it is told of")
    staged.apply(agent("early", nodes="nowhere"))  # as before: its Event is counted
    staged.budget(maxConcurrentStarts=6)
    own = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf", "namespace": NAMESPACE}}
    volumes = [{"name": "conf", "configMap": {"name": "conf"}}]
    staged.apply(own, agent("rolls", volumes=volumes), agent("waves", strategy=ON_DELETE))
    eventually(lambda: staged.done("rolls", FEW), "the first install is done")
    eventually(lambda: staged.done("waves", FEW), "the first install is done")
    eventually(lambda: annotated(staged, "early"), "what was there before the budget is annotated")
    staged.annotate("ds/waves", "watchbudget.io/rollout=waves")
    staged.apply(agent("rolls", image=NEWER, volumes=volumes))
    staged.apply(agent("waves", image=NEWER, strategy=ON_DELETE))
    staged.annotate("ds/waves", "watchbudget.io/rollout=waves")
    eventually(lambda: staged.done("rolls", FEW, NEWER), "it has rolled")
    eventually(lambda: staged.done("waves", FEW, NEWER), "it has rolled in waves")
    cut = cut_one(proxy)
    staged.apply(agent("crashes", nodes="few", pods={CRASH: "true"}))
    eventually(lambda: staged.events("crashes"), "it is told of")
    eventually(lambda: cut, "a permit was not answered")
    proxy.restore()
    staged.cluster.kubectl("create", "clusterrole", "later", "--verb=list,watch", "--resource=namespaces")
    staged.cluster.kubectl("delete", "clusterrole", "later")
    nonsense = base64.b64encode(b"nonsense").decode()
    staged.cluster.request("PATCH", SECRET_PATH, {"data": {"tls.crt": nonsense}}, headers=MERGE)
    eventually(lambda: not is_nonsense(staged.cluster), "the certificate is there again")
    eventually(lambda: repeated(staged), "an Event is counted")
    staged.clear()


def cut_one(proxy: ApiProxy) -> list[str]:
    """Break the connection on which a pod is given its permit, once: was it written or not?"""
    cut: list[str] = []

    def breaks(method: str, path: str) -> bool:
        if method == "PATCH" and "/pods/" in path and not cut:
            cut.append(path)
            raise ConnectionResetError
        return False

    proxy.refuse(500, matching=breaks)
    return cut


def repeated(staged: Staged) -> bool:
    items = staged.cluster.request("GET", "/apis/events.k8s.io/v1/events").json()["items"]
    return any(
        each["regarding"]["name"] == "early" and (each.get("series") or {}).get("count") == 2
        for each in items
    )


def annotated(staged: Staged, name: str) -> bool:
    return "watchbudget.io/verdict" in staged.daemon_set(name)["metadata"].get("annotations", {})


def is_nonsense(cluster: LocalCluster) -> bool:
    data = cluster.request("GET", SECRET_PATH).json()["data"]
    return base64.b64decode(data["tls.crt"]) == b"nonsense"


def test_it_never_lists_what_there_may_be_very_many_of(lived: LocalCluster):
    assert forbidden_reads(lived) == []
    asked = list(requests(lived))
    assert len(asked) > 100  # it is this account that the operator has
    listed = {_resource(event) for event in asked if event["verb"] in {"list", "watch"}}
    assert listed >= OF_THE_CLUSTER  # and lists are seen
    got = {event["requestURI"] for event in asked if _resource(event) == ("", "namespaces")}
    assert {each.partition("?")[0] for each in got} <= {
        f"/api/v1/namespaces/{name}" for name in (NAMESPACE, SYSTEM, "default", "kube-system")
    }


def test_lists_are_read_in_pages_or_name_one_object(lived: LocalCluster):
    whole = {
        event["requestURI"]
        for event in requests(lived)
        if event["verb"] == "list"
        and not re.search(r"limit=|fieldSelector=metadata\.name", event["requestURI"])
    }
    assert whole == set()


def test_beside_objects_it_reads_discovery_and_metrics_only(lived: LocalCluster):
    paths = {event["requestURI"].partition("?")[0] for event in requests(lived) if "objectRef" not in event}
    known = {"/api", "/apis", "/metrics", "/version"}
    assert known <= paths
    assert all(
        path in known or path.count("/") == 3 or path.startswith(("/api/v1", "/apis/")) for path in paths
    )


def test_nothing_is_refused(lived: LocalCluster):
    refused = {
        f"{event['verb']} {event['requestURI']}: {event['responseStatus'].get('message')}"
        for event in requests(lived)
        if event.get("responseStatus", {}).get("code") in {401, 403}
        or "ValidatingAdmissionPolicy" in (event.get("responseStatus", {}).get("message") or "")
    }
    assert refused == set()


def test_every_right_is_used(lived: LocalCluster):
    granted = set(rights(built(lived.layout.binaries["kubectl"], ".")))
    used = {right for event in requests(lived) for right in granted if _uses(event, right)}
    assert granted - used == set()


def _uses(event: Event, right: Right) -> bool:
    namespace, group, resource, name, verb = right
    if resource.startswith("/"):
        return bool(event["verb"] == verb and event["requestURI"].partition("?")[0] == resource)
    ref = event.get("objectRef", {})
    asked = f"{ref.get('resource')}/{ref['subresource']}" if "subresource" in ref else ref.get("resource")
    return bool(
        event["verb"] == verb
        and ref.get("apiGroup", "") == group
        and asked == resource
        and namespace in {"", ref.get("namespace", "")}
        and name in {"", ref.get("name", "")}
        and event["responseStatus"]["code"] not in {401, 403}
    )


def _resource(event: Event) -> tuple[str, str]:
    ref: dict[str, Any] = event.get("objectRef", {})
    return ref.get("apiGroup", ""), ref.get("resource", "")
