"""Kubernetes Events as values: what is said, and the object that says it. Pure but for the name's clock.

They are made as events.k8s.io/v1, which validates what it takes, and where `kubectl describe` looks for
them: in the namespace of the object; for an object without one in `default`, as client-go does
(k8s.io/client-go/tools/events/event_recorder.go; the API server takes no other namespace but kube-system:
`legacyValidateEvent` in kubernetes/pkg/apis/core/validation/events.go).
"""

from __future__ import annotations

import time
from typing import Any, Literal

from msgspec import Struct

from watchbudget.api.budget import GROUP

__all__ = ["Event", "EventType", "ObjectRef", "body_of", "event_of"]

REPORTER = f"{GROUP}/operator"

LONGEST_NOTE = 1024
"""Bytes, of UTF-8. This and what follows: kubernetes/pkg/apis/core/validation/events.go."""
LONGEST_WORD = 128
LONGEST_NAME = 253

EventType = Literal["Normal", "Warning"]


class ObjectRef(Struct, frozen=True):
    """The object that an event is about. `kubectl describe` finds events by uid."""

    api_version: str
    kind: str
    name: str
    uid: str
    namespace: str = ""


class Event(Struct, frozen=True):
    """What is said; two that are equal are one event that happened twice."""

    regarding: ObjectRef
    type: EventType
    reason: str
    note: str
    action: str


def event_of(
    regarding: ObjectRef,
    type: EventType,  # noqa: A002 - its name in the API
    reason: str,
    note: str,
    action: str,
) -> Event:
    """An event, its texts cut to what the API server takes."""
    return Event(regarding, type, reason[:LONGEST_WORD], _cut(note), action[:LONGEST_WORD])


def body_of(event: Event, instance: str, at: str) -> dict[str, Any]:
    """The object that is created.

    Args:
        event: what it says.
        instance: which replica says it.
        at: when, as `metav1.MicroTime`.
    """
    ref = event.regarding
    suffix = f".{time.time_ns():x}"
    name = ref.name[: LONGEST_NAME - len(suffix)].rstrip(".-") + suffix
    regarding = {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name}
    regarding |= {"uid": ref.uid} if ref.uid else {}
    regarding |= {"namespace": ref.namespace} if ref.namespace else {}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": ref.namespace or "default"},
        "eventTime": at,
        "reportingController": REPORTER,
        "reportingInstance": instance[:LONGEST_WORD] or "unknown",
        "regarding": regarding,
        "type": event.type,
        "reason": event.reason,
        "note": event.note,
        "action": event.action,
    }


def _cut(note: str) -> str:
    encoded = note.encode(errors="replace")
    if len(encoded) <= LONGEST_NOTE:
        return encoded.decode()
    return encoded[: LONGEST_NOTE - 3].decode(errors="ignore") + "…"
