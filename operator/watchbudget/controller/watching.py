"""kopf as a source of events and nothing else: it tells the store what the API server says.

Only `on.event` handlers that return None: every other kind writes annotations or finalizers to objects that
are not ours. One error in one watch ends `kopf.operator()`, and while it ends kopf cancels every task of its
event loop: so it has a thread and a loop of its own, and is started again. Its end is not waited for, which
takes five seconds and in kopf 1.45 sometimes for ever: one watch may ask for new credentials while those who
give them are gone already, and a queue may be closed after the tasks that empty it were cancelled.

kopf says nothing of what vanished before one of its lists, nor that it listed. So its requests are looked at.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import kopf

from watchbudget.controller.store import Kind, Store

__all__ = ["Watching"]

ROUNDS = 5
"""Of a second each, in which what is left in a loop is cancelled: as it ends, kopf begins further tasks."""

LONGEST_PAUSE = 30.0
"""Seconds between two starts, at most. Meanwhile judgements rest on what is known and on full lists."""

FINE_AFTER = 60.0
"""Seconds after which a watch that ends counts as the first failure again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Session(kopf.AiohttpSession):
    """A session that is known by its credentials: kopf refuses those that it found invalid before."""

    headers: Mapping[str, str]
    aiohttp_session: aiohttp.ClientSession = field(compare=False)


class Watching:
    """Runs kopf in a thread of its own, again and again, until stopped.

    Attributes:
        restarts: how often it had to be started again.
        lists: how often each kind was listed. What vanished before that was missed.
        listed: kinds that were listed since the last start, which are those that are watched.
    """

    def __init__(
        self,
        store: Store,
        configuration: Any,  # noqa: ANN401 - the client is not typed
        *,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nothing is watched yet.

        Args:
            store: is told every event.
            configuration: `kubernetes.aio`'s, with address and credentials.
            ended: called each time the watches ended by themselves: something may have been missed.
        """
        self.restarts = 0
        self.lists = dict.fromkeys(Kind, 0)
        self.listed: set[Kind] = set()
        self._store = store
        self._configuration = configuration
        self._ended = ended
        self._stop = threading.Event()
        self._again = False
        self._lock = threading.Lock()
        self._halt: Callable[[], object] = _nothing
        self._began = float("-inf")
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    @property
    def age(self) -> float:
        """Seconds since their last start."""
        return self._store.now() - self._began

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def restart(self) -> None:
        """End the watches and begin anew, because they seem to miss something."""
        with self._lock:
            self._again = self._halt is not _nothing  # else they are about to start anyway
            self._halt()

    def stop(self) -> None:
        """End the watches; returns when they have ended, or after a few seconds in any case."""
        self._stop.set()
        with self._lock:
            self._halt()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = self._began = self._store.now()
            self.listed = set()
            reason = "they ended without an error"
            try:
                _run_and_clear(self._watch())
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - any error of any task
                reason = f"{type(error).__name__}: {str(error)[:300]}"
            if self._stop.is_set():
                return
            if self._again:
                continue
            failures = 1 if self._store.now() - began > FINE_AFTER else failures + 1
            pause = min(LONGEST_PAUSE, 2.0 ** min(failures, 10) / 2) * random.uniform(0.5, 1.0)  # noqa: S311
            log.warning("The watches ended (%s); they start again in %.1f s", reason, pause)
            self.restarts += 1
            self._ended()
            self._stop.wait(pause)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()
        loop.set_task_factory(_telling(failed))
        loop.set_exception_handler(_leftover)
        sessions: list[aiohttp.ClientSession] = []
        running = asyncio.create_task(
            kopf.operator(
                registry=self._registry(sessions),
                settings=_settings(),
                clusterwide=True,
                standalone=True,
                # Else kopf looks for the user's name, and the one of the image has none.
                identity=cast("Any", "watchbudget"),
            )
        )
        with self._lock:
            self._again = False
            self._halt = lambda: loop.call_soon_threadsafe(running.cancel)
            if self._stop.is_set():
                running.cancel()
        try:
            await asyncio.wait({running, failed}, return_when=asyncio.FIRST_COMPLETED)
            (failed if failed.done() else running).result()
        finally:
            with self._lock:
                self._halt = _nothing
            for session in sessions:
                await session.close()

    def _registry(self, sessions: list[aiohttp.ClientSession]) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: object) -> kopf.AiohttpSession:
            connection = await self._connection()
            session = self._session(connection)
            sessions[:] = [*(each for each in sessions if not each.closed), session]
            return _Session(
                server=connection.server, headers=connection.as_http_headers(), aiohttp_session=session
            )

        for kind in Kind:
            version, _, plural = kind.value
            group, _, number = version.rpartition("/")
            self._register(registry, kind, (group, number, plural))
        return registry

    def _register(self, registry: kopf.OperatorRegistry, kind: Kind, resource: tuple[str, str, str]) -> None:
        @kopf.on.event(*resource, registry=registry, id=f"tell-{resource[2]}")
        async def tell(event: Mapping[str, Any], **_: object) -> None:
            self._store.tell(kind, event["object"], deleted=event["type"] == "DELETED")

    async def _connection(self) -> kopf.ConnectionInfo:
        configuration = self._configuration
        settings = await configuration.auth_settings()  # refreshes a pod's token from its file
        bearer = str(settings.get("BearerToken", {}).get("value") or "")
        return kopf.ConnectionInfo(
            server=configuration.host.rstrip("/"),
            ca_path=configuration.ssl_ca_cert,
            ca_data=configuration.ca_cert_data,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            token=bearer.partition(" ")[2] or None,
        )

    def _session(self, connection: kopf.ConnectionInfo) -> aiohttp.ClientSession:
        """As kopf makes it, but that the answers are looked at, and the token is the one of the moment."""
        tls = connection.as_ssl_context()
        # As `inventory.connection`: Python 3.13 refuses authorities that Go and kubeadm find good.
        tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._asks)
        trace.on_request_end.append(self._answered)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            headers=connection.as_http_headers(),
            trace_configs=[trace],
        )

    async def _asks(self, _: object, __: object, asked: aiohttp.TraceRequestStartParams) -> None:
        """Put in the token of now: kubelet writes a new one every hour, and a session keeps its headers."""
        asked.headers.update((await self._connection()).as_http_headers())

    async def _answered(self, _: object, __: object, answer: aiohttp.TraceRequestEndParams) -> None:
        """Note a list that the server has begun to send: whoever lists from now on sees no less."""
        url = answer.url
        if answer.response.status != 200 or {"watch", "continue"} & url.query.keys():
            return
        for kind in Kind:
            if url.path.endswith(kind.path):  # a proxy may have its own path before it
                self.lists[kind] += 1
                self.listed.add(kind)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True  # or it lists and watches all CustomResourceDefinitions
    settings.posting.enabled = False
    settings.watching.chunk_size = 250  # its own lists are in one piece by default
    settings.watching.initial_streaming = False  # a stream that breaks early loses objects
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.reconnect_backoff = 1.0
    settings.queueing.idle_timeout = 0.5  # a task and a queue for each object live that long
    settings.networking.error_backoffs = (1, 2, 3)  # then it ends, and `_run` starts it again
    settings.process.ultimate_exiting_timeout = None  # or an end that takes long kills the whole process
    # Where a foreign object carries the common name, kopf would take it off.
    settings.persistence.finalizer = "watchbudget.io/never-set"
    return settings


def _run_and_clear(coroutine: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.run`, which waits until every task has ended."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(coroutine)
    finally:
        for _ in range(ROUNDS):
            if not (left := asyncio.all_tasks(loop)):
                break
            for task in left:
                task.cancel()
            with suppress(asyncio.CancelledError):  # kopf cancels in its end whatever runs in the loop
                loop.run_until_complete(asyncio.wait(left, timeout=1))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _telling(failed: asyncio.Future[None]) -> Callable[..., asyncio.Task[Any]]:
    """A task factory that tells of the first of kopf's own tasks that fails. They all have names."""

    def ended(task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not task.get_name().startswith("Task-") and not failed.done():
            failed.set_exception(error)

    def make(
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any],
        **rest: Any,  # noqa: ANN401
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **rest)
        task.add_done_callback(ended)
        return task

    return make


def _leftover(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Watches that fail after the first one that did: kopf looks at none of them."""
    log.debug("%s: %r", context.get("message"), context.get("exception"))


def _nothing() -> None:
    """Nothing runs that could be ended."""
