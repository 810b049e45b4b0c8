"""The same objects, read from files and from a real API server, get the same judgement.

Every object of the corpus that today's API server accepts is applied to it, in batches of agents
whose objects do not collide, and audited live. Named apart: agents whose manifests use an API
version that the server no longer serves. So that both sides judge the same objects, the files get
the `default` ServiceAccount that the server makes in every namespace.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from watchbudget.api.resources import DEFAULT_WATCHED
from watchbudget.cost.calibration import load_calibration
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.inventory import cluster as live
from watchbudget.inventory import manifests
from watchbudget.inventory.fleet import Census, Fleet, ResourceCensus
from watchbudget.inventory.yaml_documents import read_documents
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.policy.default_budget import default_budget
from watchbudget.policy.judge import judge
from watchbudget.policy.model import Judgement

# Kinds the audit reads; the corpus' other objects need CRDs that are not part of it.
PATHS = {
    ("v1", "Namespace"): "/api/v1/namespaces",
    ("v1", "ServiceAccount"): "/api/v1/namespaces/{ns}/serviceaccounts",
    ("v1", "ConfigMap"): "/api/v1/namespaces/{ns}/configmaps",
    ("v1", "LimitRange"): "/api/v1/namespaces/{ns}/limitranges",
    ("apps/v1", "DaemonSet"): "/apis/apps/v1/namespaces/{ns}/daemonsets",
    ("apps/v1", "Deployment"): "/apis/apps/v1/namespaces/{ns}/deployments",
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
    ): "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    ("rbac.authorization.k8s.io/v1", "Role"): "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles",
    (
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
    ): "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings",
}
KINDS = {kind for _, kind in PATHS}
"""A kind of these in another API version is one that the server refuses."""

CENSUS = Census(
    tuple(ResourceCensus(resource, 5000, 5_000_000, "flag") for resource in DEFAULT_WATCHED), (1, 36)
)


def objects_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    default = json.loads((folder / "truth.json").read_text())["default_namespace"]
    for path in sorted(folder.rglob("*.yaml")):
        for _, document in read_documents(path.read_bytes(), path.name, []):
            assert isinstance(document, dict), path
            items = document["items"] if document.get("kind") == "List" else [document]
            for item in items:
                if item and item.get("kind") in KINDS:
                    if item["kind"] not in ("Namespace", "ClusterRole", "ClusterRoleBinding"):
                        item["metadata"].setdefault("namespace", default)
                    found.append(item)
    return found


def served(item: dict[str, Any]) -> bool:
    return (item["apiVersion"], item["kind"]) in PATHS


def claims(folder: Path) -> set[tuple[str, ...]]:
    """What two agents in one cluster must not share: objects, and service accounts that bindings name."""
    found: set[tuple[str, ...]] = set()
    for item in objects_of(folder):
        namespace = item["metadata"].get("namespace", "")
        if item["kind"] != "Namespace":
            found.add((item["kind"], namespace, item["metadata"]["name"]))
        if item["kind"] == "DaemonSet":
            spec = item["spec"]["template"]["spec"]
            found.add(
                ("account", namespace, spec.get("serviceAccountName", spec.get("serviceAccount", "default")))
            )
        found.update(("account", s.get("namespace", ""), s["name"]) for s in item.get("subjects") or ())
    return found


def batches(folders: list[Path]) -> Iterator[list[Path]]:
    """Groups of agents that fit into one cluster together, first fit."""
    groups: list[tuple[list[Path], set[tuple[str, ...]]]] = []
    for folder in folders:
        wanted = claims(folder)
        for members, taken in groups:
            if not wanted & taken:
                members.append(folder)
                taken.update(wanted)
                break
        else:
            groups.append(([folder], set(wanted)))
    yield from (members for members, _ in groups)


def create(cluster: LocalCluster, item: dict[str, Any]) -> str:
    collection = PATHS[item["apiVersion"], item["kind"]].format(ns=item["metadata"].get("namespace"))
    name = item["metadata"]["name"].replace(":", "%3A")
    cluster.request(
        "PATCH",
        f"{collection}/{name}?fieldManager=corpus&force=true",
        item,
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    return f"{collection}/{name}"


def comparable(judgement: Judgement) -> dict[str, Any]:
    """What must be equal; confirmation by the server and the place of reading are the two sources' own."""
    return {
        "identity": judgement.identity,
        "grants": sorted(
            (str(g.resource), g.verbs, g.scope, g.path, g.namespaces, g.names) for g in judgement.grants
        ),
        "demands": [
            (str(d.resource), d.watches, d.evidence, d.watchers_per_pod, d.stack) for d in judgement.demands
        ],
        "memory": judgement.memory,
        "strategy": judgement.daemon_set.update_strategy,
        "bill": judgement.bill,
        "findings": [(f.rule, f.action, f.message) for f in judgement.findings],
        "verdict": judgement.verdict,
    }


def default_accounts(folder: Path, target: Path) -> Path:
    """A manifest of the service accounts that a server makes by itself."""
    namespaces = sorted({item["metadata"].get("namespace") for item in objects_of(folder)} - {None})
    metadata = [{"name": "default", "namespace": name} for name in namespaces]
    items = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": item} for item in metadata]
    path = target / f"{folder.name}.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return path


def judged(fleet: Fleet) -> dict[tuple[str, str], Judgement]:
    daemon_sets = tuple(replace(item, nodes=100) for item in fleet.daemon_sets)
    fleet = replace(fleet, daemon_sets=daemon_sets, nodes=100, census=CENSUS)
    audit = judge(
        fleet,
        (default_budget(),),
        today=date(2026, 1, 1),
        catalogue=load_catalogue(),
        calibration=load_calibration(),
    )
    return {judgement.daemon_set.key: judgement for judgement in audit.judgements}


@pytest.mark.timeout(1200)
def test_files_and_live_server_give_the_same_judgement(
    corpus: Path, cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folders = sorted(path.parent for path in corpus.glob("*/truth.json"))
    refused = [folder for folder in folders if not all(served(item) for item in objects_of(folder))]
    compared, differences = 0, []
    for members in batches([folder for folder in folders if folder not in refused]):
        items = [item for folder in members for item in objects_of(folder)]
        namespaces = {item["metadata"].get("namespace") for item in items} - {None}
        order = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in namespaces]
        for item in order:
            create(cluster, item)
        made: list[str] = []
        try:
            with ThreadPoolExecutor(8) as pool:
                made += pool.map(
                    lambda item: create(cluster, item), [i for i in items if i["kind"] != "Namespace"]
                )
            from_server = judged(live.load(kubeconfig=str(cluster.kubeconfig), resources=DEFAULT_WATCHED))
        finally:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda path: cluster.request("DELETE", path), reversed(made)))
        for folder in members:
            default = json.loads((folder / "truth.json").read_text())["default_namespace"]
            from_files = judged(
                manifests.load([folder, default_accounts(folder, tmp_path)], default_namespace=default)
            )
            for key, judgement in from_files.items():
                compared += 1
                ours, theirs = comparable(judgement), comparable(from_server[key])
                differences += [
                    f"{folder.name} {key} {part}:\n  files {ours[part]}\n  live  {theirs[part]}"
                    for part in ours
                    if ours[part] != theirs[part]
                ]
    with capsys.disabled():
        print(
            f"\n{compared} DaemonSets compared; refused by this server: {', '.join(f.name for f in refused)}"
        )
    assert compared >= 75
    assert not differences, "\n".join(differences)
