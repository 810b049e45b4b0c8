"""The JSON patches (RFC 6902) by which held pods are released or let go. Pure.

Each fails as a whole if the pod is not as it was seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch

from watchbudget.rollout.gate import GATE, LABEL, PERMITTED

__all__ = ["fits", "free_patch", "release_patch"]

_LABEL = f"/metadata/labels/{LABEL.replace('~', '~0').replace('/', '~1')}"


def release_patch(uid: str, gate: int) -> list[dict[str, Any]]:
    """Gives a held pod its permit.

    Args:
        uid: of the pod.
        gate: where in `spec.schedulingGates` ours stands.
    """
    return [*_ungate(uid, gate), {"op": "replace", "path": _LABEL, "value": PERMITTED}]


def free_patch(uid: str, gate: int | None) -> list[dict[str, Any]]:
    """Leaves nothing of ours at a pod.

    Args:
        uid: of the pod.
        gate: where in `spec.schedulingGates` ours stands; None if it is gone.
    """
    ungate = [_same(uid)] if gate is None else _ungate(uid, gate)
    return [*ungate, {"op": "remove", "path": _LABEL}]


def fits(patch: Sequence[Mapping[str, Any]], raw: Mapping[str, Any]) -> bool:
    """Whether a patch can be applied to the pod as it is now."""
    try:
        jsonpatch.apply_patch(raw, [dict(operation) for operation in patch])
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        return False
    return True


def _same(uid: str) -> dict[str, Any]:
    return {"op": "test", "path": "/metadata/uid", "value": uid}


def _ungate(uid: str, gate: int) -> list[dict[str, Any]]:
    where = f"/spec/schedulingGates/{gate}"
    return [
        _same(uid),
        {"op": "test", "path": f"{where}/name", "value": GATE},
        {"op": "remove", "path": where},
    ]
