"""What our account may and may not do, asked of the API server; and that docs/install.md tells all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from manifests.installation import ACCOUNT, MANIFESTS, NAMESPACE, ROOT, built, rights
from watchbudget.localcluster import LocalCluster

LINE = re.compile(r"\| `(?P<rights>[a-z,]+ [^|`]+)` \| (?P<where>[^|]+) \| (?P<why>[^|]+) \|")


def may(cluster: LocalCluster, *question: str) -> bool:
    answer = cluster.kubectl("auth", "can-i", f"--as={ACCOUNT}", *question, check=False)
    assert answer.stdout.strip() in {"yes", "no"}, answer.stderr
    return answer.stdout.strip() == "yes"


@pytest.mark.parametrize(
    "question",
    [
        "list namespaces",
        "watch namespaces",
        "list networkpolicies.networking.k8s.io -A",
        "watch networkpolicies.networking.k8s.io -A",
        "list nodes",
        "get secrets -n default",
        "list secrets -A",
        "list secrets -n watchbudget-system",
        "get secrets/another -n watchbudget-system",
        "create secrets -n default",
        "delete secrets/watchbudget-tls -n watchbudget-system",
        "list configmaps -A",
        "create daemonsets.apps -n default",
        "update daemonsets.apps -n default",
        "delete daemonsets.apps -n default",
        "create pods -n default",
        "update pods -n default",
        "deletecollection pods -n default",
        "create pods --subresource=exec -n default",
        "create pods --subresource=eviction -n default",
        "get pods --subresource=log -n default",
        "create serviceaccounts --subresource=token -n kube-system",
        "patch deployments.apps -n watchbudget-system",
        "get leases.coordination.k8s.io/another -n watchbudget-system",
        "update leases.coordination.k8s.io/watchbudget -n kube-system",
        "patch watchbudgets.watchbudget.io",
        "update watchbudgets.watchbudget.io --subresource=status",
        "delete watchbudgets.watchbudget.io",
        "create mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "patch mutatingwebhookconfigurations.admissionregistration.k8s.io/another",
        "patch validatingadmissionpolicies.admissionregistration.k8s.io/watchbudget-account-names",
        "get flowschemas.flowcontrol.apiserver.k8s.io/watchbudget-agents",
        "patch flowschemas.flowcontrol.apiserver.k8s.io/watchbudget",
        "patch flowschemas.flowcontrol.apiserver.k8s.io/exempt",
        "create flowschemas.flowcontrol.apiserver.k8s.io",
        "patch prioritylevelconfigurations.flowcontrol.apiserver.k8s.io/watchbudget-agents",
        "bind clusterroles.rbac.authorization.k8s.io",
        "escalate clusterroles.rbac.authorization.k8s.io",
        "patch clusterroles.rbac.authorization.k8s.io/watchbudget",
        "impersonate users",
        "get /debug/pprof/profile",
    ],
)
def test_it_may_not(installed: LocalCluster, question: str):
    assert not may(installed, *question.split())


@pytest.mark.parametrize(
    "question",
    [
        "watch daemonsets.apps -A",
        "list pods -A",
        "get namespaces/default",
        "update leases.coordination.k8s.io/watchbudget -n watchbudget-system",
        "get secrets/watchbudget-tls -n watchbudget-system",
        "patch mutatingwebhookconfigurations.admissionregistration.k8s.io/watchbudget",
        "patch watchbudgets.watchbudget.io --subresource=status",
        "patch flowschemas.flowcontrol.apiserver.k8s.io/watchbudget-agents",
        "get /metrics",
    ],
)
def test_it_may(installed: LocalCluster, question: str):
    """So that the refusals above are not those of a binding that binds nobody."""
    assert may(installed, *question.split())


def test_no_right_is_granted_by_a_wildcard_or_twice(kubectl: Path):
    found = list(rights(built(kubectl, ".")))
    assert not [right for right in found if "*" in "".join(right)]
    assert len(found) == len(set(found))


def documented() -> set[tuple[str, str, str, str, str]]:
    """The table of docs/install.md, in the form of `rights`."""
    found = set()
    for match in LINE.finditer((ROOT / "docs" / "install.md").read_text()):
        verbs, resources = match["rights"].split(" ", 1)
        namespace = NAMESPACE if match["where"].startswith("own namespace") else ""
        for each in resources.split(", "):
            path, _, name = each.partition(":")
            resource, _, group = path.partition(".") if not path.startswith("/") else (path, "", "")
            if "/" in group:  # watchbudgets.watchbudget.io/status
                group, _, part = group.partition("/")
                resource = f"{resource}/{part}"
            found |= {(namespace, group, resource, name, verb) for verb in verbs.split(",")}
    return found


def test_the_documentation_lists_every_right_and_none_more(kubectl: Path):
    assert documented() == set(rights(built(kubectl, ".")))


def test_the_process_may_read_what_an_audit_may(kubectl: Path):
    """Both read the fleet by the same code; the process watches what an audit lists."""
    role = yaml.safe_load((MANIFESTS / "audit-reader.yaml").read_text())
    ours = set(rights(built(kubectl, ".")))
    for rule in role["rules"]:
        for verb in rule["verbs"]:
            for path in rule.get("nonResourceURLs", ()):
                assert ("", "", path, "", verb) in ours
            for group in rule.get("apiGroups", ()):
                for resource in rule["resources"]:
                    assert ("", group, resource, "", verb) in ours
