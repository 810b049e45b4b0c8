"""What the tests of live inventory share: a cluster of their own, and accounts with chosen permissions."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from audit import audited
from watchbudget.localcluster import LocalCluster

ROOT = Path(__file__).parents[1]
AGENTS = Path(__file__).parent / "cluster" / "live_agents.yaml"
AUDITORS = "wb-auditors"


def audit_rules() -> list[dict[str, Any]]:
    """The permissions that we tell people to grant."""
    role = yaml.safe_load((ROOT / "manifests" / "audit-reader.yaml").read_text())
    rules: list[dict[str, Any]] = role["rules"]
    return rules


def single_permissions(rules: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every permission of the rules by itself, named as errors name it."""
    for rule in rules:
        for verb in rule["verbs"]:
            for url in rule.get("nonResourceURLs", ()):
                yield f"{verb} {url}", {"nonResourceURLs": [url], "verbs": [verb]}
            for group in rule.get("apiGroups", ()):
                for resource in rule["resources"]:
                    name = f"{resource}.{group}" if group else resource
                    yield f"{verb} {name}", {"apiGroups": [group], "resources": [resource], "verbs": [verb]}


def make_auditor(
    cluster: LocalCluster, name: str, rules: list[dict[str, Any]], namespace: str = AUDITORS
) -> Path:
    """A kubeconfig of a service account with exactly these permissions, once they are in force."""
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
        kind | {"kind": "ClusterRole", "metadata": {"name": f"{namespace}-{name}"}, "rules": rules},
        kind
        | {
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{namespace}-{name}"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": f"{namespace}-{name}",
            },
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    ]
    cluster.apply("---\n".join(yaml.safe_dump(item) for item in objects))
    for permission, rule in single_permissions(rules):  # the authorizer learns of it by a watch
        deadline = time.monotonic() + 10
        while not _may(cluster, name, rule, namespace):
            assert time.monotonic() < deadline, f"{name} never got {permission}"
            time.sleep(0.05)
    return cluster.kubeconfig_for(namespace, name)


def _may(cluster: LocalCluster, name: str, rule: dict[str, Any], namespace: str) -> bool:
    spec: dict[str, Any] = {"user": f"system:serviceaccount:{namespace}:{name}"}
    if "nonResourceURLs" in rule:
        spec["nonResourceAttributes"] = {"verb": rule["verbs"][0], "path": rule["nonResourceURLs"][0]}
    else:
        attributes = {
            "verb": rule["verbs"][0],
            "group": rule["apiGroups"][0],
            "resource": rule["resources"][0],
        }
        spec["resourceAttributes"] = attributes
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review).json()
    return bool(answer["status"]["allowed"])


def requests_of(cluster: LocalCluster, name: str) -> list[dict[str, Any]]:
    """What the audit log tells of an auditor."""
    user = f"system:serviceaccount:{AUDITORS}:{name}"
    return [event for event in audited(cluster, containing=user) if event["user"].get("username") == user]


def expired_token(cluster: LocalCluster) -> str:
    """A token that the cluster's own key signed, and that was good until an hour ago."""
    key = serialization.load_pem_private_key((cluster.state_dir / "pki" / "sa.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = int(time.time())
    subject = f"system:serviceaccount:{AUDITORS}:auditor"
    issuer = "https://kubernetes.default.svc.cluster.local"
    claims = {
        "iss": issuer,
        "aud": [issuer],
        "sub": subject,
        "iat": now - 7200,
        "nbf": now - 7200,
        "exp": now - 3600,
    }
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "ES256"}, claims)
    ]
    r, s = utils.decode_dss_signature(key.sign(b".".join(parts), ec.ECDSA(hashes.SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=")
    return b".".join((*parts, signature)).decode()


def changed(kubeconfig: Path, path: Path, **cluster: object) -> Path:
    """A copy of a kubeconfig with other fields of its cluster, `_` for `-`; None removes one."""
    document = yaml.safe_load(kubeconfig.read_text())
    fields = document["clusters"][0]["cluster"]
    for key, value in cluster.items():
        fields.pop(key.replace("_", "-"), None)
        if value is not None:
            fields[key.replace("_", "-")] = value
    path.write_text(yaml.safe_dump(document))
    return path


def wait_for_counted_daemon_sets(cluster: LocalCluster) -> None:
    """Wait until the DaemonSet controller has counted the nodes of every DaemonSet."""
    deadline = time.monotonic() + 20
    while True:
        items = cluster.request("GET", "/apis/apps/v1/daemonsets").json()["items"]
        if all(item["status"].get("observedGeneration") == item["metadata"]["generation"] for item in items):
            return
        if time.monotonic() > deadline:
            pytest.fail("the DaemonSet controller has not counted after 20 s")
        time.sleep(0.1)
