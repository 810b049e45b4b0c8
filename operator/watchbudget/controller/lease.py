"""Which replica writes: leader election by one Lease (coordination.k8s.io/v1), as client-go does it.

No clock but our own counts: another holder's Lease has run out when we have seen it unchanged for its
duration (k8s.io/client-go/tools/leaderelection/leaderelection.go). Stricter than client-go in three points:

- To lead is a question of time, asked at every write, not of a callback: a process that was stopped for
  a minute finds itself deposed at its first look at the clock, before it has heard of anyone else.
- A renewal counts from the moment it was sent, not from its answer.
- Only an unbroken chain of renewals leads. A Lease that vanished is made anew and then waited for like
  another's, as is one that names us although we do not lead: who led meanwhile may not know yet.
  (Only a process that starts after it vanished leads at once: it cannot tell from a first start.)

`kubernetes.aio`'s own elector can neither create its Lease nor stop leading when the connection breaks.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from watchbudget.controller.trouble import Trouble
from watchbudget.controller.wire import Reply, Transport, WireError, explain

__all__ = ["Durations", "Elector", "NotLeading", "boot_clock"]

LONGEST_LEASE = 3600.0
"""Seconds. A Lease that says it lasts longer was not written by us; it must not lock us out for good."""

log = logging.getLogger(__name__)


class NotLeading(Exception):  # noqa: N818 - says what is the case
    """A write was about to happen in a process that does not lead."""


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds, by default those of client-go's core clients.

    Attributes:
        lease: how long others wait after the last renewal they saw.
        renew: how long we lead after the last renewal that we sent and that was answered.
        retry: between two attempts.
    """

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry * 1.2 < self.renew < self.lease:
            raise ValueError(f"lease > renew > 1.2 x retry > 0 is needed, not {self}")


def boot_clock() -> float:
    """Seconds that go on while the machine sleeps, where the system can tell (Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class _Seen:
    """The Lease as last seen, and when its `spec` was first seen so. No `metadata`: it was absent."""

    spec: Mapping[str, Any]
    metadata: Mapping[str, str]
    since: float

    @property
    def holder(self) -> str:
        return str(self.spec.get("holderIdentity") or "")


class Elector:
    """One candidate. `run` takes part; `leading` and `fence` may be asked at any time, from any thread.

    A write under the fence must end, answered or given up, within `grace` seconds: then it cannot land
    after another replica has begun to write.

    Attributes:
        identity: the given one and a part that is unique to this object, so that two processes started
            with one name by mistake are two candidates.
        grace: seconds, see above.
    """

    def __init__(
        self,
        transport: Transport,
        namespace: str,
        name: str,
        identity: str,
        *,
        durations: Durations = Durations(),
        still_alive: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            transport: to the API server.
            namespace: of the Lease.
            name: of the Lease.
            identity: for people who read the Lease: the pod's name.
            durations: the same in all replicas.
            still_alive: False lets the Lease go to another replica, because what has to be done under it
                is not being done here.
            clock: seconds that only ever grow.
        """
        self.identity = f"{identity}_{uuid.uuid4()}"
        self.grace = durations.lease - durations.renew
        self._transport = transport
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._durations = durations
        self._still_alive = still_alive
        self._clock = clock
        self._seen: _Seen | None = None
        self._leads_until = float("-inf")
        self._was_leading = False
        self._trouble = Trouble(log)

    @property
    def holder(self) -> str:
        """Who held the Lease when last seen; empty if nobody or unknown."""
        return self._seen.holder if self._seen else ""

    def leading(self) -> bool:
        """Whether this process may write now."""
        return self._clock() < self._leads_until

    def somebody_leads(self) -> bool:
        """Whether this replica leads, or has seen another renew the Lease within its duration.

        What is asked before something is begun that only a leader can end, such as holding a pod.
        """
        seen = self._seen
        if seen is None or not seen.holder or seen.holder == self.identity:
            return self.leading()
        return self._clock() - seen.since <= self._durations.lease

    def fence(self) -> None:
        """To be called right before each write.

        Raises:
            NotLeading: the write must not happen.
        """
        if not self.leading():
            raise NotLeading(f"{self.identity} does not hold the Lease {self._name}")

    async def run(self) -> None:
        """Take part until cancelled. Cancelling lets the Lease run out; `release` gives it away at once."""
        while True:
            try:
                await self.step()
            except Exception:  # an elector that ends would leave nobody to write
                log.exception("An attempt to hold the Lease %s failed", self._name)
            await asyncio.sleep(self._durations.retry)

    async def step(self) -> None:
        """One attempt to get or keep the Lease. Failures are logged: the time left is what matters."""
        try:
            await self._attempt()
            self._trouble.over()
        except WireError as error:
            self._trouble.tell(f"The Lease {self._name}", error)
        if (leading := self.leading()) != self._was_leading:
            self._was_leading = leading
            log.info("%s %s", self.identity, "leads" if leading else f"does not lead; holder {self.holder!r}")

    async def release(self) -> None:
        """Stop leading and let others take over at once. To be called when all writing has ended.

        `run` must have been cancelled before.
        """
        held = self._seen
        self._leads_until = float("-inf")
        if held is None or held.holder != self.identity:
            return
        spec = {**held.spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time()}
        try:
            reply = await self._put(spec, held)
        except WireError as error:
            log.warning("The Lease %s could not be released and runs out: %s", self._name, error)
            return
        if reply.status == 200:
            self._see(reply)

    async def _attempt(self) -> None:
        if not self._still_alive():
            raise WireError("it is not asked for or renewed: no progress in this process")
        if not (self.leading() and self.holder == self.identity):  # a leader knows the Lease: it wrote it
            await self._look()
            if not self._free():
                return
        await self._write()

    async def _write(self) -> None:
        seen = self._seen
        now = _micro_time()
        spec = dict(seen.spec) if seen else {}
        if spec.get("holderIdentity") != self.identity:
            before = spec.get("leaseTransitions")
            spec |= {"holderIdentity": self.identity, "acquireTime": now}
            spec["leaseTransitions"] = before + 1 if isinstance(before, int) else 0
        spec |= {"leaseDurationSeconds": max(1, round(self._durations.lease)), "renewTime": now}
        sent = self._clock()
        if seen is None or not seen.metadata:
            reply = await self._send("POST", self._collection, self._lease(spec, {}))
        else:
            reply = await self._put(spec, seen)
        if reply.status == 409:
            await self._look()
            if self.holder not in {"", self.identity}:
                self._leads_until = float("-inf")
        elif reply.status not in {200, 201}:
            raise WireError(explain("write", self._name, reply))
        else:
            self._see(reply)
            if seen is None or seen.metadata:
                self._leads_until = sent + self._durations.renew

    async def _look(self) -> None:
        reply = await self._send("GET", f"{self._collection}/{self._name}")
        if reply.status not in {200, 404}:
            raise WireError(explain("GET", self._name, reply))
        self._see(reply)

    def _see(self, reply: Reply) -> None:
        """Remember the Lease. What is seen unchanged keeps the time at which it was first seen."""
        if reply.status == 404:
            if self._seen is not None:  # one that was never there belongs to nobody
                self._seen = _Seen({}, {}, self._clock())
            return
        metadata, spec = reply.body.get("metadata"), reply.body.get("spec")
        known = metadata if isinstance(metadata, dict) else {}
        known = {key: known[key] for key in ("resourceVersion", "uid") if isinstance(known.get(key), str)}
        if len(known) != 2:
            raise WireError(f"the Lease {self._name} has no resourceVersion or uid")
        content: Mapping[str, Any] = spec if isinstance(spec, dict) else {}
        same = self._seen is not None and self._seen.metadata and self._seen.spec == content
        self._seen = _Seen(content, known, self._seen.since if same and self._seen else self._clock())

    def _free(self) -> bool:
        """Whether the Lease as seen may be taken; if it is absent, whether it may be made anew."""
        seen = self._seen
        if seen is None or not seen.metadata or not seen.holder:
            return True
        said = seen.spec.get("leaseDurationSeconds")
        lasts = max(self._durations.lease, min(said, LONGEST_LEASE) if isinstance(said, int) else 0)
        return self._clock() - seen.since > lasts

    async def _put(self, spec: Mapping[str, Any], seen: _Seen) -> Reply:
        """Replace the Lease if it still is the one seen.

        The uid is needed beside the version: a PUT of a Lease that is gone would create it
        (`AllowCreateOnUpdate` in kubernetes/pkg/registry/coordination/lease/strategy.go).
        """
        return await self._send("PUT", f"{self._collection}/{self._name}", self._lease(spec, seen.metadata))

    def _lease(self, spec: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, **metadata},
            "spec": spec,
        }

    async def _send(self, method: str, path: str, body: object = None) -> Reply:
        # Half the time to renew, so that one request that hangs leaves time for another.
        return await self._transport.request(method, path, body, timeout=self._durations.renew / 2)


def _micro_time() -> str:
    """Now, as `metav1.MicroTime`: for people; nobody computes with it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
