"""Staged starts, carried out: what is seen goes to the pacer, what it answers is done, again and again.

Everything is read from the pods' labels at every pass, so a restart or another leader loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Protocol

from watchbudget.controller.api_probe import ApiProbe
from watchbudget.controller.daemon_sets import DaemonSets
from watchbudget.controller.fenced import Fence
from watchbudget.controller.listing import WatchTransport
from watchbudget.controller.plan import Plan
from watchbudget.controller.pod_reading import Pod
from watchbudget.controller.pod_writes import PodWrites
from watchbudget.controller.pods import Pods
from watchbudget.controller.progress import Rolling
from watchbudget.controller.staging import staging_of
from watchbudget.controller.start_metrics import StartMetrics
from watchbudget.controller.start_news import StartNews
from watchbudget.controller.status import Staging
from watchbudget.controller.waving import Waving, without_reserved
from watchbudget.controller.wire import Transport
from watchbudget.rollout.letgo import LetGo
from watchbudget.rollout.model import Ceiling, Key, Pass, Signals, Terms, Why
from watchbudget.rollout.pacer import Pacer
from watchbudget.rollout.seen import Seen

__all__ = ["Leadership", "Rollouts"]

LONGEST_PAUSE = 1.0
"""Seconds between two passes, at most: a pass is what shows that starts are being looked after."""

SHORTEST_PAUSE, SHARE = 0.2, 4.0
"""At least: what changes together is decided together, and permits given together cost the DaemonSet
controller one look at its pods. With 0.05 s bystanders wait half as long again, and nothing is ready sooner
(bench/storm). And so many times what the pass before took, up to the longest pause, so that thousands of pods
leave the processor to others, and a process that was stopped in the middle of a pass soon goes on."""

REPORT_SECONDS = 1.0
"""Between two reports for status, at least: with every pass the numbers change."""

NO_PROGRESS = 10.0
"""Seconds without a pass after which the Lease is given up; it then lasts fifteen more at most."""

BLIND = 60.0
"""Seconds without any news of the pods after which the same is done: another replica may hear them."""

log = logging.getLogger(__name__)


class Leadership(Fence, Protocol):
    """What is asked of `lease.Elector`."""

    def leading(self) -> bool:
        """Whether this replica may write now."""

    def somebody_leads(self) -> bool:
        """Whether this replica or another may."""


class Rollouts:
    """The loop of one replica. Every replica runs one; permits are given by the leader's only.

    Attributes:
        last: the newest pass.
        pods: held and permitted pods.
        writes: what is done to them, and how often.
        queued: gives the DaemonSets whose lists the API server answers a few at a time; none until set.
    """

    def __init__(
        self,
        transport: WatchTransport,
        probe_transport: Transport,
        probe_path: str,
        leadership: Leadership,
        *,
        max_starts: int = 100,
        news: StartNews | None = None,
        report: Callable[[Mapping[str, Staging]], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; must be made in the event loop that runs it. Nothing is sent yet.

        Args:
            transport: to the API server.
            probe_transport: the same, but every request over a connection of its own.
            probe_path: of an object to read: the Lease.
            leadership: who leads; its fence is asked right before each write of the leader.
            max_starts: ceiling of the whole cluster.
            news: told what is worth an Event, by the leader.
            report: given what budgets' status shall say of starts, by the leader, when that has changed.
            clock: seconds that only ever grow.
        """
        self.last = Pass()
        self.pods = Pods(transport, self.wake, clock)
        self.writes = PodWrites(transport, leadership, self.pods, clock)
        self._leadership, self._news, self._report, self._clock = leadership, news, report, clock
        self.queued: Callable[[], Container[Key]] = lambda: ()
        self._metrics: StartMetrics | None = None
        self._pacer = Pacer(max_starts)
        self._plan = Plan()
        self._daemon_sets = DaemonSets(transport, self.pods, self.wake, clock)
        self._probe = ApiProbe(
            probe_transport, probe_path, busy=lambda: self._busy, heard=self.wake, clock=clock
        )
        self._rolling = Rolling()
        self._waving = self._new_waving()
        self._busy = False
        self._wake = asyncio.Event()
        self._last_pass: float | None = None
        self._broken_since: float | None = None
        self._without_pacer = LetGo()
        self._taken_over = False
        self._taking_over: asyncio.Task[None] | None = None
        self._reported: Mapping[str, Staging] = {}
        self._reported_at = float("-inf")

    def measure(self, metrics: StartMetrics) -> None:
        """Tell these of every pass, and of the writes."""
        self._metrics = metrics
        metrics.count(self.writes.written)

    def carry(self, plan: Plan) -> None:
        """Go by this plan from now on. To be called after every judgement, in every replica."""
        if plan.terms != self._plan.terms or plan.waves != self._plan.waves:
            self._daemon_sets.soon()
        self._plan = plan
        self.wake()

    def wake(self) -> None:
        """Something has changed: pass soon. Of the same thread."""
        self._wake.set()

    def progressing(self) -> bool:
        """Whether passes are being made, by what is heard of the pods; for `Elector.still_alive`."""
        now, blind = self._clock(), self.pods.blind_since
        if blind is not None and now - blind > BLIND:
            return False
        return self._last_pass is not None and now - self._last_pass < NO_PROGRESS

    def observed(self) -> dict[str, Staging]:
        """How the starts under each budget stand, for its status."""
        return staging_of(self._plan, self.last, self._daemon_sets.looked, self._rolling.since)

    async def run(self) -> None:
        """Run until cancelled; writes under way are then broken off."""
        try:
            async with asyncio.TaskGroup() as group:
                for job in (self.pods.run, self._daemon_sets.run, self._probe.run, self._passes):
                    group.create_task(job())
        finally:
            self._resign()
            await self.writes.close()

    async def _passes(self) -> None:
        while True:
            self._wake.clear()
            began = self._clock()
            if self.pods.known:
                self._pass_or_break()
            took = self._clock() - began
            pause = LONGEST_PAUSE
            if self.last.next_pass is not None:
                pause = min(pause, self.last.next_pass - self._clock())
            try:
                async with asyncio.timeout(max(SHORTEST_PAUSE, pause)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(min(LONGEST_PAUSE, max(SHORTEST_PAUSE, SHARE * took)))

    def _pass_or_break(self) -> None:
        try:
            self.turn()
        except Exception:
            log.exception("A pass over the starts failed")
            self._let_go_without_pacer()
        else:
            self._last_pass, self._broken_since = self._clock(), None

    def turn(self) -> None:
        """One pass."""
        now, leading, plan = self._clock(), self._leads(), self._plan
        pods = self.pods.all()
        if any(pod.gate is not None for pod in pods) and self._daemon_sets.looked:
            self.pods.mark(self._vacant)
            pods = self.pods.all()
        terms = self._terms(plan) if leading else plan.terms
        starts = [pod.start for pod in pods]
        if leading:
            rolls, stopped = self._daemon_sets.rolls, self.last.pauses
            starts = self._waving.starts(now, rolls, pods, plan, stopped)
        heard, (refused, timeouts) = self._probe.signals(), self.writes.written.take()
        signals = Signals(heard.latency, heard.refused + refused, heard.timeouts + timeouts)
        led = leading or self._leadership.somebody_leads()
        result = self._pacer.turn(
            now, starts, terms, plan.ceilings, signals, leading=leading, led=led, queued=self.queued()
        )
        if leading:
            self._waving.delete(now, result, plan)
            result = without_reserved(result)
        by_uid = {pod.start.uid: pod for pod in pods}
        self._carry_out(result, by_uid, leading=leading)
        if self._metrics is not None:
            self._metrics.observe(result, signals, leading=leading)
        before, self.last = self.last, result
        self._follow(result, terms, leading=leading)
        if leading:
            self._tell(before, result, by_uid)

    def _carry_out(self, result: Pass, pods: Mapping[str, Pod], *, leading: bool) -> None:
        if leading:
            for uid in result.release:
                self.writes.release(pods[uid], partial(self._refused, uid))
            for uid in result.end:
                if uid in pods:  # not one that is reserved for a pod yet to be born
                    self.writes.end(pods[uid])
        begun = [
            freed for freed in result.let_go if self.writes.let_go(pods[freed.uid], self._counted(freed.why))
        ]
        if begun:
            log.warning(
                "Held pods are let go without a permit: %d, the first because %s",
                len(begun),
                begun[0].why.value,
            )

    def _refused(self, uid: str) -> None:
        self._pacer.refused(self._clock(), uid)
        self.wake()

    def _counted(self, why: Why) -> Callable[[], None]:
        return (lambda: None) if self._metrics is None else partial(self._metrics.freed, why)

    def _follow(self, result: Pass, terms: Mapping[Key, Terms], *, leading: bool) -> None:
        """Look more closely at what rolls, and probe more often while it does; a standby has no need to."""
        busy = leading and bool(result.in_flight or any(each.held for each in result.daemon_sets.values()))
        if busy and not self._busy:
            self._probe.hurry()
        self._busy = busy
        if not leading:
            self._rolling.since.clear()
            self._daemon_sets.want(())
            return
        waves = [key for key, its in terms.items() if its.waves]
        self._rolling.follow(self._clock(), result, self._daemon_sets.looked, self._plan, waves)
        # Held pods that no DaemonSet controls (any more) have one without a name.
        self._daemon_sets.want([key for key in self._rolling.since if key[1]], waves)

    def _tell(self, before: Pass, result: Pass, pods: Mapping[str, Pod]) -> None:
        if self._news is not None:
            uids = {key: its.uid for key, its in self._daemon_sets.looked.items()}
            self._news.tell(before, result, pods, uids, self._plan.uids)
        if self._clock() - self._reported_at < REPORT_SECONDS:
            return  # there is a pass every second
        self._reported_at = self._clock()
        observed = self.observed()
        if observed != self._reported:
            self._reported = observed
            self._report(observed)

    def _terms(self, plan: Plan) -> Mapping[Key, Terms]:
        """The plan's terms, with what the looks at DaemonSets have shown since."""
        looked = self._daemon_sets.looked
        return {
            **plan.terms,
            **{key: its.amend(plan.terms[key]) for key, its in looked.items() if key in plan.terms},
        }

    def _vacant(self, pod: Pod) -> bool:
        its = self._daemon_sets.looked.get(pod.start.daemon_set)
        return its is not None and its.vacant(pod.start.node)

    def _leads(self) -> bool:
        """Whether this replica gives permits: it holds the Lease, and knows what was given before it did."""
        if not self._leadership.leading():
            self._resign()
        elif not self._taken_over and self._taking_over is None:
            self._taking_over = asyncio.create_task(self._take_over())
        return self._taken_over

    async def _take_over(self) -> None:
        await self.pods.refresh()
        self._taken_over = True
        self.wake()

    def _resign(self) -> None:
        if self._taken_over:
            self._waving = self._new_waving()
        self._taken_over = False
        self._reported = {}
        if self._taking_over is not None:
            self._taking_over.cancel()
            self._taking_over = None

    def _new_waving(self) -> Waving:
        def deleted(_: Key) -> None:
            self.wake()

        return Waving(self.writes, deleted, self._clock)

    def _let_go_without_pacer(self) -> None:
        """Never strand, not even by a fault of ours in the pacer: after the longest `maxHold` they go."""
        now, plan = self._clock(), self._plan
        if self._broken_since is None:
            self._broken_since, self._without_pacer = now, LetGo()
        if now - self._broken_since < max(each.max_hold for each in (*plan.ceilings.values(), Ceiling())):
            return
        pods = {pod.start.uid: pod for pod in self.pods.all()}
        seen = Seen.of((pod.start for pod in pods.values()), plan.terms, plan.ceilings)
        self._without_pacer.see(now, seen.held.keys(), seen.permitted.keys())
        due = [
            (start, Why.NO_PROGRESS) for start in seen.held.values() if seen.order(start.daemon_set) is None
        ]
        for freed in self._without_pacer.choose(now, due):
            self.writes.let_go(pods[freed.uid], self._counted(freed.why))
