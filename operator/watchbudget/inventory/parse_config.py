"""What stands around a DaemonSet, from raw objects: accounts, ConfigMaps, LimitRanges, namespaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchbudget.inventory.fields import object_fields
from watchbudget.inventory.fleet import ConfigMap, LimitRange, Problem, ServiceAccount, Source

__all__ = ["config_map", "limit_range", "namespace_labels", "service_account"]

_NAME_LABEL = "kubernetes.io/metadata.name"
"""Put on every namespace by the API server: pkg/apis/core/v1/defaults.go, SetDefaults_Namespace."""


def service_account(
    raw: Mapping[str, Any], source: Source, problems: list[Problem], *, namespace: str = "default"
) -> ServiceAccount | None:
    """Read a ServiceAccount; None if it has no name."""
    begun = object_fields(raw, "ServiceAccount", source, problems, namespace)
    if begun is None:
        return None
    whole, own, name = begun
    return ServiceAccount(own, name, whole.flag("automountServiceAccountToken"))


def config_map(
    raw: Mapping[str, Any], source: Source, problems: list[Problem], *, namespace: str = "default"
) -> ConfigMap | None:
    """Read a ConfigMap without its binary data; None if it has no name."""
    begun = object_fields(raw, "ConfigMap", source, problems, namespace)
    if begun is None:
        return None
    whole, own, name = begun
    return ConfigMap(own, name, whole.text_map("data"))


def limit_range(
    raw: Mapping[str, Any], source: Source, problems: list[Problem], *, namespace: str = "default"
) -> LimitRange | None:
    """Read a LimitRange; None if it has no name.

    The default of a container's memory limit is that of the last item of type Container, and
    `max` where it names no default: plugin/pkg/admission/limitranger/admission.go
    (defaultContainerResourceRequirements), pkg/apis/core/v1/defaults.go (SetDefaults_LimitRangeItem).
    """
    begun = object_fields(raw, "LimitRange", source, problems, namespace)
    if begun is None:
        return None
    whole, own, name = begun
    default: int | None = None
    for item in whole.child("spec").children("limits"):
        if item.text("type") == "Container":
            set_by_item = [item.child(part).size("memory") for part in ("default", "max")]
            default = next((size for size in set_by_item if size is not None), default)
    return LimitRange(own, name, default)


def namespace_labels(
    raw: Mapping[str, Any], source: Source, problems: list[Problem]
) -> tuple[str, dict[str, str]] | None:
    """Read a Namespace: its name and its labels, with the one the API server adds; None if it has no name."""
    begun = object_fields(raw, "Namespace", source, problems, None)
    if begun is None:
        return None
    whole, _, name = begun
    return name, whole.child("metadata").text_map("labels") | {_NAME_LABEL: name}
