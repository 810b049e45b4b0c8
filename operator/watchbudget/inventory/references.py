"""Which ConfigMaps a pod template reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["config_map_references"]

_PUBLISHED = "kube-root-ca.crt"
"""Every namespace has it, and every pod's token volume names it; it holds no configuration."""


def config_map_references(daemon_set: Mapping[str, Any]) -> dict[str, bool]:
    """Names of the ConfigMaps that a DaemonSet's pods read, and whether all references are optional."""
    names: dict[str, bool] = {}
    pod = _get(_get(_get(daemon_set, "spec"), "template"), "spec")
    for volume in _items(pod, "volumes"):
        _add(names, volume, "configMap")
        for source in _items(_get(volume, "projected"), "sources"):
            _add(names, source, "configMap")
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in _items(pod, kind):
            for variable in _items(container, "env"):
                _add(names, _get(variable, "valueFrom"), "configMapKeyRef")
            for source in _items(container, "envFrom"):
                _add(names, source, "configMapRef")
    return names


def _add(names: dict[str, bool], holder: object, field: str) -> None:
    reference = _get(holder, field)
    name = _get(reference, "name")
    if isinstance(name, str) and name != _PUBLISHED:
        names[name] = names.get(name, True) and _get(reference, "optional") is True


def _get(node: object, field: str) -> object:
    return node.get(field) if isinstance(node, dict) else None


def _items(node: object, field: str) -> list[object]:
    found = _get(node, field)
    return found if isinstance(found, list) else []
