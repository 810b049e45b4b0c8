"""When the FlowSchema of the agents is written, and what is believed of it."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from fake_apiserver import async_test
from reporting_rig import Clock, Leader, Recording, Sent
from watchbudget.api.resources import DEFAULT_WATCHED
from watchbudget.controller.fenced import FencedWriter
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.queueing import AGAIN, UNCONFIRMED, Queueing
from watchbudget.controller.wire import Reply, WireError
from watchbudget.rollout.queue import Queue

ONE = Queue((("logging", "agent"),), DEFAULT_WATCHED, frozenset({("logging", "agent")}))
TWO = Queue((*ONE.accounts, ("net", "agent")), DEFAULT_WATCHED, ONE.daemon_sets | {("net", "agent")})
SERVED: dict[str, Any] = {"status": {"conditions": [{"type": "Dangling", "status": "False"}]}}


class Rig:
    def __init__(self) -> None:
        self.body: dict[str, Any] = SERVED
        self.status: int | None = 200
        self.clock, self.leader = Clock(), Leader()
        self.wire = Recording(answer=self.answer)
        writer = FencedWriter(self.wire, self.leader, OperatorMetrics(CollectorRegistry()))
        self.queueing = Queueing(writer, self.clock)

    def answer(self, _: Sent) -> Reply:
        if self.status is None:
            raise WireError("cut off")
        return Reply(self.status, self.body if self.status == 200 else {"message": "no"})

    async def later(self, seconds: float) -> int:
        """Requests sent so far, after so many seconds."""
        self.clock.seconds += seconds
        await self.queueing.flush()
        return len(self.wire.sent)


@async_test
async def test_it_is_applied_at_once_and_then_again_now_and_then():
    rig = Rig()
    assert await rig.later(0) == 0
    assert rig.queueing.due_in() == float("inf")
    rig.queueing.want(ONE)
    assert await rig.later(0) == 1
    (sent,) = rig.wire.sent
    assert (sent.method, sent.content_type) == ("PATCH", "application/apply-patch+yaml")
    assert set(sent.body["spec"]) == {"rules"}
    assert rig.queueing.due_in() == AGAIN
    rig.queueing.want(Queue(ONE.accounts, ONE.resources, ONE.daemon_sets))
    assert await rig.later(AGAIN - 1) == 1
    assert await rig.later(1) == 2
    rig.queueing.want(TWO)
    assert await rig.later(0) == 3


@async_test
async def test_it_holds_what_the_server_goes_by():
    rig = Rig()
    rig.queueing.want(ONE)
    assert rig.queueing.in_force == frozenset()
    await rig.queueing.flush()
    assert rig.queueing.in_force == ONE.daemon_sets
    rig.queueing.want(TWO)
    assert rig.queueing.in_force == ONE.daemon_sets  # until it is written


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": None},
        {"status": {"conditions": None}},
        {"status": {"conditions": [None, {"type": "Dangling", "status": "True"}]}},
    ],
)
@async_test
async def test_a_flow_schema_that_the_server_does_not_go_by_queues_nobody(body: dict[str, Any]):
    """As right after its creation, without its priority level, or where priority and fairness is off."""
    rig = Rig()
    rig.body = body
    rig.queueing.want(ONE)
    await rig.queueing.flush()
    assert rig.queueing.in_force == frozenset()
    assert rig.queueing.due_in() == UNCONFIRMED
    rig.body = SERVED
    await rig.later(UNCONFIRMED)
    assert rig.queueing.in_force == ONE.daemon_sets


@pytest.mark.parametrize("status", [403, 404, 422])
@async_test
async def test_refused_is_told_once_tried_again_and_in_force_no_more(
    status: int, caplog: pytest.LogCaptureFixture
):
    rig = Rig()
    rig.queueing.want(ONE)
    await rig.queueing.flush()
    rig.status = status
    rig.queueing.want(TWO)
    assert await rig.later(0) == 2
    assert rig.queueing.in_force == frozenset()
    assert await rig.later(0.5) == 2
    assert await rig.later(0.5) == 3
    (told,) = caplog.messages
    assert "watchbudget-agents cannot be written" in told
    rig.status = 200
    await rig.later(AGAIN)
    assert rig.queueing.in_force == TWO.daemon_sets


@pytest.mark.parametrize("status", [None, 429, 503])
@async_test
async def test_what_is_stored_holds_while_the_server_cannot_be_written_to(status: int | None):
    rig = Rig()
    rig.queueing.want(ONE)
    await rig.queueing.flush()
    rig.status = status
    assert await rig.later(AGAIN) == 2
    assert rig.queueing.in_force == ONE.daemon_sets


@async_test
async def test_a_standby_writes_nothing_and_knows_nothing():
    rig = Rig()
    rig.queueing.want(ONE)
    await rig.queueing.flush()
    rig.leader.leads = False
    rig.queueing.want(TWO)
    with pytest.raises(NotLeading):
        await rig.queueing.flush()
    rig.queueing.forget()
    assert await rig.later(AGAIN) == 1
    assert rig.queueing.in_force == frozenset()
