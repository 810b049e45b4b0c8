"""The webhooks of the manifests, answered by a server of the test's, for one namespace of a cluster."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from controller_reviews import now
from watchbudget.controller import tls
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.controller.server import AdmissionServer
from watchbudget.localcluster import LocalCluster

BASE = Path(__file__).parents[1] / "manifests" / "base"
REGISTRATION = "/apis/admissionregistration.k8s.io/v1"

Handler = Callable[[AdmissionRequest], AdmissionResponse]


class Webhooks:
    """What was asked, and the way to turn the server off and on."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.asked: list[tuple[str, AdmissionRequest]] = []
        self.bundle = tls.create(["127.0.0.1"], now())
        self._handlers = {path: self._noting(path, handler) for path, handler in handlers.items()}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: AdmissionServer | None = None
        self.port = 0

    def _noting(self, path: str, handler: Handler) -> Handler:
        def handle(request: AdmissionRequest) -> AdmissionResponse:
            self.asked.append((path, request))
            return handler(request)

        return handle

    def start(self) -> None:
        """Listen, on the same port as before if there is one."""
        if not self._thread.is_alive():
            self._thread.start()
        self._server = AdmissionServer(
            self._handlers, address=("127.0.0.1", self.port), probe_address=("127.0.0.1", 0)
        )
        self._server.load_certificate(self.bundle.certificate, self.bundle.key)
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(30)
        self.port = self._server.port

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(30)
            self._server = None

    def end(self) -> None:
        """Stop for good."""
        self.stop()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(30)
        self._loop.close()


@contextmanager
def webhooks(
    cluster: LocalCluster,
    namespace: str,
    handlers: Mapping[str, Handler],
    **changes: Any,  # noqa: ANN401
) -> Iterator[Webhooks]:
    """Serve the paths given, and install those webhooks of the manifests that ask them.

    Args:
        cluster: where.
        namespace: the only one they are asked about; it is created, and deleted at the end.
        handlers: by path.
        **changes: fields of each webhook to replace.
    """
    served = Webhooks(handlers)
    configurations = [
        ("mutatingwebhookconfigurations", "webhooks-mutating.yaml"),
        ("validatingwebhookconfigurations", "webhooks-validating.yaml"),
    ]
    installed = []
    try:
        served.start()
        cluster.kubectl("create", "namespace", namespace)
        for plural, file in configurations:
            raw = yaml.safe_load((BASE / file).read_text())
            raw["metadata"]["name"] = namespace
            raw["webhooks"] = [
                _here(webhook, namespace, served) | changes
                for webhook in raw["webhooks"]
                if webhook["clientConfig"]["service"]["path"] in handlers
            ]
            if raw["webhooks"]:
                cluster.request("POST", f"{REGISTRATION}/{plural}", raw)
                installed.append(f"{REGISTRATION}/{plural}/{namespace}")
        yield served
    finally:
        for path in installed:
            cluster.request("DELETE", path, check=False)
        cluster.kubectl("delete", "namespace", namespace, "--wait=false", check=False)
        served.end()


def _here(webhook: dict[str, Any], namespace: str, served: Webhooks) -> dict[str, Any]:
    path = webhook["clientConfig"]["service"]["path"]
    return webhook | {
        "clientConfig": {
            "url": f"https://127.0.0.1:{served.port}{path}",
            "caBundle": base64.b64encode(served.bundle.ca_certificates).decode(),
        },
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "timeoutSeconds": 10,  # the machine may be slow
    }
