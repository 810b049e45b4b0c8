"""Writes Events: few, never waited for, counted where they repeat, dropped when too many."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from watchbudget.controller.events import Event, EventType, ObjectRef, body_of, event_of
from watchbudget.controller.fenced import FencedWriter, Outcome
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.restraint import Backoff, TokenBucket

__all__ = ["ObjectRef", "Recorder", "utc_text"]

OBJECT_BURST, OBJECT_RATE = 25, 1 / 300
"""About one object: so many at once, then one in five minutes, as client-go's spam filter has it
(k8s.io/client-go/tools/record/events_cache.go)."""

BURST, RATE = 200, 2.0
"""About all objects: a new budget may find fault with hundreds at once."""

MOST_AT_ONCE = 20
MOST_WAITING = 500
MOST_REMEMBERED = 2000

SERIES_ENDS = 360.0
"""Seconds without a repetition after which the next one is an event of its own, as in client-go
(tools/events/event_broadcaster.go)."""

SERIES_INTERVAL = 60.0
"""Seconds between two writes of how often an event was repeated."""

ATTEMPTS = 5

log = logging.getLogger(__name__)


class _Series(Struct):
    """An event that was or will be written, and how often it was repeated."""

    body: Mapping[str, Any]
    observed: float  # by the clock
    count: int = 1
    last_time: str = ""
    written_count: int = 0
    written_at: float = float("-inf")
    attempts: int = 0


def utc_text() -> str:
    """Now as `metav1.MicroTime`."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Recorder:
    """Takes events at any rate and writes few. Of one event loop."""

    def __init__(
        self,
        writer: FencedWriter,
        metrics: OperatorMetrics,
        instance: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], str] = utc_text,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin with nothing.

        Args:
            writer: sends.
            metrics: counts what is dropped.
            instance: which replica reports: the pod's name.
            clock: seconds that only ever grow.
            now: the time as `metav1.MicroTime`.
            wake: called when there is something to write.
        """
        self._writer, self._metrics, self._instance = writer, metrics, instance
        self._clock, self._now, self._wake = clock, now, wake
        self._bucket = TokenBucket(RATE, BURST, clock)
        self._by_object: OrderedDict[ObjectRef, TokenBucket] = OrderedDict()
        self._series: OrderedDict[Event, _Series] = OrderedDict()
        self._waiting: deque[_Series] = deque()
        self._outage = Backoff(2.0, 60.0, clock)

    def event(
        self,
        regarding: ObjectRef,
        type: EventType,  # noqa: A002 - its name in the API
        reason: str,
        note: str,
        action: str,
    ) -> None:
        """Say that something happened. Returns at once and never fails.

        What was said before is not written again but counted; what is too much is dropped and counted in
        the metrics.

        Args:
            regarding: the object it is about; without its uid, `kubectl describe` does not show it.
            type: Normal or Warning.
            reason: why, in one CamelCase word.
            note: for people, one sentence or two.
            action: what was done, in one CamelCase word.
        """
        event = event_of(regarding, type, reason, note, action)
        known = self._series.get(event)
        if known is not None and self._clock() - known.observed < SERIES_ENDS:
            known.count += 1
            known.observed, known.last_time = self._clock(), self._now()
            self._series.move_to_end(event)
            self._wake()
            return
        if len(self._waiting) >= MOST_WAITING:
            self._dropped("queue")
        elif not self._object_bucket(regarding).take() or not self._bucket.take():
            self._dropped("rate")
        else:
            at = self._now()
            series = _Series(body_of(event, self._instance, at), self._clock(), last_time=at)
            self._series[event] = series
            self._series.move_to_end(event)
            if len(self._series) > MOST_REMEMBERED:
                self._series.popitem(last=False)
            self._waiting.append(series)
            self._wake()

    def forget(self) -> None:
        """Drop everything: another replica leads."""
        self._series.clear()
        self._waiting.clear()

    def due_in(self) -> float:
        """Seconds until there is something to write; infinite if there is nothing."""
        if self._waiting:
            return max(0.0, self._outage.until - self._clock())
        repeated = (each.written_at for each in self._series.values() if each.count > each.written_count)
        first = min(repeated, default=float("inf")) + SERIES_INTERVAL
        return max(0.0, max(first, self._outage.until) - self._clock())

    async def flush(self) -> None:
        """Write what waits, some of it: others write too.

        Raises:
            NotLeading: nothing more was written, and what waited is dropped: the new leader tells it.
        """
        try:
            for _ in range(MOST_AT_ONCE):
                if not self._waiting or self._outage.until > self._clock():
                    break
                series = self._waiting[0]
                if await self._create(series) and self._waiting and self._waiting[0] is series:
                    self._waiting.popleft()
            if not self._waiting:
                await self._repeat()
        except NotLeading:
            self.forget()
            raise

    def _object_bucket(self, regarding: ObjectRef) -> TokenBucket:
        bucket = self._by_object.setdefault(regarding, TokenBucket(OBJECT_RATE, OBJECT_BURST, self._clock))
        self._by_object.move_to_end(regarding)
        if len(self._by_object) > MOST_REMEMBERED:
            self._by_object.popitem(last=False)
        return bucket

    async def _create(self, series: _Series) -> bool:
        """Write a new event; whether that is settled, one way or the other."""
        body = series.body
        count = series.count
        if count > 1:
            body = {**body, "series": {"count": count, "lastObservedTime": series.last_time}}
        answer = await self._writer.send("events", "POST", _collection(series), body)
        series.attempts += 1
        # 409: it is there, so an attempt before this one got through unanswered.
        if answer.outcome is Outcome.DONE or (answer.outcome is Outcome.GONE and series.attempts > 1):
            self._outage.succeeded()
            series.written_count, series.written_at = count, self._clock()
            return True
        if answer.outcome is Outcome.UNAVAILABLE and series.attempts < ATTEMPTS:
            self._outage.failed()
            return False
        # A namespace that is being deleted takes no events.
        log.info("An event is dropped: %s", answer.problem)
        self._dropped("failed")
        series.written_count = series.count
        return True

    async def _repeat(self) -> None:
        """Write how often events were repeated."""
        for event, series in list(self._series.items()):
            if self._clock() - series.observed >= SERIES_ENDS and series.count == series.written_count:
                del self._series[event]
            elif series.count > series.written_count and self._clock() - series.written_at >= SERIES_INTERVAL:
                if self._outage.until > self._clock():
                    return
                await self._patch(event, series)

    async def _patch(self, event: Event, series: _Series) -> None:
        count = series.count
        body = {"series": {"count": count, "lastObservedTime": series.last_time}}
        path = f"{_collection(series)}/{quote(series.body['metadata']['name'], safe='')}"
        answer = await self._writer.send(
            "events", "PATCH", path, body, content_type="application/merge-patch+json"
        )
        if answer.outcome is Outcome.UNAVAILABLE:
            self._outage.failed()
            return
        self._outage.succeeded()
        series.written_count, series.written_at = count, self._clock()
        if answer.outcome is not Outcome.DONE:  # it has expired: the next repetition begins anew
            self._series.pop(event, None)

    def _dropped(self, reason: str) -> None:
        self._metrics.events_dropped.labels(reason).inc()


def _collection(series: _Series) -> str:
    namespace: str = series.body["metadata"]["namespace"]
    return f"/apis/events.k8s.io/v1/namespaces/{quote(namespace, safe='')}/events"
