"""All pods that carry our label, held and permitted: the one thing that every replica watches of pods."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from watchbudget.controller.listing import WatchTransport
from watchbudget.controller.pod_reading import Pod, read_pod
from watchbudget.controller.watch import Reflector
from watchbudget.rollout.gate import HELD, LABEL, PERMITTED
from watchbudget.rollout.model import Phase

__all__ = ["PODS", "Pods", "pod_path"]

PODS = "/api/v1/pods"
SELECTOR = f"{LABEL} in ({HELD},{PERMITTED})"


def pod_path(namespace: str, name: str) -> str:
    """Where a pod is. Both names come from the API server, which lets no others be stored."""
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


class Pods:
    """Those pods, as they are now. Its size follows the starts under way, not the nodes or agents."""

    def __init__(
        self,
        transport: WatchTransport,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            transport: to the API server.
            changed: called whenever something may have changed.
            clock: what all times of a `Start` are measured by.
        """
        self._clock = clock
        self._watch = Reflector(
            transport, PODS, self._read, query={"labelSelector": SELECTOR}, changed=changed, clock=clock
        )

    @property
    def known(self) -> bool:
        """Whether they were listed at all yet."""
        return self._watch.lists > 0

    @property
    def blind_since(self) -> float | None:
        """Since when nothing is heard of them any more, by the clock; None while something is."""
        return self._watch.broken_since

    async def run(self) -> None:
        """Stay up to date until cancelled."""
        await self._watch.run()

    async def refresh(self) -> None:
        """Return when everything that was written before this call is known here.

        Who takes over needs it: permits that the leader before gave out at last may not have come by the
        watch yet.
        """
        await self._watch.refresh()

    def all(self) -> list[Pod]:
        """Every one of them."""
        return list(self._watch.items.values())

    def find(self, pod: Pod) -> Pod | None:
        """The same pod as it is now; None if it is gone."""
        now = self._watch.items.get((pod.start.namespace, pod.start.name))
        return now if now is not None and now.start.uid == pod.start.uid else None

    def put(self, raw: Mapping[str, Any]) -> None:
        """Take in a pod as a write has answered with it: the watch may lag behind our own permits."""
        self._watch.put(raw)

    def mark(self, vacant: Callable[[Pod], bool]) -> None:
        """Say of every held pod whether its node is without a copy."""
        for key, pod in self._watch.items.items():
            if pod.start.phase is Phase.HELD and (is_so := vacant(pod)) is not pod.start.vacant:
                self._watch.items[key] = replace(pod, start=replace(pod.start, vacant=is_so))

    def _read(self, raw: Mapping[str, Any], before: Pod | None) -> Pod | None:
        return read_pod(raw, before, self._clock())
