"""What is answered when a DaemonSet's pod is created: held, or left alone. From memory, in microseconds.

The DaemonSet controller creates up to 250 pods at once, and a refusal or a slow answer makes it back off for
minutes. So nothing is refused here, and whatever is in doubt starts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from watchbudget.controller.admission import Snapshot
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.inventory.fleet import DaemonSet, Source
from watchbudget.inventory.parse import daemon_set
from watchbudget.policy.judge import Judge
from watchbudget.rollout.gate import GATE, HELD, LABEL, Gate, gate_of, is_critical, node_of
from watchbudget.rollout.model import Key

__all__ = ["hold"]

MOST_REMEMBERED = 1024
"""DaemonSets whose gates are remembered under one judge."""

MOST_VALUES = 5_000
"""Values in a pod from which its DaemonSet is read. Real ones have hundreds; 100,000 would take seconds."""

_SOURCE = Source("admission")
_UNTOUCHED = AdmissionResponse(allowed=True)
_MIRROR = "kubernetes.io/config.mirror"

_TOKEN_VOLUME = "kube-api-access-"  # noqa: S105 - a name
"""What the admission plugin ServiceAccount calls the volume it adds, with a suffix of each pod's own:
plugin/pkg/admission/serviceaccount/admission.go, ServiceAccountVolumeName."""

_OF_THE_REVISION = ("controller-revision-hash", "pod-template-generation")
"""Labels that the DaemonSet controller adds to those of the template: CreatePodTemplate in
pkg/controller/daemon/util/daemonset_util.go."""

_PRICED = (
    "serviceAccountName",
    "automountServiceAccountToken",
    "resources",
    "nodeSelector",
    "hostNetwork",
    "priorityClassName",
)
"""What is read of a pod beside containers and volumes; affinity and tolerations are each pod's own."""

_remembered: WeakKeyDictionary[Judge, dict[Key, tuple[DaemonSet | dict[str, Any], Gate]]] = (
    WeakKeyDictionary()
)
"""What each judge would say again. A judge never changes its mind, so this is a cache and no state."""


def hold(
    request: AdmissionRequest,
    snapshot: Snapshot | None,
    known: Callable[[Key], DaemonSet | None],
    leader_alive: Callable[[], bool],
) -> AdmissionResponse:
    """Hold the pod if a budget gates its DaemonSet; never refuse, never warn.

    The patch is the same for a dry run, which stores nothing.

    Args:
        request: what the API server asks.
        snapshot: None while nothing has been read yet: the pod starts at once.
        known: the newest state of a DaemonSet that was seen, which may be newer than the snapshot's; None if
            there is none. It should give the same object for as long as nothing changed.
        leader_alive: whether somebody holds the Lease and so would let the pod go again.
    """
    pod = request.object
    if snapshot is None or pod is None or not _is_new_pod(request) or not leader_alive():
        return _UNTOUCHED
    metadata, spec = _mapping(pod, "metadata"), _mapping(pod, "spec")
    owner = _owner(metadata)
    namespace = request.namespace or metadata.get("namespace")
    if owner is None or not isinstance(namespace, str) or not namespace:
        return _UNTOUCHED
    if spec.get("nodeName") or _MIRROR in _mapping(metadata, "annotations") or node_of(pod) is None:
        return _UNTOUCHED  # bound already, the kubelet's, or none of the DaemonSet controller's making
    key = (namespace, owner)
    gate = _gate(snapshot.bench, key, known(key) or _shown(metadata, spec, key))
    if not gate.applies(critical=is_critical(pod)):
        return _UNTOUCHED
    return AdmissionResponse(allowed=True, patch=_patch(metadata, spec))


def _is_new_pod(request: AdmissionRequest) -> bool:
    kind = (request.kind.group, request.kind.kind)
    return kind == ("", "Pod") and request.operation == "CREATE" and not request.sub_resource


def _owner(metadata: Mapping[str, Any]) -> str | None:
    """The name of the DaemonSet that controls the pod."""
    for owner in _list(metadata, "ownerReferences"):
        if isinstance(owner, dict) and owner.get("controller") is True:
            name = owner.get("name")
            of_kind = owner.get("kind") == "DaemonSet" and owner.get("apiVersion") == "apps/v1"
            return name if of_kind and isinstance(name, str) and name else None
    return None


def _gate(bench: Judge, key: Key, seen: DaemonSet | dict[str, Any]) -> Gate:
    """The gate of a DaemonSet, priced once for each state of it.

    Args:
        bench: who prices it.
        key: of the DaemonSet.
        seen: it, or what one of its pods shows of it.
    """
    remembered = _remembered.setdefault(bench, {})
    found = remembered.get(key)
    if found is not None and (found[0] is seen or found[0] == seen):
        return found[1]
    item = seen if isinstance(seen, DaemonSet) else _read(seen, key)
    gate = gate_of(bench.appraise(item), bench.budgets) if item is not None else Gate()
    remembered.pop(key, None)
    if len(remembered) >= MOST_REMEMBERED:
        del remembered[next(iter(remembered))]
    remembered[key] = seen, gate
    return gate


def _read(raw: dict[str, Any], key: Key) -> DaemonSet | None:
    """The DaemonSet that a pod shows; None if it is too large to be read here, while others wait."""
    values, rest = 0, [raw]
    while rest:
        value: Any = rest.pop()
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        values += len(children)
        if values > MOST_VALUES:
            return None
        rest.extend(children)
    return daemon_set(raw, _SOURCE, [], namespace=key[0])


def _shown(metadata: Mapping[str, Any], spec: Mapping[str, Any], key: Key) -> dict[str, Any]:
    """The DaemonSet that nobody has told us of yet, as its pod shows it: the same by all of its pods.

    Its own labels and annotations are not there. The pod's labels stand for them, as most charts give both
    the same.
    """
    labels = {
        name: text for name, text in _mapping(metadata, "labels").items() if name not in _OF_THE_REVISION
    }
    template: dict[str, Any] = {field: spec[field] for field in _PRICED if field in spec}
    template["volumes"] = _without_token(_list(spec, "volumes"))
    for field in ("containers", "initContainers"):
        template[field] = [
            {**container, "volumeMounts": _without_token(_list(container, "volumeMounts"))}
            if isinstance(container, dict)
            else container
            for container in _list(spec, field)
        ]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"namespace": key[0], "name": key[1], "labels": labels},
        "spec": {"template": {"spec": template}},
    }


def _without_token(named: list[Any]) -> list[Any]:
    return [item for item in named if not (isinstance(item, dict) and _is_token(item.get("name")))]


def _is_token(name: object) -> bool:
    return isinstance(name, str) and name.startswith(_TOKEN_VOLUME)


def _patch(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Gate and label; none where the pod has both, or where the API server will refuse it anyway."""
    labels, gates = metadata.get("labels"), spec.get("schedulingGates")
    if not isinstance(labels, dict | None) or not isinstance(gates, list | None):
        return ()
    patch: list[Mapping[str, Any]] = []
    if gates is None:
        patch.append({"op": "add", "path": "/spec/schedulingGates", "value": [{"name": GATE}]})
    elif not any(isinstance(gate, dict) and gate.get("name") == GATE for gate in gates):
        patch.append({"op": "add", "path": "/spec/schedulingGates/-", "value": {"name": GATE}})
    if labels is None:
        patch.append({"op": "add", "path": "/metadata/labels", "value": {LABEL: HELD}})
    elif labels.get(LABEL) != HELD:
        # `add` replaces what a template may have put there.
        patch.append({"op": "add", "path": f"/metadata/labels/{LABEL.replace('/', '~1')}", "value": HELD})
    return tuple(patch)


def _mapping(raw: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = raw.get(field)
    return value if isinstance(value, dict) else {}


def _list(raw: Mapping[str, Any], field: str) -> list[Any]:
    value = raw.get(field)
    return value if isinstance(value, list) else []
