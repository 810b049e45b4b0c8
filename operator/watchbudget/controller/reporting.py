"""What the leader tells the cluster of its judgement: status, annotations, Events and the FlowSchema.

`report` says what shall be told and returns at once; `run` writes it, at bounded rates. A standby calls
neither, or calls `run` alone: nothing is wanted of it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from watchbudget.api.status import WatchBudgetStatus
from watchbudget.controller.annotation_writer import AnnotationWriter, Target
from watchbudget.controller.fenced import Fence, FencedWriter
from watchbudget.controller.figures import steady_annotations
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.news import Found, News, found_in
from watchbudget.controller.queueing import Queueing
from watchbudget.controller.recorder import Recorder
from watchbudget.controller.status import (
    CENSUS_STALE,
    Staging,
    judged_status,
    refused_status,
    unjudged_status,
)
from watchbudget.controller.status_writer import StatusWriter
from watchbudget.controller.store import Key, Meta, View
from watchbudget.controller.wire import Transport
from watchbudget.policy.model import Audit

__all__ = ["Pending", "Reporter"]

IDLE = 30.0
"""Seconds without anything to do after which is looked again; news wake sooner."""

RETRY = 1.0
"""Seconds before the next look after a write that the fence did not let through."""

log = logging.getLogger(__name__)


def _utc_seconds() -> str:
    """Now as `metav1.Time`."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Pending:
    """What is wanted and not yet written: names of budgets, keys of DaemonSets."""

    statuses: tuple[str, ...] = ()
    annotations: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class _Reported:
    """What was reported last, so that starts can be reported between judgements."""

    audit: Audit | None
    view: View
    read_at: float | None  # of the census, by the clock


@dataclass
class Reporter:
    """Reports judgements for the leader. Of one event loop.

    Attributes:
        recorder: for Events of other parts too.
        queueing: told whose lists shall wait by whoever reports.
    """

    transport: Transport
    fence: Fence
    metrics: OperatorMetrics
    instance: str
    paced: bool = True
    stale_after: float = CENSUS_STALE
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], str] = _utc_seconds
    recorder: Recorder = field(init=False)
    queueing: Queueing = field(init=False)

    def __post_init__(self) -> None:
        writer = FencedWriter(self.transport, self.fence, self.metrics)
        self._wake = asyncio.Event()
        self.recorder = Recorder(writer, self.metrics, self.instance, clock=self.clock, wake=self._wake.set)
        self.queueing = Queueing(writer, self.clock)
        self._statuses = StatusWriter(writer, self.clock)
        self._annotations = AnnotationWriter(writer, self.clock)
        self._news = News(self.recorder)
        self._staging: Mapping[str, Staging] = {}
        self._last: _Reported | None = None
        self._turn = 0

    async def report(
        self,
        audit: Audit | None,
        view: View,
        *,
        census_age: float | None,
        staging: Mapping[str, Staging] | None = None,
    ) -> None:
        """Say what shall be written after a judgement. To be called by the leader only; sends nothing itself.

        Args:
            audit: the judgement; None before the first, when budgets are only told that they are known.
            view: what was judged, with what is stored: statuses, annotations, uids.
            census_age: seconds since the census was read, by the monotonic clock; None if it never was.
            staging: starts and rollouts by budget; None if they are as last told.
        """
        self._turn += 1
        turn = self._turn
        read_at = None if census_age is None else self.clock() - census_age
        # Thousands of DaemonSets take a second, and the loop has a Lease to renew.
        prepared = await asyncio.to_thread(_prepared, audit, view) if audit is not None else None
        if turn != self._turn:
            return  # a newer judgement is being reported, or this replica does not lead any more
        self._last = _Reported(audit, view, read_at)
        self._staging = self._staging if staging is None else staging
        self._report_budgets(self._last)
        if prepared is not None:
            targets, found = prepared
            self._news.daemon_sets(found)
            self._annotations.want(targets)
        self._wake.set()

    def staged(self, staging: Mapping[str, Staging]) -> None:
        """Say how starts and rollouts stand, between judgements."""
        if staging != self._staging:
            self._staging = staging
            if self._last is not None:
                self._report_budgets(self._last)
                self._wake.set()

    def forget(self) -> None:
        """Want nothing and remember nothing. To be called when this replica does not lead any more.

        The next report then goes by what is stored, which another replica may have written.
        """
        self._turn += 1
        self._last, self._staging = None, {}
        self.queueing.forget()
        self._statuses.forget()
        self._annotations.forget()
        self._news.forget()
        self.recorder.forget()

    @property
    def pending(self) -> Pending:
        """What is wanted and not yet written."""
        return Pending(self._statuses.pending, self._annotations.pending)

    async def run(self) -> None:
        """Write what is wanted, until cancelled."""
        while True:
            self._wake.clear()
            pause = IDLE
            try:
                await self.flush()
                pause = min(IDLE, self.due_in())
            except NotLeading:
                pause = RETRY
            except Exception:  # a writer that ends would leave the cluster with what was written last
                log.exception("Reporting failed; it goes on")
                pause = RETRY
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def flush(self) -> None:
        """Write what is due now. What fails stays wanted.

        Raises:
            NotLeading: the rest was not written.
        """
        await self.queueing.flush()
        await self._statuses.flush()
        await self._annotations.flush()
        await self.recorder.flush()

    def due_in(self) -> float:
        """Seconds until there is something to write; infinite if nothing is wanted."""
        parts = (self.queueing, self._statuses, self._annotations, self.recorder)
        return min(part.due_in() for part in parts)

    def _report_budgets(self, last: _Reported) -> None:
        audit, view, now = last.audit, last.view, self.now()
        age = None if last.read_at is None else self.clock() - last.read_at
        for budget in view.budgets:
            meta = view.budget_meta.get(budget.name, Meta())
            before = self._statuses.previous(budget.name, meta, budget.status)
            staging = self._staging.get(budget.name)
            if audit is None:
                after = unjudged_status(budget, before, now=now, staging=staging, paced=self.paced)
            else:
                after = judged_status(
                    budget,
                    audit,
                    before,
                    now=now,
                    census_age=age,
                    stale_after=self.stale_after,
                    staging=staging,
                    paced=self.paced,
                )
            self._want(budget.name, meta, before, after)
        for name, error in view.refused.items():
            meta = view.budget_meta.get(name, Meta())
            before = self._statuses.previous(name, meta, view.refused_status.get(name))
            self._want(name, meta, before, refused_status(error, meta.generation, before, now=now))
        self._statuses.keep({budget.name for budget in view.budgets} | view.refused.keys())

    def _want(
        self, name: str, meta: Meta, before: WatchBudgetStatus | None, after: WatchBudgetStatus
    ) -> None:
        self._statuses.want(name, after)
        self._news.budget(name, meta.uid, before, after)


def _prepared(audit: Audit, view: View) -> tuple[dict[Key, Target], list[Found]]:
    """What every judged DaemonSet carries and shall carry, and what was found of it."""
    targets = {}
    for judgement in audit.judgements:
        key, present = judgement.daemon_set.key, judgement.daemon_set.annotations
        stored = view.daemon_sets.get(key)
        if stored is not None:
            targets[key] = Target(stored.meta, present, steady_annotations(judgement, present))
    return targets, found_in(audit, view.daemon_sets)
