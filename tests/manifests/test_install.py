"""Installed on a fresh control plane, applied again, taken away again; and the pods that it makes."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests.installation import (
    JSON_PATCH,
    MANIFESTS,
    NAME,
    NAMESPACE,
    ROOT,
    built,
    daemon_set,
    loopback_cluster,
    one,
    pods_of,
    wait_until_in_force,
)
from watchbudget.localcluster import LocalCluster

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CONFIGURATIONS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
DAEMON_SETS = "/apis/apps/v1/namespaces/default/daemonsets"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
# What comes and goes by itself, and is no trace of ours.
FLEETING = {"events", "events.events.k8s.io", "endpointslices.discovery.k8s.io", "endpoints"}


def everything(cluster: LocalCluster) -> set[str]:
    """Every object of the cluster, as resource/namespace/name."""
    listed = cluster.kubectl("api-resources", "--verbs=list", "-o", "name", "--cached=false").stdout.split()
    resources = ",".join(sorted(set(listed) - FLEETING))
    rows = "{range .items[*]}{.apiVersion}/{.kind}/{.metadata.namespace}/{.metadata.name}{'\\n'}{end}"
    rows = rows.replace("'", '"')
    found = cluster.kubectl("get", resources, "-A", "-o", f"jsonpath={rows}").stdout.splitlines()
    # The API server's own Lease appears some time after its start.
    return {row for row in found if not row.startswith("coordination.k8s.io/v1/Lease/kube-system/")}


def ours(cluster: LocalCluster) -> dict[str, str]:
    """The objects of the installation, and the resource version of each."""
    rows = "{range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}".replace(
        "'", '"'
    )
    done = cluster.kubectl("get", "-k", str(MANIFESTS), "-o", f"jsonpath={rows}")
    return dict(line.split(" ") for line in done.stdout.splitlines())


def test_installed_and_uninstalled_as_the_documentation_says():
    with loopback_cluster() as cluster:
        cluster.add_nodes(2)
        before = everything(cluster)
        assert "v1/Namespace//default" in before
        first = cluster.kubectl("apply", "-k", str(MANIFESTS))
        assert {line.rsplit(" ", 1)[1] for line in first.stdout.splitlines()} == {"created"}
        assert not first.stderr, "the API server warned"
        wait_until_in_force(cluster)
        cluster.kubectl(
            "rollout", "status", f"deployment/{NAME}", f"--namespace={NAMESPACE}", "--timeout=60s"
        )

        # Nobody answers, as no pod here runs a process: the DaemonSet is taken, and its pods start.
        assert cluster.request("POST", DAEMON_SETS, daemon_set("agent")).status == 201
        assert not any("schedulingGates" in pod["spec"] for pod in pods_of(cluster, "agent", 2))

        applied_again(cluster)
        assert len(everything(cluster) - before) > 30

        # What the process would have left: a held pod, an annotation, a budget, its Lease and Secret.
        held = daemon_set(
            "held",
            labels={"watchbudget.io/start": "held"},
            schedulingGates=[{"name": "watchbudget.io/start"}],
        )
        cluster.request("POST", DAEMON_SETS, held)
        gated = {pod["metadata"]["name"] for pod in pods_of(cluster, "held", 2)}
        cluster.kubectl("annotate", "daemonset", "agent", "watchbudget.io/verdict=warn")
        cluster.kubectl("apply", "-f", str(MANIFESTS / "samples" / "01-audit.yaml"))
        process = cluster.client(cluster.token(NAMESPACE, NAME))
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}
        process.request("POST", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases", lease)

        hooks, pods, rest, annotations = uninstalling()
        cluster.kubectl(*hooks)
        cluster.kubectl(*pods)
        assert gated.isdisjoint(pod["metadata"]["name"] for pod in pods_of(cluster, "held", 2))
        cluster.kubectl(*rest)
        cluster.kubectl(*annotations)
        assert "watchbudget.io" not in str(cluster.request("GET", f"{DAEMON_SETS}/agent").json()["metadata"])

        for name in ("agent", "held"):
            cluster.kubectl("delete", "daemonset", name, "--cascade=foreground")
        assert everything(cluster) - before == set()
        assert before - everything(cluster) == set()


def uninstalling() -> Iterator[list[str]]:
    """The kubectl commands of docs/install.md, section Uninstall, in their order."""
    section = (ROOT / "docs" / "install.md").read_text().partition("## Uninstall")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("kubectl "):
            words = subprocess.run(["bash", "-c", f"echo {line}"], capture_output=True, text=True, check=True)
            yield words.stdout.replace("my-watchbudget/", str(MANIFESTS)).split()[1:]


def applied_again(cluster: LocalCluster) -> None:
    """Nothing changes, and a CA that the process put into the webhooks stays."""
    for resource in CONFIGURATIONS:
        patch = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "QUJD"}]
        cluster.request("PATCH", f"{ADMISSION}/{resource}/{NAME}", patch, headers=JSON_PATCH)
    versions = ours(cluster)
    said = cluster.kubectl("apply", "-k", str(MANIFESTS)).stdout.splitlines()
    # A kubectl quirk: it always sends the selector of a PodDisruptionBudget, which changes nothing.
    assert [line for line in said if not line.endswith(" unchanged")] == [
        f"poddisruptionbudget.policy/{NAME} configured"
    ]
    assert ours(cluster) == versions
    assert cluster.kubectl("diff", "-k", str(MANIFESTS)).stdout == ""
    for resource in CONFIGURATIONS:
        stored = cluster.request("GET", f"{ADMISSION}/{resource}/{NAME}").json()
        assert stored["webhooks"][0]["clientConfig"]["caBundle"] == "QUJD"


@pytest.fixture
def pod(kubectl: Path) -> dict[str, Any]:
    """A pod of the Deployment, as it would be created."""
    template = copy.deepcopy(one(built(kubectl, "."), "Deployment")["spec"]["template"])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        **template,
        "metadata": {**template["metadata"], "name": "trial"},
    }


def test_our_pods_are_restricted_ones(installed: LocalCluster, pod: dict[str, Any]):
    answer = installed.request("POST", f"{PODS}?dryRun=All&fieldValidation=Strict", pod)
    assert answer.status == 201
    assert "Warning" not in answer.headers
    assert answer.json()["spec"]["priority"] == 2_000_000_000


@pytest.mark.parametrize("loosened", ["runAsNonRoot", "seccompProfile"])
def test_a_looser_pod_is_refused(installed: LocalCluster, pod: dict[str, Any], loosened: str):
    del pod["spec"]["securityContext"][loosened]
    answer = installed.request("POST", f"{PODS}?dryRun=All", pod, check=False)
    assert answer.status == 403
    assert 'violates PodSecurity "restricted:latest"' in answer.json()["message"]


def test_the_root_file_system_is_read_only(pod: dict[str, Any]):
    """The restricted level does not ask for it; we do."""
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_replicas_run_on_different_nodes(installed: LocalCluster):
    installed.kubectl("rollout", "status", f"deployment/{NAME}", f"--namespace={NAMESPACE}", "--timeout=60s")
    pods = installed.request("GET", PODS).json()["items"]
    assert len(pods) == 2
    assert len({each["spec"]["nodeName"] for each in pods}) == 2


def test_one_of_two_replicas_may_be_disrupted(installed: LocalCluster):
    installed.kubectl(
        "wait",
        "pdb/watchbudget",
        f"--namespace={NAMESPACE}",
        "--for=jsonpath={.status.disruptionsAllowed}=1",
        "--timeout=60s",
    )


@pytest.fixture
def reinstalled(installed: LocalCluster) -> Iterator[LocalCluster]:
    yield installed
    installed.kubectl("apply", "-k", str(MANIFESTS))


def test_host_network_is_accepted_where_the_overlay_allows_it(reinstalled: LocalCluster, kubectl: Path):
    folder = MANIFESTS / "overlays" / "host-network"
    reinstalled.kubectl("apply", "-k", str(folder))
    template = one(built(kubectl, "overlays/host-network"), "Deployment")["spec"]["template"]
    trial = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "trial"}}
    assert reinstalled.request("POST", f"{PODS}?dryRun=All&fieldValidation=Strict", trial).status == 201


def of_others(group: str, version: str, *kinds: str) -> list[dict[str, Any]]:
    """Definitions of types that are not ours, by which the API server takes whatever has their name."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{kind.lower()}s.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": f"{kind.lower()}s", "singular": kind.lower()},
                "versions": [
                    {
                        "name": version,
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": anything},
                    }
                ],
            },
        }
        for kind in kinds
    ]


@pytest.fixture
def with_types_of_others(reinstalled: LocalCluster) -> Iterator[LocalCluster]:
    types = [
        *of_others("cert-manager.io", "v1", "Issuer", "Certificate"),
        *of_others("monitoring.coreos.com", "v1", "ServiceMonitor", "PrometheusRule"),
    ]
    reinstalled.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": types}))
    names = [f"crd/{each['metadata']['name']}" for each in types]
    reinstalled.kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")
    yield reinstalled
    reinstalled.kubectl("delete", *names)


def test_overlays_with_types_of_others_are_accepted(with_types_of_others: LocalCluster):
    """And with cert-manager's certificates the process may neither read nor write any of its own."""
    cluster = with_types_of_others

    def may(*what: str) -> bool:
        account = f"--as=system:serviceaccount:{NAMESPACE}:{NAME}"
        asked = cluster.kubectl("auth", "can-i", *what, f"--namespace={NAMESPACE}", account, check=False)
        return asked.stdout.strip() == "yes"

    secret = ("update", "secrets/watchbudget-tls")
    webhook = ("patch", "validatingwebhookconfigurations/watchbudget")
    assert may(*secret)
    assert may(*webhook)
    cluster.kubectl("apply", "-k", str(MANIFESTS / "overlays" / "prometheus"))
    cluster.kubectl("get", "servicemonitor/watchbudget", "prometheusrule/watchbudget", "-n", NAMESPACE)
    without = MANIFESTS / "components" / "cert-manager" / "no-certificates-of-our-own.yaml"
    for each in yaml.safe_load_all(without.read_text()):  # as where the base was never applied
        where = each["metadata"].get("namespace", NAMESPACE)
        cluster.kubectl("delete", each["kind"], each["metadata"]["name"], "-n", where)
    cluster.kubectl("apply", "-k", str(MANIFESTS / "overlays" / "cert-manager"))
    assert cluster.kubectl("get", "certificates", "-n", NAMESPACE, "-o", "name").stdout
    assert not may(*secret)
    assert not may(*webhook)
    assert may("list", "daemonsets", "--all-namespaces")
