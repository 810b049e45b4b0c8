"""The plain listener beside the admission server: `/livez`, `/readyz` and `/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder

__all__ = ["AdmissionMetrics", "probe_handler"]

BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: fine where answers from memory lie, up to the webhooks' timeouts."""

Reason = Callable[[], str | None]
"""Gives what is in the way, None if nothing is."""


class AdmissionMetrics:
    """What the admission server counts.

    Attributes:
        registry: where it is registered; others may register theirs there too.
        seconds: time from a request's headers to its answer, by path and verdict.
        errors: handlers that failed, so that objects were let through unjudged.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.seconds = Histogram(
            "watchbudget_admission_seconds",
            "Time to answer an admission request, its body's arrival included.",
            ("path", "verdict"),
            buckets=BUCKETS,
            registry=registry,
        )
        self.errors = Counter(
            "watchbudget_admission_errors",
            "Admission requests let through without a judgement because of an internal error.",
            ("path",),
            registry=registry,
        )


def probe_handler(
    registry: CollectorRegistry, ready: Reason
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """The handler of the plain listener.

    `/livez` asks nothing: it is answered by the event loop that answers admission requests, so an answer
    is the proof. What is cut off from the API server stays alive; a restart would not help it.

    Args:
        registry: what `/metrics` shows.
        ready: why no admission request should be sent here, None if they may.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path not in {"/livez", "/readyz", "/metrics"}:
            return web.Response(status=404, text=f"there is no {request.path}\n")
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, text="GET only\n", headers={"Allow": "GET, HEAD"})
        if request.path == "/metrics":
            encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
            return web.Response(body=encoder(registry), headers={"Content-Type": content_type})
        reason = ready() if request.path == "/readyz" else None
        if reason is not None:
            return web.Response(status=503, text=f"not ready: {reason}\n")
        return web.Response(text="ok\n")

    return handle
