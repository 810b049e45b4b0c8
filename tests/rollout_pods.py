"""Pods with our label, as the API server sends them."""

from __future__ import annotations

from typing import Any

from watchbudget.rollout.gate import GATE, LABEL

NAMESPACE = "logging"


def path_of(name: str) -> str:
    return f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"


def held_pod(name: str = "a", *, owner: str | None = "agent", **spec: Any) -> dict[str, Any]:  # noqa: ANN401
    """A pod that was just born held; its name is its uid and, after `n-`, its node."""
    owners = [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": owner, "uid": "d", "controller": True}]
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [f"n-{name}"]}]}]
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": name,
            "uid": name,
            "resourceVersion": "1",
            "labels": {LABEL: "held", "app": "agent", "controller-revision-hash": "r1"},
            **({"ownerReferences": owners} if owner else {}),
        },
        "spec": {
            "schedulingGates": [{"name": GATE}],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}
                }
            },
            **spec,
        },
        "status": {"phase": "Pending"},
    }


def permitted_pod(name: str = "a", **status: Any) -> dict[str, Any]:  # noqa: ANN401
    """The same after its release; further arguments are its status."""
    raw = held_pod(name, schedulingGates=[])
    raw["metadata"]["labels"][LABEL] = "permitted"
    raw["status"] |= status
    return raw


def container(state: str = "running", *, restarts: int = 0, reason: str = "") -> dict[str, Any]:
    return {"name": "c", "restartCount": restarts, "state": {state: {"reason": reason} if reason else {}}}


READY = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
