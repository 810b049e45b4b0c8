"""DaemonSets whose pods start: what the judgement of them does not hold, read every few seconds.

Their counters, what their owners have said since, and for those that surge which nodes have a running copy.
Nothing is read of a DaemonSet of which no pod starts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from msgspec.structs import replace

from watchbudget.controller.listing import TABLE, WatchTransport, list_pages
from watchbudget.controller.looked import Looked, read_looked
from watchbudget.controller.pods import Pods
from watchbudget.controller.roll_reading import read_roll
from watchbudget.controller.trouble import Trouble
from watchbudget.controller.wire import WireError, explain
from watchbudget.rollout.model import Key
from watchbudget.rollout.roll import Roll, is_in_waves, is_outdated

__all__ = ["DaemonSets"]

LOOK_SECONDS = 3.0
"""From one look at a DaemonSet to the next."""

IDLE_SECONDS = 30.0
"""The same while none of its pods starts and none is to be replaced."""

RETRY_SECONDS = 10.0
"""After one that failed."""

SHORTEST_SECONDS, SHARE = 1.0, 0.1
"""From one look at all pods of a DaemonSet to the next: short for small ones, but no more than a tenth of
the time is spent on it, here and in the API server."""

AT_ONCE = 5
"""Looks under way at once: few, so that the reading of many DaemonSets is spread out."""

TIMEOUT = 10.0

log = logging.getLogger(__name__)


class DaemonSets:
    """Looks at those that are wanted, again and again.

    Attributes:
        looked: by key; none for those not wanted, not found or not looked at yet.
        rolls: of those that are rolled in waves and have old pods, those pods too.
    """

    def __init__(
        self,
        transport: WatchTransport,
        pods: Pods,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            transport: to the API server.
            pods: know the nodes of those that are on none yet.
            changed: called when a look showed something else than the one before.
            clock: seconds that only ever grow.
        """
        self._pods = pods
        self.looked: dict[Key, Looked] = {}
        self.rolls: dict[Key, Roll] = {}
        self._transport, self._changed, self._clock = transport, changed, clock
        self._due: dict[Key, float] = {}
        self._busy: frozenset[Key] = frozenset()
        self._wake = asyncio.Event()
        self._trouble = Trouble(log)

    def want(self, busy: Collection[Key], idle: Collection[Key] = ()) -> None:
        """Say which DaemonSets matter from now on; all others are forgotten.

        Args:
            busy: pods of these start.
            idle: these are to be rolled when they have a new template.
        """
        now = self._clock()
        self._busy = frozenset(busy)
        wanted = self._busy.union(idle)
        for key in [key for key in self._due if key not in wanted]:
            del self._due[key]
            self._forget(key)
        for key in wanted:
            if key not in self._due:
                self._due[key] = now
                self._wake.set()
            elif key in self._busy:
                self._due[key] = min(self._due[key], now + LOOK_SECONDS)

    def soon(self) -> None:
        """Something about DaemonSets has changed: no look is further away than the shortest pause."""
        latest = self._clock() + LOOK_SECONDS
        self._due = {key: min(due, latest) for key, due in self._due.items()}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._wake.clear()
            await self.look()
            try:
                async with asyncio.timeout(1.0):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def again(self, key: Key) -> None:
        """Something about this one has changed: look at it next."""
        if key in self._due:
            self._due[key] = self._clock()
            self._wake.set()

    async def look(self) -> None:
        """Look at all that are due."""
        now = self._clock()
        due = sorted((when, key) for key, when in self._due.items() if when <= now)
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(key: Key) -> None:
            async with at_once:
                pause = RETRY_SECONDS
                try:
                    pause = await self._look_at(key)
                    self._trouble.over()
                except WireError as error:
                    self._trouble.tell(f"{'/'.join(key)} could not be looked at", error)
                except Exception:  # one odd object must not keep the others from being looked at
                    log.exception("%s/%s could not be looked at", *key)
                if key in self._due:
                    self._due[key] = self._clock() + pause

        await asyncio.gather(*(one(key) for _, key in due))

    async def _look_at(self, key: Key) -> float:
        """Look at one; return the seconds until the next look."""
        namespace, name = key
        path = f"/apis/apps/v1/namespaces/{quote(namespace)}/daemonsets"
        query = urlencode({"fieldSelector": f"metadata.name={name}"})
        reply = await self._transport.request("GET", f"{path}?{query}", timeout=TIMEOUT)
        if reply.status != 200:
            raise WireError(explain("GET", path, reply))
        found = next(iter(_mappings(reply.body, "items")), None)
        if found is None:  # its pods go, or are let go after `maxHold`
            self._forget(key)
            return IDLE_SECONDS
        looked = read_looked(found)
        if looked.surges and looked.selector and key in self._busy:
            looked = replace(looked, copies=await self._copies(namespace, looked.selector))
        if key in self._due and self.looked.get(key) != looked:
            self.looked[key] = looked
            self._changed()
        if is_in_waves(found) and is_outdated(found):
            return await self._look_at_pods(key, found, looked.selector)
        if self.rolls.pop(key, None) is not None:
            self._changed()
        return LOOK_SECONDS if key in self._busy or looked.behind else IDLE_SECONDS

    async def _look_at_pods(self, key: Key, raw: Mapping[str, Any], selector: str) -> float:
        """All pods of one that is rolled in waves; return the seconds until the next look."""
        began = self._clock()
        nodes = {pod.start.uid: pod.start.node for pod in self._pods.all() if pod.start.daemon_set == key}
        roll = await read_roll(self._transport, raw, selector, nodes)
        if roll is not None and key in self._due:
            self.rolls[key] = roll
            self._changed()
        return min(IDLE_SECONDS, max(SHORTEST_SECONDS, (self._clock() - began) / SHARE))

    def _forget(self, key: Key) -> None:
        self.looked.pop(key, None)
        self.rolls.pop(key, None)

    async def _copies(self, namespace: str, selector: str) -> frozenset[str] | None:
        """Nodes with a ready pod, from the table that the server makes for kubectl."""
        path = f"/api/v1/namespaces/{quote(namespace)}/pods"
        query = {"labelSelector": selector, "includeObject": "None"}
        nodes: set[str] = set()
        async for page in list_pages(self._transport, path, query, accept=TABLE):
            names = [column.get("name") for column in _mappings(page, "columnDefinitions")]
            if not {"Ready", "Status", "Node"} <= set(names):
                return None
            ready, status, node = (names.index(name) for name in ("Ready", "Status", "Node"))
            for row in _mappings(page, "rows"):
                cells = row.get("cells")
                if isinstance(cells, list) and len(cells) == len(names) and cells[status] == "Running":
                    running, _, of = str(cells[ready]).partition("/")
                    if running == of:
                        nodes.add(str(cells[node]))
        return frozenset(nodes)


def _mapping(raw: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = raw.get(field)
    return value if isinstance(value, Mapping) else {}


def _mappings(raw: Mapping[str, Any], field: str) -> Iterator[Mapping[str, Any]]:
    value = raw.get(field)
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else iter(())
