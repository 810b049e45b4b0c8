"""Nodes that KWOK plays: real Node objects without a machine."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from watchbudget.localcluster.binaries import KUBERNETES_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from watchbudget.localcluster.client import ApiClient

__all__ = ["add_nodes", "node"]

NAME = "wb-node-{:05d}"
WORKERS = 16


def add_nodes(
    client: ApiClient,
    count: int,
    *,
    zones: int,
    labels: Mapping[str, str],
    taints: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """Create ``count`` Ready nodes named after those that are there, and return their names.

    Args:
        client: Who creates them.
        count: How many.
        zones: They are dealt out in turn to ``zone-a``, ``zone-b``, ... (at most 26).
        labels: Further labels for each.
        taints: Taints for each, as in a Node's spec.
    """
    first = 1 + _highest(client)
    names = [NAME.format(number) for number in range(first, first + count)]
    created = [
        (
            "/api/v1/nodes",
            node(name, zone=f"zone-{chr(ord('a') + index % zones)}", labels=labels, taints=taints),
        )
        for index, name in enumerate(names, start=first - 1)
    ]
    client.create_all(created, workers=WORKERS, on_done=lambda _new: None)
    return names


def node(
    name: str, *, zone: str, labels: Mapping[str, str], taints: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return a Node as a kubelet registers it, status included: created Ready, it needs no second write."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    size = {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "played by KWOK"}
    pressures = [
        {"type": kind, "status": "False"} for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    standard = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": "kwok",
        "topology.kubernetes.io/region": "region-1",
        "topology.kubernetes.io/zone": zone,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": standard | dict(labels)},
        "spec": {"providerID": f"kwok://{name}", "taints": list(taints)},
        "status": {
            "capacity": size,
            "allocatable": size,
            "conditions": [condition | times for condition in (ready, *pressures)],
            "addresses": [{"type": "Hostname", "address": name}],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": KUBERNETES_VERSION,
                "osImage": "kwok", "kernelVersion": "kwok", "containerRuntimeVersion": "kwok://0",
                "kubeProxyVersion": "", "bootID": "", "machineID": "", "systemUUID": "",
            },
        },
    }  # fmt: skip


def _highest(client: ApiClient) -> int:
    """Return the highest number among our nodes' names, 0 if there is none."""
    names = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
    items = (
        client.request("GET", "/api/v1/nodes", headers=names).json()["items"] or []
    )  # null where there is none
    prefix = NAME.partition("{")[0]
    ends = (item["metadata"]["name"].removeprefix(prefix) for item in items)
    return max((int(end) for end in ends if end.isdigit()), default=0)
