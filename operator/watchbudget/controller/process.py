"""The operator's process: admission requests are answered here, all else is done in the worker's thread."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress

from prometheus_client import CollectorRegistry

from watchbudget.controller.admission import Snapshot
from watchbudget.controller.announced import Announced
from watchbudget.controller.certificates import expiry
from watchbudget.controller.freshness import Freshness
from watchbudget.controller.handlers import Handlers
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.controller.server import AdmissionServer
from watchbudget.controller.worker import CannotRunError, Options, Worker

__all__ = ["CannotRunError", "Options", "run"]

_Judge = Callable[[AdmissionRequest, Snapshot | None], AdmissionResponse]

log = logging.getLogger(__name__)


async def run(options: Options, started: Callable[[AdmissionServer], None] = lambda _: None) -> None:
    """Run until SIGTERM or SIGINT, then drain.

    Args:
        options: how to run.
        started: told when everything listens.

    Raises:
        CannotRunError: it cannot do its work here.
        OSError: an address is in use or not allowed.
    """
    await _Process(options, started).run()


class _Process:
    def __init__(self, options: Options, started: Callable[[AdmissionServer], None]) -> None:
        self._options = options
        self._started = started
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._certified = asyncio.Event()
        registry = CollectorRegistry()
        self._metrics = OperatorMetrics(registry)
        self._worker = Worker(
            options,
            self._metrics,
            load=self._load_soon,
            ended=self._end_soon,
            published=self._published_soon,
        )
        worker = self._worker
        self._fresh = Freshness(worker.store, lambda: worker.judged, worker.expect, worker.hurry)
        announced = Announced(worker.store)
        handlers = Handlers(self._snapshot, self._fresh, announced, worker.somebody_leads)
        self._server = AdmissionServer(
            handlers.by_path(),
            self._worker.why_not_ready,
            address=(options.listen, options.port),
            probe_address=(options.listen, options.probe_port),
            registry=registry,
        )

    async def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._end.set)
        await self._server.start_probes()
        self._worker.start()
        serving = asyncio.create_task(self._serve())
        try:
            await self._end.wait()
            if self._worker.failed is None:
                log.info("Ending: answering for %.0f more seconds", self._options.drain)
                # Others take over the writing at once, while API servers still learn that we go.
                stopping = asyncio.create_task(asyncio.to_thread(self._worker.stop))
                await self._server.drain(self._options.drain)
                await stopping
        finally:
            serving.cancel()
            await self._server.close()
        if serving.done() and not serving.cancelled() and serving.exception() is not None:
            raise serving.exception()  # type: ignore[misc]  # it is there
        if self._worker.failed is not None:
            raise self._worker.failed

    async def _serve(self) -> None:
        """Listen as soon as there is a certificate to listen with."""
        try:
            await self._certified.wait()
            await self._server.start()
        except OSError:
            self._end.set()
            raise
        log.info("Answering on port %d, probes on port %d", self._server.port, self._server.probe_port)
        self._started(self._server)

    def _published_soon(self) -> None:
        self._loop.call_soon_threadsafe(self._fresh.published)

    def _end_soon(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)

    def _load_soon(self, certificate: bytes, key: bytes) -> None:
        self._loop.call_soon_threadsafe(self._load, certificate, key)

    def _load(self, certificate: bytes, key: bytes) -> None:
        try:
            self._server.load_certificate(certificate, key)
        except (ssl.SSLError, OSError) as error:
            log.error("A certificate cannot be used, the one before stays: %s", error)  # noqa: TRY400
            return
        with suppress(ValueError):  # OpenSSL reads what it cannot; it is served all the same
            self._metrics.certificate_expiry.set(expiry(certificate).timestamp())
        self._certified.set()

    def _snapshot(self) -> Snapshot | None:
        judged = self._worker.judged
        return None if judged is None else judged.snapshot
