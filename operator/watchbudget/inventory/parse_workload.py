"""DaemonSets, and the accounts of other workloads, read from raw objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from watchbudget.inventory import parse_pod
from watchbudget.inventory.fields import Fields, object_fields
from watchbudget.inventory.fleet import DaemonSet, Problem, Source, UpdateStrategy
from watchbudget.inventory.found import describe, shown

__all__ = ["WORKLOAD_KINDS", "daemon_set", "workload_account"]

WORKLOAD_KINDS: Mapping[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "Job"),
        ("spec", "template", "spec"),
    ),
}
"""Where each kind keeps its pod's specification."""

_PERCENT = re.compile(r"[0-9]{1,18}%")
_OLDEST = "extensions/v1beta1"


def daemon_set(
    raw: Mapping[str, Any], source: Source, problems: list[Problem], *, namespace: str = "default"
) -> DaemonSet | None:
    """Read a DaemonSet of apps/v1, apps/v1beta2 or extensions/v1beta1, with that version's defaults.

    Args:
        raw: the object as the API or a file has it.
        source: where it was read, for messages.
        problems: gets one problem for each field that cannot be used.
        namespace: that of an object which names none.

    Returns:
        The DaemonSet with what could be read, or None if it has no usable name.
    """
    begun = object_fields(raw, "DaemonSet", source, problems, namespace)
    if begun is None:
        return None
    whole, own, name = begun
    oldest = raw.get("apiVersion") == _OLDEST
    metadata, spec = whole.child("metadata"), whole.child("spec")
    if not whole.has("spec"):
        whole.missing("spec")
        spec.broken = True
    template = spec.child("template")
    pod = template.child("spec")
    labels = metadata.text_map("labels")
    if oldest and not labels:
        # pkg/apis/extensions/v1beta1/defaults.go, SetDefaults_DaemonSet
        labels = template.child("metadata").text_map("labels")
    affinity = pod.child("affinity").child("nodeAffinity")
    return DaemonSet(
        namespace=own,
        name=name,
        service_account=parse_pod.service_account_name(pod),
        automount=pod.flag("automountServiceAccountToken"),
        labels=labels,
        annotations=metadata.text_map("annotations"),
        containers=parse_pod.containers(pod),
        volumes=parse_pod.volumes(pod),
        pod_memory_limit=pod.child("resources").child("limits").size("memory"),
        node_selector=tuple(sorted(pod.text_map("nodeSelector").items())),
        has_node_affinity=affinity.has("requiredDuringSchedulingIgnoredDuringExecution"),
        host_network=pod.flag("hostNetwork") or False,
        priority_class=pod.text("priorityClassName"),
        update_strategy=_update_strategy(
            spec.child("updateStrategy"), "OnDelete" if oldest else "RollingUpdate"
        ),
        nodes=_nodes(whole.child("status")),
        source=source,
    )


def workload_account(
    raw: Mapping[str, Any], source: Source, problems: list[Problem], *, namespace: str = "default"
) -> tuple[tuple[str, str], str] | None:
    """Read which account a workload other than a DaemonSet uses.

    Returns:
        (namespace, service account) and the workload's title, "Deployment typha". None for one that
        has no usable name, for one that another workload owns (the pods of a DaemonSet would
        otherwise seem to share its account with it), and for kinds not in WORKLOAD_KINDS.
    """
    kind = raw.get("kind") if isinstance(raw, dict) else None
    where = WORKLOAD_KINDS.get(kind) if isinstance(kind, str) else None
    if kind is None or where is None:
        return None
    begun = object_fields(raw, kind, source, problems, namespace)
    if begun is None:
        return None
    whole, own, name = begun
    if any(owner.flag("controller") for owner in whole.child("metadata").children("ownerReferences")):
        return None
    pod = whole
    for key in where:
        pod = pod.child(key)
    return (own, parse_pod.service_account_name(pod)), f"{kind} {name}"


def _update_strategy(fields: Fields, default: str) -> UpdateStrategy:
    """The strategy with the API server's defaults: pkg/apis/apps/v1/defaults.go, SetDefaults_DaemonSet."""
    kind = fields.text("type") or default
    if kind not in ("RollingUpdate", "OnDelete"):
        fields.problem("type", f"expected RollingUpdate or OnDelete, found {describe(kind)}")
        kind = default
    if kind == "OnDelete":
        return UpdateStrategy(kind, None, None)
    rolling = fields.child("rollingUpdate")
    unavailable = _count_or_percent(rolling, "maxUnavailable", "1")
    surge = _count_or_percent(rolling, "maxSurge", "0")
    # pkg/apis/apps/validation/validation.go, ValidateRollingUpdateDaemonSet
    if _is_zero(unavailable) and _is_zero(surge):
        rolling.problem("maxUnavailable", "must not be 0 when maxSurge is 0: the API server refuses this")
    elif not _is_zero(unavailable) and not _is_zero(surge):
        given = "" if rolling.has("maxUnavailable") else ", its default,"
        message = f"needs maxUnavailable: 0, and that is {unavailable}{given}: the API server refuses this"
        rolling.problem("maxSurge", message)
    return UpdateStrategy(kind, unavailable, surge)


def _count_or_percent(fields: Fields, key: str, default: str) -> str:
    value = fields.raw(key)
    if value is None:
        return default
    if not isinstance(value, str):
        number = fields.number(key)
        return default if number is None else str(number)
    if not _PERCENT.fullmatch(value):
        fields.problem(key, f"expected a whole number or a percentage such as 10%, found {describe(value)}")
        return default
    if int(value[:-1]) > 100:
        fields.problem(key, f"must not be more than 100%, and is {shown(value)}")
        return "100%"
    return value


def _is_zero(count: str) -> bool:
    return int(count.rstrip("%")) == 0


def _nodes(status: Fields) -> int | None:
    """How many nodes it runs on. Before the controller's first look all counts are 0 and say nothing."""
    return status.number("desiredNumberScheduled") if status.has("observedGeneration") else None
