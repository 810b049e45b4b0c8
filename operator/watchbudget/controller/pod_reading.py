"""A pod with our label, as the pacer sees it: what the API server sends, as one small value. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from watchbudget.rollout.gate import GATE, LABEL, is_critical, node_of
from watchbudget.rollout.model import Phase, Start

__all__ = ["OWN_ERRORS", "Pod", "read_pod"]

OWN_ERRORS = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Why a container waits, where it is an error of its own: k8s.io/kubernetes/pkg/kubelet/images/types.go,
kuberuntime_container.go and container/sync_result.go."""

_NO_NODE = "Unschedulable"
"""PodReasonUnschedulable in k8s.io/api/core/v1/types.go."""

_REVISION = "controller-revision-hash"
_MOST_RESTARTS = 1_000_000


class Pod(Struct, frozen=True):
    """A pod with our label.

    Attributes:
        start: for the pacer.
        gate: where in `spec.schedulingGates` our gate stands; None if it is gone.
    """

    start: Start
    gate: int | None


def read_pod(raw: Mapping[str, Any], before: Pod | None, now: float) -> Pod | None:
    """What is kept of a pod; None if it does not concern us. Takes any fields.

    A pod that is being deleted does not start any more. One that no DaemonSet controls is kept only
    while our gate holds it, for someone must let it go: its DaemonSet has an empty name.

    A gate never comes back (the API server only lets gates be removed). So where the pod is known without
    it, what still shows it is older than what is known.

    Args:
        raw: the pod.
        before: what was kept of it.
        now: the time, by the clock of all `_since` of a `Start`.
    """
    metadata, status = _mapping(raw, "metadata"), _mapping(raw, "status")
    labels = _mapping(metadata, "labels")
    uid, gate, owner = _text(metadata, "uid"), _gate(raw), _owner(metadata)
    if not uid or LABEL not in labels or metadata.get("deletionTimestamp"):
        return None
    if owner is None and gate is None:
        return None
    known = before.start if before is not None and before.start.uid == uid else None
    if known is not None and known.phase is not Phase.HELD and gate is not None:
        return before
    namespace = _text(metadata, "namespace")
    restarts = _restarts(status)
    phase = _phase(status, restarts) if gate is None else Phase.HELD
    again = known is not None and restarts > known.restarts
    lasting = None if again else known
    started = None if lasting is None else lasting.started_since
    if started is None and (phase in {Phase.STARTED, Phase.READY} or _running(status)) and gate is None:
        started = now
    ready = None
    if phase is Phase.READY:
        ready = lasting.ready_since if lasting is not None and lasting.ready_since is not None else now
    permit = None if gate is not None else now
    if permit is not None and known is not None and known.permit_since is not None:
        permit = known.permit_since
    start = Start(
        uid=uid,
        namespace=namespace,
        name=_text(metadata, "name"),
        daemon_set=(namespace, owner or ""),
        node=node_of(raw) or "",
        revision=_text(labels, _REVISION),
        phase=phase,
        held_since=now if known is None else known.held_since,
        critical=is_critical(raw),
        vacant=known is not None and known.vacant,
        scheduled=bool(_text(_mapping(raw, "spec"), "nodeName")) or not _refused(raw),
        permit_since=permit,
        started_since=started,
        ready_since=ready,
        restarts=restarts,
    )
    return Pod(start, gate)


def _owner(metadata: Mapping[str, Any]) -> str | None:
    """The name of the DaemonSet that controls a pod."""
    for owner in _mappings(metadata, "ownerReferences"):
        version = _text(owner, "apiVersion")
        if (
            owner.get("controller") is True
            and owner.get("kind") == "DaemonSet"
            and version.startswith("apps/")
        ):
            return _text(owner, "name") or None
    return None


def _gate(raw: Mapping[str, Any]) -> int | None:
    gates = _mapping(raw, "spec").get("schedulingGates")
    if not isinstance(gates, list):
        return None
    found = (
        index for index, gate in enumerate(gates) if isinstance(gate, Mapping) and gate.get("name") == GATE
    )
    return next(found, None)


def _refused(raw: Mapping[str, Any]) -> bool:
    """Whether no node takes a pod: another gate holds it, or its scheduler has said so.

    A scheduler that has said nothing yet is busy or away. More pods for it would all start at once later.
    """
    conditions = _mappings(_mapping(raw, "status"), "conditions")
    said = any(each.get("type") == "PodScheduled" and each.get("reason") == _NO_NODE for each in conditions)
    return said or bool(_mapping(raw, "spec").get("schedulingGates"))


def _phase(status: Mapping[str, Any], restarts: int) -> Phase:
    if status.get("phase") == "Failed":
        return Phase.FAILED
    for condition in _mappings(status, "conditions"):
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            return Phase.READY
    if restarts or any(_waits_for(each) in OWN_ERRORS for each in _containers(status)):
        return Phase.FAILED
    return Phase.STARTED if _running(status) else Phase.RELEASED


def _running(status: Mapping[str, Any]) -> bool:
    """Whether all containers run. One that does not yet may be the one that lists."""
    containers = list(_mappings(status, "containerStatuses"))
    return bool(containers) and all(
        isinstance(_mapping(each, "state").get("running"), Mapping) for each in containers
    )


def _waits_for(container: Mapping[str, Any]) -> str:
    return _text(_mapping(_mapping(container, "state"), "waiting"), "reason")


def _restarts(status: Mapping[str, Any]) -> int:
    counts = (container.get("restartCount") for container in _containers(status))
    number = sum(count for count in counts if isinstance(count, int) and count > 0)
    return min(number, _MOST_RESTARTS)


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from _mappings(status, "initContainerStatuses")
    yield from _mappings(status, "containerStatuses")


def _mapping(raw: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = raw.get(field)
    return value if isinstance(value, Mapping) else {}


def _mappings(raw: Mapping[str, Any], field: str) -> Iterator[Mapping[str, Any]]:
    value = raw.get(field)
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else iter(())


def _text(raw: Mapping[str, Any], field: str) -> str:
    value = raw.get(field)
    return value if isinstance(value, str) else ""
