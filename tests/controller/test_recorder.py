"""Events: what is written, counted, dropped; and that nobody ever waits for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from fake_apiserver import async_test
from reporting_rig import Clock, Leader, Recording, Sent
from watchbudget.controller.events import ObjectRef, body_of, event_of
from watchbudget.controller.fenced import FencedWriter
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.recorder import BURST, MOST_WAITING, OBJECT_BURST, Recorder
from watchbudget.controller.wire import Reply, WireError

DAEMON_SET = ObjectRef("apps/v1", "DaemonSet", "agent", "u1", "logging")
BUDGET = ObjectRef("watchbudget.io/v1alpha1", "WatchBudget", "nodes", "u2")


class Bench:
    def __init__(self) -> None:
        self.clock, self.leader = Clock(), Leader()
        self.next: list[int | str] = []
        self.wire = Recording(answer=self._answer)
        self.metrics = OperatorMetrics(CollectorRegistry())
        self.woken = 0
        self.recorder = Recorder(
            FencedWriter(self.wire, self.leader, self.metrics),
            self.metrics,
            "pod-1",
            clock=self.clock,
            now=self.clock.text,
            wake=self._wake,
        )

    def _wake(self) -> None:
        self.woken += 1

    def _answer(self, request: Sent) -> Reply:
        what = self.next.pop(0) if self.next else 201
        if what == "lost":
            raise WireError("cut off")
        return Reply(int(what), {"message": "no"})

    def say(self, note: str = "38 GiB", regarding: ObjectRef = DAEMON_SET) -> None:
        self.recorder.event(regarding, "Warning", "WatchBudgetViolation", note, "Judge")

    async def sent(self, *, after: float = 0.0) -> list[Sent]:
        self.clock.seconds += after
        before = len(self.wire.sent)
        await self.recorder.flush()
        return self.wire.sent[before:]

    def dropped(self, reason: str) -> float:
        name = "watchbudget_events_dropped_total"
        return self.metrics.registry.get_sample_value(name, {"reason": reason}) or 0.0


def bench_test(function: Any) -> Any:  # noqa: ANN401
    async def run() -> None:
        await function(Bench())

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return async_test(run)


@bench_test
async def test_an_event_of_a_daemon_set(bench: Bench):
    bench.say()
    assert bench.woken == 1
    assert bench.recorder.due_in() == 0
    (sent,) = await bench.sent()
    assert (sent.method, sent.path) == ("POST", "/apis/events.k8s.io/v1/namespaces/logging/events")
    name = sent.body["metadata"].pop("name")
    assert name.startswith("agent.")
    assert sent.body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "logging"},
        "eventTime": "2026-11-24T12:00:00Z",
        "reportingController": "watchbudget.io/operator",
        "reportingInstance": "pod-1",
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "namespace": "logging",
            "name": "agent",
            "uid": "u1",
        },
        "type": "Warning",
        "reason": "WatchBudgetViolation",
        "note": "38 GiB",
        "action": "Judge",
    }
    assert bench.recorder.due_in() == float("inf")


@bench_test
async def test_one_of_an_object_without_namespace_lives_in_default(bench: Bench):
    bench.say(regarding=BUDGET)
    (sent,) = await bench.sent()
    assert sent.path == "/apis/events.k8s.io/v1/namespaces/default/events"
    assert sent.body["metadata"]["namespace"] == "default"
    assert "namespace" not in sent.body["regarding"]


@bench_test
async def test_repetitions_are_counted_and_told_once_a_minute(bench: Bench):
    bench.say()
    (first,) = await bench.sent()
    for _ in range(50):
        bench.say()
        assert await bench.sent(after=0.5) == []
    assert bench.recorder.due_in() == 35
    (patch,) = await bench.sent(after=35)
    assert (patch.method, patch.content_type) == ("PATCH", "application/merge-patch+json")
    assert patch.path == f"{first.path}/{first.body['metadata']['name']}"
    assert patch.body == {"series": {"count": 51, "lastObservedTime": "2026-11-24T12:00:24Z"}}
    assert await bench.sent(after=100) == []


@bench_test
async def test_repetitions_before_the_first_write_are_part_of_it(bench: Bench):
    for _ in range(3):
        bench.say()
    (sent,) = await bench.sent()
    assert sent.body["series"] == {"count": 3, "lastObservedTime": "2026-11-24T12:00:00Z"}


@bench_test
async def test_after_a_pause_it_is_an_event_of_its_own(bench: Bench):
    bench.say()
    await bench.sent()
    bench.clock.seconds += 361
    bench.say()
    assert [each.method for each in await bench.sent()] == ["POST"]


@bench_test
async def test_a_series_whose_event_has_expired_begins_anew(bench: Bench):
    bench.say()
    await bench.sent()
    bench.say()
    bench.next = [404]
    assert [each.method for each in await bench.sent(after=61)] == ["PATCH"]
    bench.say()
    assert [each.method for each in await bench.sent()] == ["POST"]


@bench_test
async def test_of_one_object_there_are_so_many_and_then_few(bench: Bench):
    for number in range(OBJECT_BURST + 10):
        bench.say(f"{number}")
    bench.say("another", BUDGET)
    total = 0
    while sent := await bench.sent():
        total += len(sent)
    assert total == OBJECT_BURST + 1
    assert bench.dropped("rate") == 10
    bench.clock.seconds += 301
    bench.say("later")
    assert len(await bench.sent()) == 1


@bench_test
async def test_of_all_objects_there_are_so_many(bench: Bench):
    for number in range(BURST + 50):
        bench.say(regarding=ObjectRef("apps/v1", "DaemonSet", f"d{number}", f"u{number}", "n"))
    assert bench.dropped("rate") == 50


@bench_test
async def test_nothing_waits_for_ever(bench: Bench):
    bench.next = ["lost"] * 1000
    for number in range(MOST_WAITING + 300):
        bench.say(regarding=ObjectRef("apps/v1", "DaemonSet", f"d{number}", f"u{number}", "n"))
        bench.clock.seconds += 1
    assert bench.dropped("queue") == 300
    for _ in range(5):
        await bench.sent(after=60)
    assert bench.dropped("failed") == 1  # the first, after as many attempts as there are
    assert len(bench.wire.sent) <= 6


@bench_test
async def test_a_refusal_drops_the_event_and_not_the_others(bench: Bench):
    bench.next = [403]
    bench.say("a")
    bench.say("b")
    assert len(await bench.sent()) == 2
    assert bench.dropped("failed") == 1
    assert await bench.sent(after=1000) == []


@bench_test
async def test_an_event_that_is_there_already_was_written_before(bench: Bench):
    bench.next = ["lost", 409]
    bench.say()
    await bench.sent()
    assert len(await bench.sent(after=2)) == 1
    assert bench.dropped("failed") == 0
    bench.say()
    assert [each.method for each in await bench.sent(after=61)] == ["PATCH"]


@bench_test
async def test_without_the_lease_nothing_is_sent_nor_kept(bench: Bench):
    bench.leader.leads = False
    bench.say()
    with pytest.raises(NotLeading):
        await bench.sent()
    assert bench.wire.sent == []
    bench.leader.leads = True
    assert await bench.sent() == []
    assert bench.recorder.due_in() == float("inf")


@bench_test
async def test_few_are_written_at_once_so_that_status_is_not_kept_waiting(bench: Bench):
    for number in range(45):
        bench.say(regarding=ObjectRef("apps/v1", "DaemonSet", f"d{number}", f"u{number}", "n"))
    assert [len(await bench.sent()) for _ in range(4)] == [20, 20, 5, 0]


@bench_test
async def test_all_is_forgotten_while_one_is_being_written(bench: Bench):
    """Another replica takes over in the middle of a request."""
    answer = bench.wire.answer

    def forgetting(request: Sent) -> Reply:
        bench.recorder.forget()
        reply: Reply = answer(request)
        return reply

    bench.wire.answer = forgetting
    bench.say("a")
    bench.say("b")
    assert len(await bench.sent()) == 1


@given(st.text(), st.text(max_size=400), st.text(max_size=300), st.text(max_size=300))
def test_what_is_made_fits_what_the_server_takes(note: str, name: str, reason: str, instance: str):
    ref = ObjectRef("apps/v1", "DaemonSet", name, "u", "n")
    body = body_of(event_of(ref, "Normal", reason, note * 20, reason), instance, "2026-11-24T12:00:00Z")
    assert len(body["note"].encode()) <= 1024
    assert len(body["metadata"]["name"]) <= 253
    assert len(body["reason"]) <= 128
    assert len(body["action"]) <= 128
    assert 1 <= len(body["reportingInstance"]) <= 128


def test_lone_surrogates_do_not_break_an_event():
    assert event_of(DAEMON_SET, "Normal", "R", "a\udc00b", "A").note == "a?b"
