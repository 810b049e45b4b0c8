"""Which ConfigMaps a pod template reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["config_map_references"]

_HOLDERS = frozenset({"configMap", "configMapKeyRef", "configMapRef"})
"""The fields that name a ConfigMap: volumes (projected ones too), `env` and `envFrom`."""

_PUBLISHED = "kube-root-ca.crt"
"""Every namespace has it, and every pod's token volume names it; it holds no configuration."""


def config_map_references(daemon_set: Mapping[str, Any]) -> dict[str, bool]:
    """Names of the ConfigMaps that a DaemonSet's pods read, and whether all references are optional."""
    names: dict[str, bool] = {}
    rest: list[Any] = [daemon_set.get("spec")]
    while rest:
        node = rest.pop()
        if isinstance(node, list):
            rest += node
        elif isinstance(node, dict):
            for key, value in node.items():
                if (
                    key not in _HOLDERS
                    or not isinstance(value, dict)
                    or not isinstance(value.get("name"), str)
                ):
                    if isinstance(value, (dict, list)):
                        rest.append(value)
                elif value["name"] != _PUBLISHED:
                    names[value["name"]] = names.get(value["name"], True) and value.get("optional") is True
    return names
