"""Memory limits that hold a re-list, and the JSON patches that set them."""

from __future__ import annotations

from collections.abc import Mapping

from watchbudget.inventory.fleet import Container, DaemonSet

__all__ = ["container_patch", "pod_patch", "recommended_limit"]

Patch = tuple[Mapping[str, object], ...]

MIB = 2**20
HEADROOM_PERCENT = 30
"""What the measurements behind the bill carry as error, either way (cost/calibration.yaml)."""


def recommended_limit(needed: int, request: int | None = None) -> int:
    """A limit for something that needs so many bytes: with headroom, rounded up as people write limits.

    Never below the memory request, which the API server would refuse.
    """
    wanted = max(-(-needed * (100 + HEADROOM_PERCENT) // 100), request or 0)
    step = next((step for below, step in ((256, 16), (1024, 64)) if wanted <= below * MIB), 256) * MIB
    return -(-wanted // step) * step


def container_patch(daemon_set: DaemonSet, name: str, limit: int) -> Patch:
    """A JSON patch that sets a long-running container's memory limit; empty where none has that name.

    RFC 6902's `add` needs the parent to exist and overwrites what it names, so the path depends on
    what the container sets already: a cpu limit must survive.
    """
    for field, init in (("containers", False), ("initContainers", True)):
        group = [container for container in daemon_set.containers if container.init is init]
        for index, container in enumerate(group):
            if container.name == name and container.long_running:
                return (
                    _operation(container, f"/spec/template/spec/{field}/{index}/resources", _text(limit)),
                )
    return ()


def pod_patch(limit: int) -> Patch:
    """A JSON patch that replaces the limit of the pod as a whole, which must have one."""
    return ({"op": "replace", "path": "/spec/template/spec/resources/limits/memory", "value": _text(limit)},)


def _operation(container: Container, path: str, value: str) -> Mapping[str, object]:
    if "limits" in container.resource_parts or container.memory_limit is not None:
        return {"op": "add", "path": f"{path}/limits/memory", "value": value}
    if container.resource_parts or container.memory_request is not None:
        return {"op": "add", "path": f"{path}/limits", "value": {"memory": value}}
    return {"op": "add", "path": path, "value": {"limits": {"memory": value}}}


def _text(limit: int) -> str:
    return f"{limit // MIB}Mi"
