"""A DaemonSet that is rolled in waves: what of it is old, read from raw objects.

OnDelete means that someone else deletes: Cilium's and NVIDIA's own tools do. So a DaemonSet is rolled in
waves only if its owner says so by annotation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from watchbudget.api.budget import GROUP
from watchbudget.rollout.gate import LABEL, node_of
from watchbudget.rollout.model import Key

__all__ = [
    "ROLLOUT",
    "WAVES",
    "DaemonPod",
    "Roll",
    "is_in_waves",
    "is_outdated",
    "pods_of",
    "pods_of_table",
    "roll_of",
]

ROLLOUT = f"{GROUP}/rollout"
"""Annotation of a DaemonSet."""

WAVES = "waves"
"""Its only value."""

_NONE = "<none>"
"""What a table has for the node of a pod that is on none."""

_HASH = "controller-revision-hash"
_GENERATION = "pod-template-generation"
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


class DaemonPod(Struct, frozen=True):
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


class Roll(Struct, frozen=True):
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
    raw: Mapping[str, Any], revisions: Iterable[Mapping[str, Any]], pods: Iterable[DaemonPod]
) -> Roll | None:
    """A DaemonSet that is rolled in waves.

    Args:
        raw: the DaemonSet.
        revisions: ControllerRevisions of its namespace; those of others are passed over.
        pods: its own, as `pods_of` or `pods_of_table` gives them.

    Returns:
        None where it is not rolled in waves, or is no usable object.
    """
    metadata = _mapping(raw, "metadata")
    namespace, name, uid = (_text(metadata, field) for field in ("namespace", "name", "uid"))
    if not (is_in_waves(raw) and namespace and name and uid):
        return None
    return Roll(
        key=(namespace, name),
        uid=uid,
        caught_up=_caught_up(raw),
        desired=_number(_mapping(raw, "status"), "desiredNumberScheduled"),
        revision=_newest(revision for revision in revisions if _is_owned(revision, uid)),
        generation=_text(_mapping(metadata, "annotations"), _TEMPLATE_GENERATION),
        pods=tuple(pods),
    )


def pods_of(raws: Iterable[Mapping[str, Any]], owner: str) -> tuple[DaemonPod, ...]:
    """The pods of a DaemonSet among whole objects.

    Args:
        raws: pods.
        owner: uid of the DaemonSet.
    """
    return tuple(
        _pod(_mapping(raw, "metadata"), node_of(raw) or "", ready=_is_ready(_mapping(raw, "status")))
        for raw in raws
        if _is_owned(raw, owner) and _uid(raw)
    )


def pods_of_table(
    table: Mapping[str, Any], owner: str, nodes: Mapping[str, str]
) -> tuple[DaemonPod, ...] | None:
    """The pods of a DaemonSet in a page of a table, as the API server makes it for kubectl.

    That is a fraction of the objects' size. It must have the objects' metadata (`includeObject=Metadata`,
    the default).

    Args:
        table: the page.
        owner: uid of the DaemonSet.
        nodes: by uid of pod: which node those are for that are on none yet. The table does not have it.

    Returns:
        None where the table has other columns than it should.
    """
    names = [_text(column, "name") for column in _mappings(table, "columnDefinitions")]
    if not {"Ready", "Status", "Node"} <= set(names):
        return None
    ready, status, node = (names.index(name) for name in ("Ready", "Status", "Node"))
    pods = []
    for row in _mappings(table, "rows"):
        raw, cells = _mapping(row, "object"), row.get("cells")
        if (
            not _is_owned(raw, owner)
            or not _uid(raw)
            or not isinstance(cells, list)
            or len(cells) != len(names)
        ):
            continue
        running, _, of = str(cells[ready]).partition("/")
        on = (
            cells[node] if isinstance(cells[node], str) and cells[node] != _NONE else nodes.get(_uid(raw), "")
        )
        up = cells[status] == "Running" and running == of
        pods.append(_pod(_mapping(raw, "metadata"), on, ready=up))
    return tuple(pods)


def _newest(revisions: Iterable[Mapping[str, Any]]) -> str:
    newest = max(revisions, key=lambda revision: _number(revision, "revision"), default={})
    return _text(_mapping(_mapping(newest, "metadata"), "labels"), _HASH)


def _pod(metadata: Mapping[str, Any], node: str, *, ready: bool) -> DaemonPod:
    labels = _mapping(metadata, "labels")
    return DaemonPod(
        uid=_text(metadata, "uid"),
        name=_text(metadata, "name"),
        node=node,
        revision=_text(labels, _HASH),
        generation=_text(labels, _GENERATION),
        ready=ready,
        deleting=bool(metadata.get("deletionTimestamp")),
        label=_text(labels, LABEL),
    )


def _is_ready(status: Mapping[str, Any]) -> bool:
    return any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in _mappings(status, "conditions")
    )


def _is_owned(raw: Mapping[str, Any], uid: str) -> bool:
    owners = _mappings(_mapping(raw, "metadata"), "ownerReferences")
    return any(owner.get("controller") is True and owner.get("uid") == uid for owner in owners)


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


def _mappings(raw: Mapping[str, Any], field: str) -> Iterator[Mapping[str, Any]]:
    value = raw.get(field)
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())
