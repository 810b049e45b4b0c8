"""Writes behind the fence: none without it, none longer than its grace, and what is made of answers."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from fake_apiserver import async_test
from reporting_rig import Leader, Recording
from watchbudget.controller.fenced import TIMEOUT, FencedWriter, Outcome
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.wire import Reply, WireError


def bench(status: int, leader: Leader) -> tuple[FencedWriter, Recording, OperatorMetrics]:
    wire = Recording(answer=lambda _: Reply(status, {"message": "why"}))
    metrics = OperatorMetrics(CollectorRegistry())
    return FencedWriter(wire, leader, metrics), wire, metrics


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DONE),
        (201, Outcome.DONE),
        (404, Outcome.GONE),
        (409, Outcome.GONE),
        (400, Outcome.REFUSED),
        (403, Outcome.REFUSED),
        (422, Outcome.REFUSED),
        (301, Outcome.REFUSED),
        (408, Outcome.UNAVAILABLE),
        (429, Outcome.UNAVAILABLE),
        (500, Outcome.UNAVAILABLE),
        (504, Outcome.UNAVAILABLE),
    ],
)
def test_what_answers_mean(status: int, outcome: Outcome):
    @async_test
    async def run() -> None:
        writer, wire, metrics = bench(status, Leader())
        answer = await writer.send("status", "PATCH", "/x", {"a": 1})
        assert answer.outcome is outcome
        assert ("why" in answer.problem) is (outcome is not Outcome.DONE)
        assert len(wire.sent) == 1
        labels = {"target": "status"}
        failed = labels | {"outcome": outcome.value}
        done = metrics.registry.get_sample_value("watchbudget_writes_total", labels)
        lost = metrics.registry.get_sample_value("watchbudget_write_failures_total", failed)
        assert (done, lost) == ((1, None) if outcome is Outcome.DONE else (None, 1))

    run()


@async_test
async def test_a_lost_connection_is_an_outcome():
    writer, wire, _ = bench(200, Leader())

    def lost(_: object) -> Reply:
        raise WireError("cut off")

    wire.answer = lost
    answer = await writer.send("events", "POST", "/x", {})
    assert (answer.outcome, answer.problem) == (Outcome.UNAVAILABLE, "cut off")


@pytest.mark.parametrize(("grace", "expected"), [(3.0, 3.0), (100.0, TIMEOUT)])
def test_no_write_outlasts_the_grace(grace: float, expected: float):
    @async_test
    async def run() -> None:
        writer, wire, _ = bench(200, Leader(grace=grace))
        await writer.send("status", "PATCH", "/x", {})
        assert wire.sent[0].timeout == expected

    run()


@async_test
async def test_without_the_lease_nothing_is_sent():
    writer, wire, metrics = bench(200, Leader(leads=False))
    with pytest.raises(NotLeading):
        await writer.send("status", "PATCH", "/x", {})
    assert wire.sent == []
    assert metrics.registry.get_sample_value("watchbudget_writes_total", {"target": "status"}) is None
