"""Our own list and watch: what matches a path is kept as small values, and stays up to date.

Not kopf's: its label filters are applied after every object has come over the wire. Objects are turned into
values at once, page by page and event by event, and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from watchbudget.controller.listing import WatchTransport, list_pages
from watchbudget.controller.wire import WireError

__all__ = ["Reflector"]

SILENCE = 90.0
"""Seconds. The API server sends a bookmark every minute where nothing else happens (`bookmarkFrequency` in
k8s.io/apiserver/pkg/storage/cacher/cacher.go). A connection that is silent for longer may be dead without
anyone having said so; to reconnect costs nothing where it was not."""

WATCH_SECONDS = (290, 580)
"""The server ends each watch after a random time in between, as client-go asks it to (reflector.go): else all
watches would stay with one API server after a restart of the others."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds between two attempts, client-go's bounds a little widened downwards: they double with every
failure, half of each is random, and they begin anew with a watch that lasted."""

LASTED = 5.0
"""Seconds after which a watch counts as one that works."""

log = logging.getLogger(__name__)

_T = TypeVar("_T")
Key = tuple[str, str]


class _MalformedError(Exception):
    """What came is nothing that the API server sends."""


class _OutdatedError(Exception):
    """The server does not remember the version that the watch was to go on from."""


class Reflector(Generic[_T]):
    """What matches a path, as values that `parse` makes, by namespace and name.

    `run` keeps them up to date until it is cancelled. During a list the values from before stay in
    place; afterwards those that are no longer there are gone.

    Attributes:
        items: the values. The same dict all the time; not to be changed by others.
        lists: how many lists were read to their end. Zero: `items` says nothing yet.
        broken_since: when it began that nothing works, by the clock; None while something does.
    """

    def __init__(
        self,
        transport: WatchTransport,
        path: str,
        parse: Callable[[Mapping[str, Any], _T | None], _T | None],
        *,
        query: Mapping[str, str] | None = None,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            transport: to the API server.
            path: of the resource.
            parse: gets an object and the value that is kept for it, and returns the one to keep; None
                for none. Must take whatever fields an object may have.
            query: `labelSelector` and the like.
            changed: called after every list, and every event but bookmarks.
            clock: seconds that only ever grow.
        """
        self.items: dict[Key, _T] = {}
        self.lists = 0
        self.broken_since: float | None = None
        self._transport = transport
        self._path = path
        self._parse = parse
        self._query = dict(query or {})
        self._changed = changed
        self._clock = clock
        self._orders: dict[Key, int] = {}
        self._version = ""
        self._stale = False
        self._attempt: asyncio.Task[None] | None = None
        self._listed = asyncio.Condition()
        self._problem = ""

    async def run(self) -> None:
        """List, watch, and begin again, until cancelled. Failures are logged, each once in a row."""
        failures = 0
        while True:
            if self._stale:
                self._version, self._stale = "", False
            watching, began = bool(self._version), self._clock()
            self._attempt = asyncio.create_task(self._list_or_watch())
            try:
                await asyncio.wait([self._attempt])
            finally:
                self._attempt.cancel()
                await asyncio.wait([self._attempt])
            if self._attempt.cancelled():  # by `refresh`: at once
                continue
            failed = self._note(self._attempt.exception())
            if watching and self._clock() - began > LASTED:
                failures = 0
            elif watching:  # however politely it ended
                failed = True
            if failed:
                failures += 1
                await asyncio.sleep(_pause(failures))

    async def refresh(self) -> None:
        """List anew, and return when that is done: `items` then is at least as new as this call.

        It waits as long as it takes; cancelling it is harmless. `run` must be running.
        """
        self._stale = True
        if self._attempt is not None:
            self._attempt.cancel()
        before = self.lists
        async with self._listed:
            await self._listed.wait_for(lambda: self.lists > before)

    def put(self, raw: Mapping[str, Any]) -> None:
        """Take in the answer to a write. What the watch has seen go does not come back by it.

        Nor does it undo what the watch has brought meanwhile: an answer may come after later events.
        """
        try:
            key = _key(raw)
        except _MalformedError as error:
            log.warning("An answer of %s: %s", self._path, error)
            return
        if key in self.items:
            self._keep(key, raw)

    async def _list_or_watch(self) -> None:
        """A list where one is needed, else one watch.

        A watch that fails before it brought anything is followed by a list, whatever the reason: it may
        be that the version is too old.
        """
        if not self._version:
            await self._list()
            return
        version, self._version = self._version, ""
        await self._watch(version)

    async def _list(self) -> None:
        found: dict[Key, _T] = {}
        orders: dict[Key, int] = {}
        version = ""
        async for page in list_pages(self._transport, self._path, self._query):
            version = _version(page)
            items = page.get("items")
            if not isinstance(items, list | None):
                raise _MalformedError("a list without items")
            for raw in items or ():
                key = _key(raw)
                value = self._parse(raw, self.items.get(key))
                if value is not None:
                    found[key] = value
                    orders[key] = _order(raw)
        self.items.clear()
        self.items.update(found)
        self._orders = orders
        self._version = version
        self.lists += 1
        self.broken_since = None
        self._changed()
        async with self._listed:
            self._listed.notify_all()

    async def _watch(self, version: str) -> None:
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 - no secret
        query = {
            **self._query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        events = self._transport.watch(f"{self._path}?{urlencode(query)}", timeout=SILENCE + 10)
        try:
            while True:
                try:
                    async with asyncio.timeout(SILENCE):
                        event = await anext(events)
                except StopAsyncIteration:
                    # By the server in its time, perhaps without one event: then the version still holds.
                    self._version = self._version or version
                    return
                except TimeoutError:
                    self._version = self._version or version
                    raise WireError(f"nothing came for {SILENCE:.0f} s: connecting anew") from None
                self._version = self._take(event)
                self.broken_since = None
        except (_OutdatedError, _MalformedError):
            self._version = ""
            raise
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await close()

    def _take(self, event: object) -> str:
        """Apply an event; return the version that it brings."""
        kind = event.get("type") if isinstance(event, Mapping) else None
        raw = event.get("object") if isinstance(event, Mapping) else None
        if not isinstance(raw, Mapping):
            raise _MalformedError(f"an event without an object: {str(event)[:200]}")
        if kind == "ERROR":
            if raw.get("code") == 410:
                raise _OutdatedError
            raise WireError(f"the watch ended: {str(raw.get('message'))[:200]}")
        version = _version(raw)
        if kind == "BOOKMARK":
            return version
        if kind not in {"ADDED", "MODIFIED", "DELETED"}:
            raise _MalformedError(f"an event of type {str(kind)[:50]!r}")
        key = _key(raw)
        if kind == "DELETED":
            self.items.pop(key, None)
            self._orders.pop(key, None)
        else:
            self._keep(key, raw)
        self._changed()
        return version

    def _keep(self, key: Key, raw: Mapping[str, Any]) -> None:
        """Take a state of an object, unless a newer one is known: answers and events overtake each other."""
        order = _order(raw)
        if key in self.items and order < self._orders.get(key, 0):
            return
        value = self._parse(raw, self.items.get(key))
        if value is None:
            self.items.pop(key, None)
            self._orders.pop(key, None)
        else:
            self.items[key] = value
            self._orders[key] = order

    def _note(self, error: BaseException | None) -> bool:
        """Log what ended an attempt, once in a row; return whether it was a failure."""
        if error is None:
            self._problem, self.broken_since = "", None
            return False
        if self.broken_since is None:
            self.broken_since = self._clock()
        if isinstance(error, _OutdatedError):
            log.info("%s: the watch is too far behind; listing anew", self._path)
            return False
        if not isinstance(error, WireError | _MalformedError):  # ours; a list anew is all that can help
            log.error("The watch of %s failed", self._path, exc_info=error)
        elif str(error) != self._problem:
            log.warning("The watch of %s: %s", self._path, error)
        self._problem = str(error)
        return True


def _key(raw: object) -> Key:
    metadata = raw.get("metadata") if isinstance(raw, Mapping) else None
    if not isinstance(metadata, Mapping):
        raise _MalformedError("an object without metadata")
    namespace, name = metadata.get("namespace", ""), metadata.get("name")
    if not isinstance(namespace, str) or not isinstance(name, str):
        raise _MalformedError("an object without a name")
    return namespace, name


def _version(raw: Mapping[str, Any]) -> str:
    metadata = raw.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    if not isinstance(version, str) or not version:
        raise _MalformedError("an object without a resourceVersion")
    return version


def _order(raw: Mapping[str, Any]) -> int:
    """An object's resource version as a number; 0, which overtakes nothing, if it is none.

    Versions of one resource compare as whole numbers: they are etcd's, and since Kubernetes 1.35 clients may
    rely on it (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
    """
    metadata = raw.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    return int(version) if isinstance(version, str) and version.isdecimal() else 0


def _pause(failures: int) -> float:
    longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(failures, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
