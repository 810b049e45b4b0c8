"""Which ConfigMaps a pod template reads. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["config_map_references"]

_HOLDERS = frozenset({"configMap", "configMapKeyRef", "configMapRef"})
"""The fields that name a ConfigMap: volumes (projected ones too), `env` and `envFrom`."""

_PUBLISHED = "kube-root-ca.crt"
"""Every namespace has it, and every pod's token volume names it; it holds no configuration."""


def config_map_references(daemon_set: Mapping[str, Any]) -> dict[str, bool]:
    """Names of the ConfigMaps that a DaemonSet's pods read, and whether all references are optional."""
    names: dict[str, bool] = {}
    for name, optional in _references(daemon_set.get("spec")):
        if name != _PUBLISHED:
            names[name] = names.get(name, True) and optional
    return names


def _references(node: object) -> Iterator[tuple[str, bool]]:
    if isinstance(node, list):
        for value in node:
            yield from _references(value)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _HOLDERS and isinstance(value, dict) and isinstance(value.get("name"), str):
                yield value["name"], value.get("optional") is True
            else:
                yield from _references(value)
