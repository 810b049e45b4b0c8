"""Whether a change may let a DaemonSet's pods onto nodes that they could not run on before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["may_reach_more_nodes"]

_MOST_TOLERATIONS = 100
"""Beyond, they are not looked for one by one in each other: a hostile object may hold 50,000."""


def may_reach_more_nodes(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the count of nodes in the old object's status may be too low for the new one.

    Without this question a DaemonSet created for no node at all could be let loose by its first
    update, and no limit on sums would see it. Narrower placement keeps the count, as an upper bound.

    Args:
        old: the object as it is stored.
        new: the object as it would be stored. Fields of the wrong type count as a change.
    """
    before, after = _pod(old), _pod(new)
    selector, selects = before.get("nodeSelector") or {}, after.get("nodeSelector") or {}
    if not isinstance(selector, dict) or not isinstance(selects, dict):
        return True
    if any(selects.get(label) != value for label, value in selector.items()):
        return True
    affinity, required = _affinity(before), _affinity(after)
    if affinity and affinity != required:
        return True
    tolerated, tolerates = before.get("tolerations") or [], after.get("tolerations") or []
    if not isinstance(tolerated, list) or not isinstance(tolerates, list):
        return True
    if len(tolerated) > _MOST_TOLERATIONS or len(tolerates) > _MOST_TOLERATIONS:
        return tolerates != tolerated
    return any(toleration not in tolerated for toleration in tolerates)


def _pod(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_mapping(_mapping(raw, "spec"), "template"), "spec")


def _affinity(pod: Mapping[str, Any]) -> object:
    """What nodes must be like; what is merely preferred keeps no pod away."""
    nodes = _mapping(_mapping(pod, "affinity"), "nodeAffinity")
    return nodes.get("requiredDuringSchedulingIgnoredDuringExecution")


def _mapping(raw: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = raw.get(field)
    return value if isinstance(value, dict) else {}
