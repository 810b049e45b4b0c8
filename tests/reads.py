"""What our account may never ask of an API server, by the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from audit import Event, audited
from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.operator_process import USER

START = "watchbudget.io/start"
OF_THE_CLUSTER = {
    ("watchbudget.io", "watchbudgets"),
    ("apps", "daemonsets"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
}
"""What is listed and watched as a whole: their number grows neither with namespaces nor with pods."""


def requests(cluster: LocalCluster) -> Iterator[Event]:
    """Everything that our account asked and that was answered, in order; watches when they begin and end."""
    for event in audited(cluster, containing=USER):
        if event["user"].get("username") == USER:
            yield event


def forbidden_reads(cluster: LocalCluster) -> list[str]:
    """Lists and watches that grow with what the cluster has very many of. There must be none."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in requests(cluster)
        if event["verb"] in {"list", "watch"} and not _narrow(event)
    ]


def _narrow(event: Event) -> bool:
    """Whether a list or watch is of what it may be: DESIGN's rule that the operator lives by itself."""
    ref = event.get("objectRef", {})
    resource = ref.get("apiGroup", ""), ref.get("resource")
    namespace = ref.get("namespace", "")
    selector = parse_qs(urlsplit(event["requestURI"]).query).get("labelSelector", [""])[0]
    if resource[1] in {"namespaces", "networkpolicies"}:
        return False
    if resource == ("", "pods"):
        return selector.startswith(START) or bool(namespace and selector)
    return bool(namespace) or resource in OF_THE_CLUSTER
