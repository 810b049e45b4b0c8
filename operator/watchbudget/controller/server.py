"""The admission server: it outlives the watches, knows its paths, and answers from memory.

It is not kopf's: that one allows everything on a path it does not know, refuses bodies above 1 MiB, and
ends with the first watch that breaks.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry

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

MAX_BODY = 7 * 1024 * 1024
"""Bytes. The API server decodes objects of up to 3 MB, twice what etcd stores, as JSON is longer than what
is stored (`MaxRequestBodyBytes` in k8s.io/apiserver/pkg/server/config.go). An UPDATE carries two of them,
old and new, and less than 1 MB beside: `maxRequestSize` in controller-runtime's
pkg/webhook/admission/http.go."""

BODY_SECONDS = 30.0
"""No webhook's timeout is longer (`timeoutSeconds`): who sends slower has no one waiting for the answer."""

CLOSE_SECONDS = 5.0
"""How long answers under way may take when the listener closes; they take milliseconds."""

NEWCOMER_SECONDS = 0.5
"""How long a connection that was opened just before the listener closed has to send its request."""

LINGER_SECONDS = 1.0
"""How long the rest of a body that is too long is read and dropped, so that its sender sees our refusal
rather than a broken connection."""

LONGEST_DENIAL = 1000
"""Characters of a denial in the log; it has up to five findings, each with its remedy."""

FAILED_OPEN = AdmissionResponse(allowed=True, warnings=("watchbudget: internal error, not judged",))

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
        self._runners: list[web.ServerRunner] = []
        self._draining = False
        self._under_way = 0
        self._idle = asyncio.Event()

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
        self.probe_port = await self._listen(server, self._probe_address, None)

    async def start(self) -> None:
        """Listen for admission requests.

        Raises:
            RuntimeError: no certificate was loaded.
            OSError: the address is in use or not allowed.
        """
        if self._context is None:
            raise RuntimeError("load_certificate comes before start")
        server = web.Server(self._serve, access_log=None, lingering_time=LINGER_SECONDS)
        self.port = await self._listen(server, self._address, self._context)

    async def drain(self, seconds: float) -> None:
        """Say at `/readyz` that this is the end, go on serving for a while, then close.

        Args:
            seconds: how long the news takes to reach every API server (endpoints, kube-proxy). Every
                answer meanwhile closes its connection, as API servers keep them open for long.
        """
        self._draining = True
        await asyncio.sleep(seconds)
        await self._stop_listening()
        await asyncio.sleep(min(seconds, NEWCOMER_SECONDS))
        await self.close()

    async def close(self) -> None:
        """Take no more connections, finish the answers under way, close the rest."""
        self._draining = True
        await self._stop_listening()
        # aiohttp's own end of a connection drops a body that is still arriving
        if self._under_way:
            self._idle.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), CLOSE_SECONDS)
        for runner in reversed(self._runners):  # admission first: probes tell until the end
            await runner.cleanup()
        self._runners.clear()

    async def _stop_listening(self) -> None:
        for runner in self._runners:
            for site in list(runner.sites):
                await site.stop()

    def _why_not_ready(self) -> str | None:
        if self._draining:
            return "shutting down"
        if len(self._runners) < 2:
            return "the admission server has not started"
        return self._ready()

    async def _listen(
        self, server: web.Server, address: tuple[str | None, int], tls: ssl.SSLContext | None
    ) -> int:
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        host, port = address
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        self._runners.append(runner)
        return int(runner.addresses[0][1])

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        handler = self._handlers.get(request.path)
        if handler is None:
            log.warning("There is no webhook %s; is there a typo in a manifest?", ascii(request.path[:200]))
            self.metrics.seconds.labels("unknown", "refused").observe(0)
            return _refusal(404, f"there is no webhook {request.path[:200]}")
        if request.method != "POST":
            self.metrics.seconds.labels(request.path, "refused").observe(0)
            return _refusal(405, "only POST is answered here", Allow="POST")
        self._under_way += 1
        try:
            response, verdict = await self._respond(request, handler)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
        if self._draining:
            response.force_close()
        self.metrics.seconds.labels(request.path, verdict).observe(time.perf_counter() - started)
        return response

    async def _respond(self, request: web.BaseRequest, handler: Handler) -> tuple[web.Response, str]:
        try:
            if request.content.is_eof():  # it came with its head, as short ones do
                body = await _read(request)
            else:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read(request)
            review = parse(body)
        except _TooLargeError:
            return _refusal(413, f"the body is longer than {MAX_BODY} bytes"), "refused"
        except TimeoutError:
            return _refusal(408, f"the body did not arrive within {BODY_SECONDS:.0f} s"), "refused"
        except BadReview as error:
            log.warning("An AdmissionReview at %s cannot be read: %s", request.path, error)
            return _refusal(400, str(error)), "refused"
        except (HttpProcessingError, ClientPayloadError, web.RequestPayloadError) as error:
            return _refusal(400, f"the body cannot be read: {error}"), "refused"
        try:
            answer = handler(review)
            if not isinstance(answer, AdmissionResponse):
                answer = await answer
            encoded = encode(review.uid, answer)
        except Exception:  # whatever it is, no fault of ours may keep a node agent from starting
            log.exception("%s of %s was let through unjudged", request.path, _named(review))
            self.metrics.errors.labels(request.path).inc()
            return _json(200, encode(review.uid, FAILED_OPEN)), "error"
        verdict = "denied" if not answer.allowed else "warned" if answer.warnings else "allowed"
        if not answer.allowed:  # nothing else of ours tells of it
            log.info("Denied: %s: %s", _named(review), one_line(answer.message, LONGEST_DENIAL))
        return _json(200, encoded), verdict


class _TooLargeError(Exception):
    pass


async def _read(request: web.BaseRequest) -> bytes:
    if (request.content_length or 0) > MAX_BODY:
        raise _TooLargeError
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise _TooLargeError
    return bytes(body)


def _named(review: AdmissionRequest) -> str:
    return ascii(f"{review.operation} {review.kind.kind} {review.namespace}/{review.name}")


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def _refusal(status: int, message: str, **headers: str) -> web.Response:
    response = _json(status, json.dumps({"message": f"watchbudget: {message}"}).encode())
    response.headers.update(headers)
    return response


def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@contextmanager
def _file(certificate: bytes, key: bytes) -> Iterator[str]:
    """A file with both, because OpenSSL reads files only; in memory where the system can."""
    content = certificate.rstrip() + b"\n" + key
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("certificate"), "wb") as memory:
            memory.write(content)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as disk:  # readable by its owner only
            disk.write(content)
            disk.flush()
            yield disk.name
