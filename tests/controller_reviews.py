"""AdmissionReviews, and servers and clients that speak them over verified TLS on loopback."""

from __future__ import annotations

import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from watchbudget.controller import tls
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.controller.server import AdmissionServer, Handler

HOSTS = ("127.0.0.1", "localhost")
API = "admission.k8s.io/v1"


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def request(**fields: object) -> dict[str, Any]:
    """The `request` of a review of a DaemonSet's creation, with some fields replaced; `...` removes one."""
    value: dict[str, Any] = {
        "uid": "u-1",
        "kind": {"group": "apps", "version": "v1", "kind": "DaemonSet"},
        "resource": {"group": "apps", "version": "v1", "resource": "daemonsets"},
        "namespace": "logging",
        "name": "agent",
        "operation": "CREATE",
        "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
        "object": {"metadata": {"name": "agent"}},
        "oldObject": None,
        "dryRun": False,
    } | fields
    return {key: item for key, item in value.items() if item is not ...}


def body(**fields: object) -> bytes:
    return json.dumps({"apiVersion": API, "kind": "AdmissionReview", "request": request(**fields)}).encode()


def allow(_: AdmissionRequest) -> AdmissionResponse:
    return AdmissionResponse(allowed=True)


def trusting(bundle: tls.Bundle) -> ssl.SSLContext:
    """What a client that trusts the bundle's authorities and nobody else uses."""
    return ssl.create_default_context(cadata=bundle.ca_certificates.decode())


@asynccontextmanager
async def serving(
    handlers: Mapping[str, Handler], bundle: tls.Bundle | None = None
) -> AsyncIterator[tuple[AdmissionServer, str, str, tls.Bundle]]:
    """A running server, the URLs of admission and of probes, and its certificates."""
    bundle = bundle or tls.create(HOSTS, now())
    server = AdmissionServer(handlers, address=("127.0.0.1", 0), probe_address=("127.0.0.1", 0))
    server.load_certificate(bundle.certificate, bundle.key)
    await server.start_probes()
    await server.start()
    try:
        yield server, f"https://127.0.0.1:{server.port}", f"http://127.0.0.1:{server.probe_port}", bundle
    finally:
        await server.close()
