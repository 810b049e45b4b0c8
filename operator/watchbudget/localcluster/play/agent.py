"""One node agent as the API server sees it: a connection of its own, a list, then a watch.

What client-go does is done here, and where it is written there: a request answered with 429 or 5xx and a
Retry-After is sent again after that time, ten times at most (rest/with_retry.go); then, and after any other
failure, the reflector waits 0.8 s, doubling to 30 s, each drawn out by up to as much again, and begins anew
(tools/cache/reflector.go). Lists ask for protobuf and gzip, as client-go does for built-in types, or for
JSON, as libraries of other languages do; the API server does not compress watches, streaming lists among
them.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from watchbudget.localcluster.play.wire import Reply, Wire

__all__ = ["RESOURCES", "Agent", "Backoff", "Manner", "Tally"]

RESOURCES = {
    "namespaces": "/api/v1/namespaces",
    "networkpolicies": "/apis/networking.k8s.io/v1/networkpolicies",
}

_RETRIES = 10
_LIST = (
    "limit=500&resourceVersion=0"  # the server ignores the limit with this version, and client-go sends it
)
_STREAM = "allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&watch=true"
_STREAM_LISTED = b"k8s.io/initial-events-end"
_WATCH = "allowWatchBookmarks=true&watch=true"


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How the agents of one run behave.

    Attributes:
        url: The API server; filled in once it is known.
        resources: Which of `RESOURCES` each lists and watches, each over a connection of its own; one that
            is named twice, twice.
        streaming: Streaming lists instead of plain ones.
        json: JSON instead of protobuf.
        gzip: Whether plain lists ask for compression.
        ready_first: Ready before they list, as an agent without a readiness probe is.
        delay: Seconds between start and first request, drawn evenly from this range.
    """

    url: str = ""
    resources: tuple[str, ...] = ("namespaces",)
    streaming: bool = False
    json: bool = False
    gzip: bool = True
    ready_first: bool = False
    delay: tuple[float, float] = (0.0, 0.0)

    def headers(self, token: str) -> dict[str, str]:
        """Return what each request carries."""
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json" if self.json else "application/vnd.kubernetes.protobuf",
            "User-Agent": "played-agent/1",
        }
        return headers | {"Accept-Encoding": "gzip"} if self.gzip else headers


@dataclass
class Tally:
    """What happened to the lists of all agents, each with the monotonic time at which it did."""

    in_flight: list[tuple[float, int]] = field(default_factory=list)
    served: list[tuple[float, float, int]] = field(default_factory=list)
    """When, after how many seconds since it was sent (the attempt that was served), bytes on the wire."""
    refused: list[float] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)


class Backoff:
    """The waits of a client-go reflector, in seconds."""

    def __init__(self, first: float = 0.8, most: float = 30.0) -> None:
        self._next, self._most = first, most

    def step(self) -> float:
        """Return the next wait."""
        wait = min(self._next, self._most)
        self._next = min(self._next * 2, self._most)
        return wait * (1 + random.random())  # noqa: S311 - jitter


class Agent:
    """The process of one pod, without the process."""

    def __init__(
        self, manner: Manner, tls: ssl.SSLContext, token: str, tally: Tally, version: Callable[[], str]
    ) -> None:
        """Prepare; `run` does it.

        Args:
            manner: How it behaves.
            tls: Trusts the API server.
            token: Of its DaemonSet's service account.
            tally: Where its lists are counted.
            version: A current resourceVersion. Bodies are not decoded, so watches start from this instead of
                the list's own; to the server it is the same work.
        """
        self._manner, self._tls, self._tally, self._version = manner, tls, tally, version
        self._streaming = manner.streaming
        self._headers = manner.headers(token)

    async def run(self, ready: Callable[[], None], *, warm: bool) -> None:
        """List and watch until cancelled; ``ready`` is called when the pod may become Ready.

        A warm agent has listed long ago: it only watches.
        """
        if not warm:
            await asyncio.sleep(random.uniform(*self._manner.delay))  # noqa: S311 - scatter
        if warm or self._manner.ready_first:
            ready()
        waiting = len(self._manner.resources)

        def listed() -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting and not self._manner.ready_first:
                ready()

        async with asyncio.TaskGroup() as group:
            for resource in self._manner.resources:
                group.create_task(self._reflect(resource, listed, listing=not warm))

    async def crash_loop(self) -> None:
        """List, die, be restarted after the kubelet's back-off (10 s doubling to 5 min), list again."""
        wait = 10.0
        while True:
            async with asyncio.TaskGroup() as group:
                for resource in self._manner.resources:
                    group.create_task(self._list_once(resource))
            await asyncio.sleep(wait)
            wait = min(wait * 2, 300.0)

    async def _list_once(self, resource: str) -> None:
        try:
            wire = await Wire.connect(self._manner.url, self._tls)
        except OSError as error:
            self._tally.failed.append((time.monotonic(), f"connect: {error}"))
            return
        try:
            await self._list(wire, RESOURCES[resource])
        except OSError as error:
            self._tally.failed.append((time.monotonic(), str(error)))
        finally:
            wire.close()

    async def _reflect(self, resource: str, listed: Callable[[], None], *, listing: bool) -> None:
        backoff, path, wire = Backoff(), RESOURCES[resource], None
        try:
            while True:
                try:
                    if wire is None or not wire.open:
                        wire = await Wire.connect(self._manner.url, self._tls)
                    if listing:
                        await self._list(wire, path)
                        listing = False
                        listed()
                        await wire.ended()  # of a plain list at once, of a streaming one when its watch is
                    await self._watch(wire, path)
                    await wire.ended()
                except OSError as error:
                    self._tally.failed.append((time.monotonic(), str(error) or type(error).__name__))
                    if wire is not None:
                        wire.close()
                    await asyncio.sleep(backoff.step())
        finally:
            if wire is not None:
                wire.close()

    async def _list(self, wire: Wire, path: str) -> None:
        query = f"{_STREAM}&{_until()}" if self._streaming else _LIST
        until = _STREAM_LISTED if self._streaming else None
        asked = time.monotonic()
        reply = await self._ask(wire, f"{path}?{query}", until, count=True)
        if reply.status == 200:
            self._tally.served.append((time.monotonic(), time.monotonic() - asked, reply.size))
            return
        if reply.status != 429:
            self._streaming = False  # as client-go: whatever else is wrong, a plain list may still work
        raise ConnectionError(f"list answered {reply.status}: {reply.start[-200:]!r}")

    async def _watch(self, wire: Wire, path: str) -> None:
        query = f"{_WATCH}&resourceVersion={self._version()}&{_until()}"
        reply = await self._ask(wire, f"{path}?{query}", b"", count=False)
        if reply.status != 200:
            raise ConnectionError(f"watch answered {reply.status}")

    async def _ask(self, wire: Wire, path: str, until: bytes | None, *, count: bool) -> Reply:
        for attempt in range(_RETRIES + 1):
            if count:
                self._tally.in_flight.append((time.monotonic(), 1))
            try:
                reply = await wire.ask(path, self._headers, until=until)
            finally:
                if count:
                    self._tally.in_flight.append((time.monotonic(), -1))
            if reply.status == 429 and count:
                self._tally.refused.append(time.monotonic())
            again = reply.headers.get("retry-after", "")
            if (reply.status != 429 and reply.status < 500) or not again.isdigit() or attempt == _RETRIES:
                break
            await asyncio.sleep(int(again))
        return reply


def _until() -> str:
    """A watch's length, as a reflector draws it: 5 to 10 minutes."""
    return f"timeoutSeconds={random.randint(300, 600)}"  # noqa: S311
