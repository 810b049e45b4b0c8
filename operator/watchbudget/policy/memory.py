"""The memory limit that the caches must fit into, as the kernel will enforce it.

A container's limit is its own, else the default of the namespace's LimitRange; all containers
together stay under the pod's. Sources: plugin/pkg/admission/limitranger/admission.go
(`mergeContainerResources`) and
https://kubernetes.io/docs/tasks/configure-pod-container/assign-pod-level-resources/
"""

from __future__ import annotations

from collections.abc import Iterable

from watchbudget.inventory.fleet import DaemonSet, LimitRange
from watchbudget.policy.model import Memory

__all__ = ["memory_of"]


def memory_of(
    daemon_set: DaemonSet, limit_ranges: Iterable[LimitRange], watching_container: str | None = None
) -> Memory:
    """The limits of the DaemonSet's pods, in bytes.

    Only what runs beside the agent counts: containers and sidecars, not init containers that end. A limit
    of 0 is no limit, as the container runtimes read it. Several LimitRanges of one namespace are
    applied in no fixed order; the smallest default is the one that can be relied on. `watching_container` may
    be None: then a single container is it, and of several none is.
    """
    defaults = [
        entry.default_memory_limit
        for entry in limit_ranges
        if entry.namespace == daemon_set.namespace and entry.default_memory_limit
    ]
    default = min(defaults, default=None)
    pod = daemon_set.pod_memory_limit or None
    own = [
        (container.name, container.memory_limit or default)
        for container in daemon_set.containers
        if container.long_running
    ]
    effective = tuple((name, _smaller(limit, pod)) for name, limit in own)
    missing = () if pod else tuple(name for name, limit in own if not limit)
    complete = bool(own) and not missing
    if watching_container is None and len(own) == 1:
        watching_container = own[0][0]
    return Memory(
        limit_complete=complete,
        limit_bytes=(pod or sum(limit or 0 for _, limit in own)) if complete else None,
        watching_limit_bytes=dict(effective).get(watching_container or ""),
        missing=missing,
        by_container=effective,
    )


def _smaller(limit: int | None, pod: int | None) -> int | None:
    known = [value for value in (limit, pod) if value]
    return min(known, default=None)
