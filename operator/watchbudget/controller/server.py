"""The admission server: it outlives the watches, knows its paths, and answers from memory.

It is not kopf's: that one allows everything on a path it does not know, refuses bodies above 1 MiB, and
ends with the first watch that breaks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry

from watchbudget.controller.connection import Connection, Reply, Request, refusal
from watchbudget.controller.probes import AdmissionMetrics, Reason, probe_handler
from watchbudget.controller.review import (
    AdmissionRequest,
    AdmissionResponse,
    BadReview,
    encode,
    one_line,
    parse,
)

__all__ = ["AdmissionServer", "Handler"]

Handler = Callable[[AdmissionRequest], AdmissionResponse | Awaitable[AdmissionResponse]]
"""Answers one request from memory. It runs in the event loop: while it computes, everyone waits."""

CLOSE_SECONDS = 5.0
"""How long answers under way may take when the listener closes; they take milliseconds."""

FAREWELL_SECONDS = 1.0
"""How long the other side may take to agree to the end of its connection."""

LOOK_SECONDS = 0.01
"""Between two looks whether all of them are given."""

NEWCOMER_SECONDS = 0.5
"""How long a connection that was opened just before the listener closed has to send its request."""

LONGEST_DENIAL = 1000
"""Characters of a denial in the log; it has up to five findings, each with its remedy."""

FAILED_OPEN = AdmissionResponse(allowed=True, warnings=("watchbudget: internal error, not judged",))

_MFD_NOEXEC_SEAL = 0x8
"""`linux/memfd.h`; Python has no name for it."""

log = logging.getLogger(__name__)


class AdmissionServer:
    """HTTPS for the API server, and plain HTTP for probes and metrics.

    Attributes:
        port: where it listens for admission requests, once started.
        probe_port: where it listens for probes, once started.
        metrics: what it counts; the registry takes further metrics.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        ready: Reason = lambda: None,
        *,
        address: tuple[str | None, int] = (None, 9443),
        probe_address: tuple[str | None, int] = (None, 8080),
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Prepare; nothing listens yet.

        Args:
            handlers: by path, such as `/validate-daemonsets`. Any other path is a 404, which no API server
                takes for an answer.
            ready: why no admission request should be sent here, None if they may. Asked for each probe.
            address: host (None: every interface, both families) and port (0: a free one) for admission.
            probe_address: the same for probes and metrics.
            registry: for the metrics; by default one of its own.
        """
        self.port, self.probe_port = address[1], probe_address[1]
        self.metrics = AdmissionMetrics(registry or CollectorRegistry())
        self._handlers = dict(handlers)
        self._ready = ready
        self._address, self._probe_address = address, probe_address
        self._context: ssl.SSLContext | None = None
        self._probes: web.ServerRunner | None = None
        self._listener: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._draining = False

    def load_certificate(self, certificate: bytes, key: bytes) -> None:
        """Serve with this certificate from now on: before `start`, or at any time after it.

        Connections that are open go on; new ones get the new certificate. Nothing is closed.

        Args:
            certificate: the chain in PEM, the serving certificate first.
            key: its private key in PEM.

        Raises:
            ssl.SSLError: they cannot be used or do not belong together; the one before stays in use.
        """
        with _file(certificate, key) as path:
            # Tried on another context first: OpenSSL leaves one without a key if the pair does not match.
            trial = _tls_context()
            trial.load_cert_chain(path)
            if self._context is None:
                self._context = trial
            else:
                self._context.load_cert_chain(path)

    async def start_probes(self) -> None:
        """Listen for probes; `/readyz` says no until `start` is done.

        Raises:
            OSError: the address is in use or not allowed.
        """
        server = web.Server(probe_handler(self.metrics.registry, self._why_not_ready), access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        await web.TCPSite(runner, *self._probe_address).start()
        self._probes = runner
        self.probe_port = int(runner.addresses[0][1])

    async def start(self) -> None:
        """Listen for admission requests.

        Raises:
            RuntimeError: no certificate was loaded.
            OSError: the address is in use or not allowed.
        """
        if self._context is None:
            raise RuntimeError("load_certificate comes before start")
        host, port = self._address
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self._connect, host, port, ssl=self._context, ssl_shutdown_timeout=FAREWELL_SECONDS
        )
        self.port = int(self._listener.sockets[0].getsockname()[1])

    async def drain(self, seconds: float) -> None:
        """Say at `/readyz` that this is the end, go on serving for a while, then close.

        Args:
            seconds: how long the news takes to reach every API server (endpoints, kube-proxy). Every
                answer meanwhile closes its connection, as API servers keep them open for long.
        """
        self._draining = True
        await asyncio.sleep(seconds)
        self._stop_listening()
        await asyncio.sleep(min(seconds, NEWCOMER_SECONDS))
        await self.close()

    async def close(self) -> None:
        """Take no more connections, finish the answers under way, close the rest.

        Probes tell until the end.
        """
        self._draining = True
        self._stop_listening()
        for connection in [*self._connections]:
            connection.end_soon()
        deadline = time.monotonic() + CLOSE_SECONDS
        while self._connections and time.monotonic() < deadline:  # noqa: ASYNC110 - seldom, and it ends
            await asyncio.sleep(LOOK_SECONDS)
        for connection in [*self._connections]:
            connection.abort()
        if self._probes is not None:
            await self._probes.cleanup()
            self._probes = None

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def _why_not_ready(self) -> str | None:
        if self._draining:
            return "shutting down"
        if self._listener is None:
            return "the admission server has not started"
        return self._ready()

    def _connect(self) -> Connection:
        return Connection(
            self._answer,
            self._connections,
            ending=lambda: self._draining,
            refused=lambda path, reply: self._refused(path if path in self._handlers else "unknown", reply),
        )

    def _answer(self, request: Request) -> Reply | Awaitable[Reply]:
        """At once where the handler answers at once."""
        handler = self._handlers.get(request.path)
        if handler is None:
            log.warning("There is no webhook %s; is there a typo in a manifest?", ascii(request.path[:200]))
            return self._refused("unknown", refusal(404, f"there is no webhook {request.path[:200]}"))
        if request.method != "POST":
            return self._refused(request.path, refusal(405, "only POST is answered here", Allow="POST"))
        try:
            review = parse(request.body)
        except BadReview as error:
            log.warning("An AdmissionReview at %s cannot be read: %s", request.path, error)
            return self._refused(request.path, refusal(400, str(error)))
        try:
            answer = handler(review)
            if isinstance(answer, AdmissionResponse):
                return self._reply(request, review, answer)
        except Exception:  # noqa: BLE001 - whatever it is, no fault of ours may keep a node agent from starting
            return self._failed_open(request, review)
        return self._answer_later(request, review, answer)

    async def _answer_later(
        self, request: Request, review: AdmissionRequest, answer: Awaitable[AdmissionResponse]
    ) -> Reply:
        try:
            return self._reply(request, review, await answer)
        except Exception:  # noqa: BLE001 - as above
            return self._failed_open(request, review)

    def _reply(self, request: Request, review: AdmissionRequest, answer: AdmissionResponse) -> Reply:
        return Reply(200, encode(review.uid, answer), sent=lambda: self._note(request, review, answer))

    def _note(self, request: Request, review: AdmissionRequest, answer: AdmissionResponse) -> None:
        seconds = time.perf_counter() - request.began
        verdict = "denied" if not answer.allowed else "warned" if answer.warnings else "allowed"
        self.metrics.seconds.labels(request.path, verdict).observe(seconds)
        if not answer.allowed:  # nothing else of ours tells of it
            log.info("Denied: %s: %s", _named(review), one_line(answer.message, LONGEST_DENIAL))

    def _failed_open(self, request: Request, review: AdmissionRequest) -> Reply:
        """Let it through; called where an exception is being handled."""
        log.exception(  # noqa: LOG004
            "%s of %s was let through unjudged", request.path, _named(review)
        )
        self.metrics.errors.labels(request.path).inc()
        self.metrics.seconds.labels(request.path, "error").observe(time.perf_counter() - request.began)
        return Reply(200, encode(review.uid, FAILED_OPEN))

    def _refused(self, path: str, reply: Reply) -> Reply:
        self.metrics.seconds.labels(path, "refused").observe(0)
        return reply


def _named(review: AdmissionRequest) -> str:
    return ascii(f"{review.operation} {review.kind.kind} {review.namespace}/{review.name}")


def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _memory(name: str) -> int:
    """A file in memory that cannot be run: some nodes allow no other (sysctl vm.memfd_noexec, Linux 6.3)."""
    try:
        return os.memfd_create(name, os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError:  # an older kernel does not know the flag
        return os.memfd_create(name)


@contextmanager
def _file(certificate: bytes, key: bytes) -> Iterator[str]:
    """A file with both, because OpenSSL reads files only; in memory where the system can."""
    content = certificate.rstrip() + b"\n" + key
    if hasattr(os, "memfd_create"):
        with os.fdopen(_memory("certificate"), "wb") as memory:
            memory.write(content)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as disk:  # readable by its owner only
            disk.write(content)
            disk.flush()
            yield disk.name
