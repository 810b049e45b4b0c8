"""A DaemonSet that is rolled in waves: what of it is old, read from raw objects.

OnDelete means that someone else deletes: Cilium's and NVIDIA's own tools do. So a DaemonSet is rolled in
waves only if its owner says so by annotation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from watchbudget.api.budget import GROUP
from watchbudget.rollout.gate import LABEL, node_of
from watchbudget.rollout.model import Key

__all__ = ["ROLLOUT", "WAVES", "DaemonPod", "Roll", "is_in_waves", "is_outdated", "roll_of"]

ROLLOUT = f"{GROUP}/rollout"
"""Annotation of a DaemonSet."""

WAVES = "waves"
"""Its only value."""

_HASH = "controller-revision-hash"
_GENERATION = "pod-template-generation"
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


@dataclass(frozen=True, slots=True)
class DaemonPod:
    """A pod of the DaemonSet.

    Attributes:
        uid: of the pod.
        name: of the pod.
        node: that it is on or meant for; empty if that cannot be read.
        revision: its label controller-revision-hash.
        generation: its label pod-template-generation.
        ready: its condition.
        deleting: it is on its way out.
        label: ours, `held` or `permitted`; empty if it has none.
    """

    uid: str
    name: str
    node: str
    revision: str
    generation: str
    ready: bool
    deleting: bool
    label: str


@dataclass(frozen=True, slots=True)
class Roll:
    """A DaemonSet and its pods, as they are now.

    Attributes:
        key: namespace and name.
        uid: of the DaemonSet.
        caught_up: its controller has seen the newest template, so that the newest revision is that one's.
        desired: nodes that it is to run on.
        revision: the newest of its revisions, as pods carry it; empty if that is not known.
        generation: its template's, as pods carry it; empty if it has none.
        pods: all of them.
    """

    key: Key
    uid: str
    caught_up: bool
    desired: int
    revision: str
    generation: str
    pods: tuple[DaemonPod, ...]

    def is_old(self, pod: DaemonPod) -> bool:
        """Whether the pod is not of the newest revision.

        As IsPodUpdated in pkg/controller/daemon/util/daemonset_util.go. The generation matters after an
        upgrade of the cluster that adds a field to every template: hashes differ, and nothing is to restart.
        """
        if self.revision and pod.revision == self.revision:
            return False
        return not (self.generation and pod.generation == self.generation)


def is_in_waves(raw: Mapping[str, Any]) -> bool:
    """Whether a DaemonSet, as the API has it, is rolled in waves at all."""
    metadata = _mapping(raw, "metadata")
    if metadata.get("deletionTimestamp") or _mapping(metadata, "annotations").get(ROLLOUT) != WAVES:
        return False
    return _mapping(_mapping(raw, "spec"), "updateStrategy").get("type") == "OnDelete"


def is_outdated(raw: Mapping[str, Any]) -> bool:
    """Whether some of its pods are old, or may be: only then is it worth listing them."""
    status = _mapping(raw, "status")
    return not _caught_up(raw) or _number(status, "updatedNumberScheduled") < _number(
        status, "desiredNumberScheduled"
    )


def roll_of(
    raw: Mapping[str, Any], revisions: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]
) -> Roll | None:
    """A DaemonSet that is rolled in waves.

    Args:
        raw: the DaemonSet.
        revisions: ControllerRevisions of its namespace; those of others are passed over.
        pods: of its namespace, whole objects; those of others are passed over.

    Returns:
        None where it is not rolled in waves, or is no usable object.
    """
    metadata = _mapping(raw, "metadata")
    namespace, name, uid = (metadata.get(field) for field in ("namespace", "name", "uid"))
    if not is_in_waves(raw) or not all(isinstance(part, str) and part for part in (namespace, name, uid)):
        return None
    return Roll(
        key=(str(namespace), str(name)),
        uid=str(uid),
        caught_up=_caught_up(raw),
        desired=_number(_mapping(raw, "status"), "desiredNumberScheduled"),
        revision=_newest(revision for revision in revisions if _is_owned(revision, str(uid))),
        generation=_text(_mapping(metadata, "annotations"), _TEMPLATE_GENERATION),
        pods=tuple(_pod(pod) for pod in pods if _is_owned(pod, str(uid)) and _uid(pod)),
    )


def _newest(revisions: Iterable[Mapping[str, Any]]) -> str:
    newest = max(revisions, key=lambda revision: _number(revision, "revision"), default={})
    return _text(_mapping(_mapping(newest, "metadata"), "labels"), _HASH)


def _pod(raw: Mapping[str, Any]) -> DaemonPod:
    metadata = _mapping(raw, "metadata")
    labels = _mapping(metadata, "labels")
    return DaemonPod(
        uid=_uid(raw),
        name=_text(metadata, "name"),
        node=node_of(raw) or "",
        revision=_text(labels, _HASH),
        generation=_text(labels, _GENERATION),
        ready=_is_ready(_mapping(raw, "status")),
        deleting=bool(metadata.get("deletionTimestamp")),
        label=_text(labels, LABEL),
    )


def _is_ready(status: Mapping[str, Any]) -> bool:
    conditions = status.get("conditions")
    return isinstance(conditions, list) and any(
        isinstance(each, dict) and each.get("type") == "Ready" and each.get("status") == "True"
        for each in conditions
    )


def _is_owned(raw: Mapping[str, Any], uid: str) -> bool:
    owners = _mapping(raw, "metadata").get("ownerReferences")
    return isinstance(owners, list) and any(
        isinstance(owner, dict) and owner.get("controller") is True and owner.get("uid") == uid
        for owner in owners
    )


def _caught_up(raw: Mapping[str, Any]) -> bool:
    generation = _number(_mapping(raw, "metadata"), "generation")
    return 0 < generation <= _number(_mapping(raw, "status"), "observedGeneration")


def _uid(raw: Mapping[str, Any]) -> str:
    return _text(_mapping(raw, "metadata"), "uid")


def _text(raw: Mapping[str, Any], field: str) -> str:
    value = raw.get(field)
    return value if isinstance(value, str) else ""


def _number(raw: Mapping[str, Any], field: str) -> int:
    value = raw.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _mapping(raw: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = raw.get(field) if isinstance(raw, dict) else None
    return value if isinstance(value, dict) else {}
