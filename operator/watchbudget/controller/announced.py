"""The newest state of a DaemonSet: as its watch told it, or as this replica has just let it in.

The DaemonSet controller creates the first pods milliseconds after the DaemonSet, at times before its watch
has told us of it.
"""

from __future__ import annotations

from typing import Any

from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.controller.store import Key, Store
from watchbudget.inventory.fleet import DaemonSet, Source
from watchbudget.inventory.parse import daemon_set

__all__ = ["Announced"]

MOST = 256
"""DaemonSets remembered; the oldest is forgotten first, and is in the store by then."""

_SOURCE = Source("admission")


class Announced:
    """Remembers what was let in until the store has it."""

    def __init__(self, store: Store) -> None:
        """Remember nothing yet."""
        self._store = store
        self._raw: dict[Key, tuple[Any, float]] = {}
        self._read: dict[Key, DaemonSet | None] = {}

    def note(self, request: AdmissionRequest, response: AdmissionResponse) -> None:
        """Remember a DaemonSet that is about to be stored. Another webhook may still refuse it."""
        if not response.allowed or request.dry_run or request.object is None or not request.name:
            return
        key = request.namespace, request.name
        self._read.pop(key, None)
        self._raw.pop(key, None)
        while len(self._raw) >= MOST:
            oldest = next(iter(self._raw))
            del self._raw[oldest]
            self._read.pop(oldest, None)
        self._raw[key] = request.object, self._store.now()

    def newest(self, key: Key) -> DaemonSet | None:
        """What is known of the DaemonSet; the same object for as long as nothing changes."""
        known = self._store.stored(key)
        noted = self._raw.get(key)
        if noted is None or (known is not None and known.seen >= noted[1]):
            return known.value if known is not None and isinstance(known.value, DaemonSet) else None
        if key not in self._read:
            self._read[key] = daemon_set(noted[0], _SOURCE, [], namespace=key[0])
        return self._read[key]
