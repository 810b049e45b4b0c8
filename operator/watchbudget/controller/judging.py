"""The judgement of the whole fleet, again after every change, beside the answering of admission requests."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from watchbudget.controller.admission import Snapshot
from watchbudget.controller.reading import Around, Reader, Thing
from watchbudget.controller.reviews import Reviews
from watchbudget.controller.store import Key, Store, View
from watchbudget.controller.trouble import Trouble
from watchbudget.cost.calibration import Calibration, load_calibration
from watchbudget.demand.catalogue import Catalogue, load_catalogue
from watchbudget.inventory.errors import ClusterError
from watchbudget.inventory.fleet import Fleet
from watchbudget.inventory.rbac import Rbac
from watchbudget.policy.judge import Judge
from watchbudget.policy.model import Audit

if TYPE_CHECKING:
    from watchbudget.inventory.transport import Api

__all__ = ["Judged", "Judging"]

SETTLE = 0.02
"""Seconds that a change waits for others. Short, because the role that `kubectl apply` creates should be
known when the DaemonSet of the same file comes."""

SHARE = 10.0
"""A judgement that takes 20 ms is followed by 200 without one, so that a cluster in which much happens leaves
the processor to the answering of requests. What an answer waits for is judged at once all the same."""

LONGEST_REST = 3.0
"""Seconds without a judgement after a change, at most: RBAC that comes later is found within seconds."""

LATELY = 60.0
"""Seconds in which an agent that was deleted with its roles may be created again."""

LONGEST_WAIT = 30.0
"""Seconds without a judgement, at most: exemptions end at midnight, and a budget's figures grow old."""

log = logging.getLogger(__name__)


class Judged(Struct, frozen=True):
    """One judgement and what it rests on.

    Attributes:
        unbound: service accounts that lost their last ClusterRoleBinding a moment ago.
        known: what was read around the DaemonSets and exists, and when it was read.
        expected: DaemonSets that were announced and whose surroundings were looked for.
        began: seconds of the monotonic clock when it was begun.
        seconds: that it took.
    """

    view: View
    audit: Audit
    snapshot: Snapshot
    known: Mapping[Thing, float]
    unbound: frozenset[Key]
    expected: frozenset[Key]
    began: float
    seconds: float


class Judging:
    """Judges whenever `changed` was called, and now and then.

    Attributes:
        last: the newest judgement; None before the first.
    """

    def __init__(
        self,
        store: Store,
        reader: Reader,
        reviews: Reviews,
        open_api: Callable[[], Api],
        publish: Callable[[Judged], Awaitable[None]],
    ) -> None:
        """Prepare; must be made in the event loop that runs it.

        Args:
            store: what the watches tell.
            reader: what is around it.
            reviews: what the server's authorizers say.
            open_api: gives a connection that has not failed before.
            publish: called with every judgement.
        """
        self.last: Judged | None = None
        self._store, self._reader, self._reviews = store, reader, reviews
        self._open_api, self._publish = open_api, publish
        self._catalogue: Catalogue = load_catalogue()
        self._calibration: Calibration = load_calibration()
        self._loop = asyncio.get_running_loop()
        self._news, self._urgent = asyncio.Event(), asyncio.Event()
        self._bench: Judge | None = None
        self._unbound = _Unbound()
        self._unread, self._unasked, self._faulty = Trouble(log), Trouble(log), Trouble(log)

    def changed(self) -> None:
        """Ask for a judgement; from any thread."""
        self._loop.call_soon_threadsafe(self._news.set)

    def expect(self, key: Key, around: Around) -> None:
        """Judge soon, and with what this DaemonSet rests on; from any thread."""
        self._loop.call_soon_threadsafe(self._reader.expect, key, around)
        self.hurry()

    def hurry(self) -> None:
        """Judge soon, however long the last judgement took; from any thread."""
        self._loop.call_soon_threadsafe(self._urgent.set)
        self._loop.call_soon_threadsafe(self._news.set)

    async def run(self) -> None:
        """Judge until cancelled. The store must have been filled by a full list before."""
        while True:
            self._news.clear()
            self._urgent.clear()
            took = await self._judge()
            try:
                async with asyncio.timeout(LONGEST_WAIT):
                    await self._news.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(SETTLE)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(LONGEST_REST, SHARE * took)):
                    await self._urgent.wait()

    async def _judge(self) -> float:
        api, view, began = self._open_api(), self._store.view(), time.monotonic()
        expected = self._reader.expected()
        try:
            if self._reader.lacks_census(view):
                await self._reader.read_census(api, view)
            await self._reader.complete(api, view)
            self._unread.over()
        except ClusterError as error:
            self._unread.tell("Judged by what was known before", error)
        view = self._store.view()  # reading took a while, and roles may have come meanwhile
        fleet, known = self._reader.fleet(view), self._reader.known()
        audit, snapshot = await asyncio.to_thread(self._decide, view, fleet)
        if snapshot.bench.faults:
            self._faulty.tell("Set apart", "; ".join(map(str, snapshot.bench.faults)))
        else:
            self._faulty.over()
        result = Judged(
            view=view,
            audit=audit,
            snapshot=snapshot,
            known=known,
            unbound=self._unbound.follow(view.rbac, began),
            expected=expected,
            began=began,
            seconds=time.monotonic() - began,
        )
        self.last = result
        await self._publish(result)
        await self._ask(api)
        return result.seconds

    def _decide(self, view: View, fleet: Fleet) -> tuple[Audit, Snapshot]:
        accounts = dict.fromkeys((item.namespace, item.service_account) for item in fleet.daemon_sets)
        resources = tuple(entry.resource for entry in fleet.census.resources)
        access = self._reviews.sift(fleet.rbac, tuple(accounts), resources, complete=fleet.complete_rbac)
        fleet = replace(fleet, access=access)
        today = dt.datetime.now(dt.UTC).date()
        if self._bench is None:
            self._bench = Judge(
                fleet, view.budgets, today=today, catalogue=self._catalogue, calibration=self._calibration
            )
        else:
            self._bench = self._bench.again(fleet, view.budgets, today=today)
        return self._bench.audit(), Snapshot(self._bench, self._bench.sums)

    async def _ask(self, api: Api) -> None:
        """Ask the authorizers what is still unknown, as long as nothing more urgent comes up."""
        changed = False
        try:
            while self._reviews.missing and not self._news.is_set():
                changed |= await self._reviews.ask(api)
            self._unasked.over()
        except ClusterError as error:
            self._unasked.tell("Access reviews go on later", error)
        if changed:
            self._news.set()


class _Unbound:
    """Follows which service accounts ClusterRoleBindings name."""

    def __init__(self) -> None:
        self._rbac: Rbac | None = None
        self._bound: frozenset[Key] = frozenset()
        self._lost: dict[Key, float] = {}

    def follow(self, rbac: Rbac, now: float) -> frozenset[Key]:
        """Those that are named no more, since `LATELY`."""
        if rbac is not self._rbac:
            bound = frozenset(
                (subject.namespace, subject.name)
                for binding in rbac.bindings
                for subject in binding.subjects
                if subject.kind == "ServiceAccount"
            )
            self._lost |= dict.fromkeys(self._bound - bound, now)
            self._rbac, self._bound = rbac, bound
        self._lost = {
            key: since for key, since in self._lost.items() if key not in self._bound and now - since < LATELY
        }
        return frozenset(self._lost)
