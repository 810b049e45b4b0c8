"""How the API server bears it: a small request of our own, from end to end, again and again.

It reads one object by its name, the operator's Lease: so it waits in the queues of priority and fairness, in
the ordinary level of service accounts, where the storm is; it is authorized, and goes through to etcd.
`/readyz` would be exempt from the first and ask nothing of the last.

Each goes over a connection of its own, so that behind a load balancer all API servers are met in time, and
what it measures begins with connecting: the TLS handshake is work of the same processors that serve the
lists, and every agent that starts needs one. It is in the baseline just so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from watchbudget.controller.trouble import Trouble
from watchbudget.controller.wire import Transport, WireError, explain
from watchbudget.rollout.model import Signals

__all__ = ["ApiProbe"]

BUSY_SECONDS = 1.0
"""From one probe to the next while pods start; never two at once."""

IDLE_SECONDS = 10.0
"""The same while none does: the baseline is taken from ten minutes (rollout/limit.py)."""

FIRST = 5
"""Probes in short succession at first, so that there is a baseline soon."""

TIMEOUT = 5.0
"""Seconds. From one second on the limit is cut in any case; more than this tells nothing more."""

TRIED = "The probe of the API server"

log = logging.getLogger(__name__)


class ApiProbe:
    """Probes until cancelled; what it heard is taken by `signals`, once."""

    def __init__(
        self,
        transport: Transport,
        path: str,
        *,
        busy: Callable[[], bool],
        heard: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            transport: opens a connection for each request, from no pool that others share.
            path: of the object to read.
            busy: whether pods start at present.
            heard: called after each probe.
            clock: seconds that only ever grow.
        """
        self._transport, self._path = transport, path
        self._busy, self._heard, self._clock = busy, heard, clock
        self._latency: float | None = None
        self._refused = self._timeouts = 0
        self._probes = 0
        self._trouble = Trouble(log)
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            began = self._clock()
            await self.probe()
            self._heard()
            self._hurry.clear()
            short = self._busy() or self._probes < FIRST
            pause = (BUSY_SECONDS if short else IDLE_SECONDS) - (self._clock() - began)
            try:
                async with asyncio.timeout(max(0.0, pause)):
                    await self._hurry.wait()
            except TimeoutError:
                continue
            # Something starts: the next probe is due a short while after the last one.
            await asyncio.sleep(max(0.0, BUSY_SECONDS - (self._clock() - began)))

    def hurry(self) -> None:
        """Pods begin to start: do not wait out the long pause."""
        self._hurry.set()

    async def probe(self) -> None:
        """One probe; its outcome waits for `signals`."""
        began = self._clock()
        self._probes += 1
        try:
            reply = await self._transport.request("GET", self._path, timeout=TIMEOUT)
        except WireError as error:
            self._timeouts += 1
            self._trouble.tell(TRIED, error)
            return
        if reply.status in {200, 404}:  # 404: there is no Lease yet
            self._latency = self._clock() - began
            self._trouble.over()
            return
        if reply.status == 429:
            self._refused += 1
        elif reply.status >= 500:  # it could not answer: etcd is away, or the server ends
            self._timeouts += 1
        self._trouble.tell(TRIED, explain("GET", self._path, reply))  # any other was not asked of etcd

    def signals(self) -> Signals:
        """What was heard since the last call."""
        signals = Signals(self._latency, self._refused, self._timeouts)
        self._latency, self._refused, self._timeouts = None, 0, 0
        return signals
