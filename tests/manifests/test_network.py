"""The NetworkPolicy: open for all that is called and that the process calls, and for nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifests.installation import OVERLAYS, built, one, pod_of

IN_THE_CLUSTER = [".", *(f"overlays/{name}" for name in OVERLAYS if name != "development")]
API_SERVERS = {443, 6443}
"""Of the Service `kubernetes`, and of kube-apiserver itself: most networks see the second one."""

Objects = tuple[dict[str, Any], ...]


def policy(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, "NetworkPolicy")["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert spec["podSelector"]["matchLabels"].items() <= pod_labels(objects).items()
    return spec


def pod_labels(objects: Objects) -> dict[str, str]:
    labels: dict[str, str] = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    return labels


def open_ports(rules: list[dict[str, Any]], peers: str, names: dict[str, int]) -> set[int]:
    """TCP ports that rules open to everyone, names of container ports resolved."""
    return {
        names.get(each["port"], each["port"])
        for rule in rules
        if peers not in rule
        for each in rule["ports"]
        if each.get("protocol", "TCP") == "TCP" and "endPort" not in each
    }


def container_ports(objects: Objects) -> dict[str, int]:
    (container,) = pod_of(objects)["containers"]
    return {each["name"]: each["containerPort"] for each in container["ports"]}


@pytest.mark.parametrize("folder", IN_THE_CLUSTER)
def test_everyone_reaches_what_the_service_the_kubelet_and_prometheus_call(kubectl: Path, folder: str):
    objects = built(kubectl, folder)
    ports = container_ports(objects)
    (container,) = pod_of(objects)["containers"]
    probes = [container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
    called = {each["targetPort"] for each in one(objects, "Service")["spec"]["ports"]}
    called |= {each["port"] for each in probes}
    assert called == {"webhook", "probes"}
    assert open_ports(policy(objects)["ingress"], "from", ports) == {ports[each] for each in called}


@pytest.mark.parametrize("folder", IN_THE_CLUSTER)
def test_it_reaches_api_servers_by_address_or_name(kubectl: Path, folder: str):
    """A pod is told how (controller/test_live_operator.py), and asks for no other host."""
    objects = built(kubectl, folder)
    opened = open_ports(policy(objects)["egress"], "to", {})
    assert opened >= API_SERVERS | {53}
    assert {"port": 53, "protocol": "UDP"} in [
        each for rule in policy(objects)["egress"] for each in rule["ports"]
    ]
    (container,) = pod_of(objects)["containers"]
    assert {each["name"] for each in container["env"]} == {"POD_NAME", "POD_NAMESPACE"}
    assert not any(each.startswith("--kubeconfig") for each in container["args"])
