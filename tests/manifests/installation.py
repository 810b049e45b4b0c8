"""What the tests of the installation share."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from watchbudget.localcluster import LocalCluster
from watchbudget.localcluster.components import CONTROLLERS

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
NAMESPACE = "watchbudget-system"
NAME = "watchbudget"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}"

JSON_PATCH = {"Content-Type": "application/json-patch+json"}
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}

Object = Mapping[str, Any]


@cache
def built(kubectl: Path, folder: str) -> tuple[dict[str, Any], ...]:
    """The objects of a kustomization, given by its folder below manifests/."""
    command = [str(kubectl), "kustomize", str(MANIFESTS / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize warns of something deprecated"
    return tuple(yaml.safe_load_all(done.stdout))


def one(objects: tuple[dict[str, Any], ...], kind: str, name: str = NAME) -> dict[str, Any]:
    """The one object of a kind and name."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def pod_of(objects: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """The spec of the Deployment's pods."""
    spec: dict[str, Any] = one(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def rights(objects: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, str, str, str, str]]:
    """Every right of our account: (namespace, group, resource or path, name, verb), "" where it is any."""
    for binding in objects:
        if binding["kind"] not in {"ClusterRoleBinding", "RoleBinding"}:
            continue
        assert [(s["namespace"], s["name"]) for s in binding["subjects"]] == [(NAMESPACE, NAME)]
        namespace = binding["metadata"].get("namespace", "")
        for rule in one(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])["rules"]:
            for verb in rule["verbs"]:
                for path in rule.get("nonResourceURLs", ()):
                    yield namespace, "", path, "", verb
                for group in rule.get("apiGroups", ()):
                    for resource in rule["resources"]:
                        for name in rule.get("resourceNames", ("",)):
                            yield namespace, group, resource, name, verb


def loopback_cluster() -> LocalCluster:
    """A control plane whose Services have loopback addresses: calls to one without pods fail at once.

    With the quota controller, which cannot be missing where a quota is.
    """
    return LocalCluster(
        controllers=(*CONTROLLERS, "resourcequota-controller"),
        extra_flags={"kube-apiserver": ["--service-cluster-ip-range=127.96.0.0/16"]},
    )


def wait_until_in_force(cluster: LocalCluster) -> None:
    """Wait until the API server has learnt of the CRD, the rights and the limits of our account."""
    cluster.kubectl("wait", "--for=condition=Established", "crd/watchbudgets.watchbudget.io", "--timeout=30s")
    client = cluster.client(cluster.token(NAMESPACE, NAME))
    # The policy that was made last: the API server learns of them in their order.
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}?dryRun=All"
    patch = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}]
    deadline = time.monotonic() + 30
    while True:
        answer = client.request("PATCH", path, patch, headers=JSON_PATCH, check=False)
        if answer.status == 422:
            assert "only change clientConfig.caBundle" in answer.json()["message"]
            return
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.1)


def daemon_set(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    strategy: Mapping[str, Any] | None = None,
    **pod: object,
) -> dict[str, Any]:
    """A DaemonSet in the namespace default; its pods get further labels and fields."""
    selector = {"app": name}
    spec = {"containers": [{"name": "agent", "image": "example.com/agent:1"}], **pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": {**selector, **(labels or {})}}, "spec": spec},
            **({"updateStrategy": strategy} if strategy else {}),
        },
    }


def pods_of(cluster: LocalCluster, app: str, count: int) -> list[dict[str, Any]]:
    """Pods with the label `app`, once there are so many."""
    deadline = time.monotonic() + 30
    path = f"/api/v1/namespaces/default/pods?labelSelector=app%3D{app}"
    while True:
        items: list[dict[str, Any]] = cluster.request("GET", path).json()["items"]
        if len(items) == count:
            return items
        assert time.monotonic() < deadline, f"{len(items)} pods of {app}, not {count}"
        time.sleep(0.1)
