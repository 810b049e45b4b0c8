"""kopf as a source of events and nothing else: it tells the store what the API server says.

Only `on.event` handlers that return None: every other kind writes annotations or finalizers to objects that
are not ours. One error in one watch ends `kopf.operator()`, and while it ends kopf cancels every task of its
event loop: so it has a thread and a loop of its own, and is started again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any

import kopf

from watchbudget.controller.store import Kind, Store

__all__ = ["Watching"]

LONGEST_PAUSE = 30.0
"""Seconds between two starts, at most. Meanwhile judgements rest on what is known and on full lists."""

FINE_AFTER = 60.0
"""Seconds after which a watch that ends counts as the first failure again."""

log = logging.getLogger(__name__)


class _Connection(kopf.ConnectionInfo):
    """As `inventory.connection`: Python 3.13 refuses authorities that Go and kubeadm find good."""

    def as_ssl_context(self) -> ssl.SSLContext:
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


class Watching:
    """Runs kopf in a thread of its own, again and again, until stopped.

    Attributes:
        restarts: how often it had to be started again.
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
        self._store = store
        self._configuration = configuration
        self._ended = ended
        self._stop = threading.Event()
        self._again = threading.Event()
        self._flag = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def restart(self) -> None:
        """End the watches and begin anew, because they seem to miss something."""
        self._again.set()
        self._flag.set()

    def stop(self) -> None:
        """End the watches; returns when they have ended, or after a few seconds in any case."""
        self._stop.set()
        self._flag.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._flag = threading.Event()
            if self._stop.is_set():
                return
            began = self._store.now()
            reason = "they ended without an error"
            try:
                asyncio.run(self._watch(self._flag))
            except Exception as error:  # noqa: BLE001 - kopf ends by any error of any of its tasks
                reason = f"{type(error).__name__}: {str(error)[:300]}"
            if self._stop.is_set():
                return
            if self._again.is_set():
                self._again.clear()
                continue
            failures = 1 if self._store.now() - began > FINE_AFTER else failures + 1
            pause = min(LONGEST_PAUSE, 2.0 ** min(failures, 10) / 2) * random.uniform(0.5, 1.0)  # noqa: S311
            log.warning("The watches ended (%s); they start again in %.1f s", reason, pause)
            self.restarts += 1
            self._ended()
            self._stop.wait(pause)

    async def _watch(self, flag: threading.Event) -> None:
        await kopf.operator(
            registry=self._registry(),
            settings=_settings(),
            clusterwide=True,
            standalone=True,
            stop_flag=flag,
        )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        configuration = self._configuration

        @kopf.on.login(registry=registry)
        async def login(**_: object) -> kopf.ConnectionInfo:
            settings = await configuration.auth_settings()  # refreshes a pod's token from its file
            bearer = str(settings.get("BearerToken", {}).get("value") or "")
            return _Connection(
                server=configuration.host.rstrip("/"),
                ca_path=configuration.ssl_ca_cert,
                ca_data=configuration.ca_cert_data,
                insecure=not configuration.verify_ssl,
                certificate_path=configuration.cert_file,
                private_key_path=configuration.key_file,
                token=bearer.partition(" ")[2] or None,
            )

        for kind in Kind:
            version, _, plural = kind.value
            group, _, number = version.rpartition("/")
            self._register(registry, kind, (group, number, plural))
        return registry

    def _register(self, registry: kopf.OperatorRegistry, kind: Kind, resource: tuple[str, str, str]) -> None:
        store = self._store

        @kopf.on.event(*resource, registry=registry, id=f"tell-{resource[2]}")
        async def tell(event: Mapping[str, Any], **_: object) -> None:
            store.tell(kind, event["object"], deleted=event["type"] == "DELETED")


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
    # Where a foreign object carries the common name, kopf would take it off.
    settings.persistence.finalizer = "watchbudget.io/never-set"
    return settings
