"""When a status is written, what comes of refusals and lost answers, and who is believed afterwards."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from api.budget_samples import FULL_STATUS
from fake_apiserver import async_test
from reporting_rig import Clock, Leader, Recording, Sent
from watchbudget.api.status import WatchBudgetStatus
from watchbudget.controller.fenced import FencedWriter
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.status_writer import StatusWriter, older
from watchbudget.controller.store import Meta
from watchbudget.controller.wire import Reply, WireError

FULL = WatchBudgetStatus.model_validate(FULL_STATUS)


def with_total(total: str) -> WatchBudgetStatus:
    assert FULL.bill is not None
    return FULL.model_copy(update={"bill": FULL.bill.model_copy(update={"cache_total": total})})


def with_violating(number: int) -> WatchBudgetStatus:
    assert FULL.counts is not None
    return FULL.model_copy(update={"counts": FULL.counts.model_copy(update={"violating": number})})


def with_starts(number: int) -> WatchBudgetStatus:
    assert FULL.starts is not None
    return FULL.model_copy(update={"starts": FULL.starts.model_copy(update={"in_flight": number})})


class Server:
    """One budget, with the API server's conflict of versions."""

    def __init__(self) -> None:
        self.version = 10
        self.status: dict[str, Any] | None = None
        self.next: list[int | str] = []  # HTTP status, or "lost before" and "lost after" being carried out
        self.writes = 0

    def __call__(self, request: Sent) -> Reply:
        what = self.next.pop(0) if self.next else 200
        if what == "lost before":
            raise WireError("cut off")
        if isinstance(what, int) and what != 200:
            return Reply(what, {"message": "no"})
        assert request.method == "PATCH"
        given = request.body["metadata"].get("resourceVersion")
        if given not in (None, str(self.version)):
            return Reply(409, {"message": "modified"})
        if self.status != request.body["status"]:
            self.version += 1
        self.status = copy.deepcopy(request.body["status"])
        self.writes += 1
        if what == "lost after":
            raise WireError("cut off")
        return Reply(200, {"metadata": {"resourceVersion": str(self.version)}, "status": self.status})

    @property
    def stored(self) -> WatchBudgetStatus | None:
        return None if self.status is None else WatchBudgetStatus.model_validate(self.status)

    @property
    def meta(self) -> Meta:
        return Meta("u1", str(self.version), 1)


class Bench:
    def __init__(self) -> None:
        self.server, self.clock, self.leader = Server(), Clock(), Leader()
        self.wire = Recording(answer=self.server)
        self.metrics = OperatorMetrics(CollectorRegistry())
        self.writer = StatusWriter(FencedWriter(self.wire, self.leader, self.metrics), self.clock)

    async def want(self, status: WatchBudgetStatus, *, seen: bool = True, after: float = 0.0) -> int:
        """Want a status; `seen`: the watches know what is stored. Returns how many requests went out."""
        self.clock.seconds += after
        if seen:
            self.writer.previous("b", self.server.meta, self.server.stored)
        else:
            self.writer.previous("b", Meta("u1", "10", 1), None)
        self.writer.want("b", status)
        before = len(self.wire.sent)
        await self.writer.flush()
        return len(self.wire.sent) - before


def bench_test(function: Any) -> Any:  # noqa: ANN401
    async def run() -> None:
        await function(Bench())

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return async_test(run)


@bench_test
async def test_the_request(bench: Bench):
    assert await bench.want(FULL) == 1
    (sent,) = bench.wire.sent
    assert sent.method == "PATCH"
    assert sent.path == (
        "/apis/watchbudget.io/v1alpha1/watchbudgets/b/status?fieldManager=watchbudget&force=true"
    )
    assert sent.content_type == "application/apply-patch+yaml"
    assert sent.body == {
        "apiVersion": "watchbudget.io/v1alpha1",
        "kind": "WatchBudget",
        "metadata": {"name": "b", "resourceVersion": "10"},
        "status": FULL_STATUS,
    }
    assert bench.writer.pending == ()
    assert bench.writer.due_in() == float("inf")


@bench_test
async def test_absent_parts_are_left_out_so_that_they_are_removed(bench: Bench):
    await bench.want(WatchBudgetStatus(observed_generation=3, conditions=FULL.conditions))
    assert bench.wire.sent[0].body["status"].keys() == {"observedGeneration", "conditions"}


@bench_test
async def test_what_is_stored_already_is_not_written(bench: Bench):
    bench.server.status = FULL_STATUS
    assert await bench.want(FULL) == 0
    assert bench.writer.pending == ()


@pytest.mark.parametrize(
    ("second", "seconds"),
    [(with_violating(5), 1.0), (with_starts(18), 2.0), (with_total("1.6Ti"), 60.0)],
    ids=["a count", "starts", "a figure"],
)
def test_how_soon_news_are_written(second: WatchBudgetStatus, seconds: float):
    @async_test
    async def run() -> None:
        bench = Bench()
        await bench.want(FULL)
        assert await bench.want(second, after=seconds - 0.5) == 0
        assert bench.writer.due_in() == 0.5
        bench.clock.seconds += 0.5
        await bench.writer.flush()
        assert bench.server.stored == second

    run()


@bench_test
async def test_news_of_a_verdict_take_figures_along(bench: Bench):
    await bench.want(FULL)
    await bench.want(with_total("1.6Ti"), after=2)
    both = with_violating(9).model_copy(update={"bill": with_total("1.6Ti").bill})
    assert await bench.want(both) == 1


@bench_test
async def test_figures_that_go_back_in_time_are_not_written(bench: Bench):
    await bench.want(FULL)
    await bench.want(with_total("1.6Ti"), after=30)
    assert await bench.want(FULL, after=60) == 0


@pytest.mark.parametrize("failure", [404, 409, 422, 403, 429, 500, 503, "lost before"])
def test_failures_stay_pending_and_are_tried_again_later(failure: int | str):
    @async_test
    async def run() -> None:
        bench = Bench()
        bench.server.next = [failure, failure]
        assert await bench.want(FULL) == 1
        assert bench.writer.pending == ("b",)
        assert await bench.want(FULL) == 0  # not at once
        assert bench.writer.due_in() == 2
        assert await bench.want(FULL, after=2) == 1
        assert bench.writer.due_in() == 4  # and ever less often
        assert await bench.want(FULL, after=4) == 1
        assert bench.writer.pending == ()
        assert bench.server.stored == FULL

    run()


@pytest.mark.parametrize(("failure", "lines"), [(404, 0), (409, 0), (403, 1), (503, 1)])
def test_one_that_changed_meanwhile_is_no_trouble_to_report(
    failure: int, lines: int, caplog: pytest.LogCaptureFixture
):
    @async_test
    async def run() -> None:
        bench = Bench()
        bench.server.next = [failure]
        await bench.want(FULL)

    run()
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == lines


@bench_test
async def test_an_answer_that_was_lost_is_found_out_by_the_watches(bench: Bench):
    bench.server.next = ["lost after"]
    await bench.want(FULL)
    assert bench.server.writes == 1
    assert bench.writer.pending == ("b",)
    await bench.want(FULL, after=10)
    assert bench.server.writes == 1
    assert bench.writer.pending == ()


@bench_test
async def test_watches_that_are_behind_are_not_believed(bench: Bench):
    """Else the times of conditions would come from an older status."""
    behind = bench.server.meta
    await bench.want(FULL)
    assert bench.writer.previous("b", behind, None) == FULL
    assert await bench.want(FULL, seen=False, after=100) == 0


@bench_test
async def test_what_someone_else_wrote_is_the_status_before_and_is_put_right(bench: Bench):
    await bench.want(FULL)
    other = with_violating(0)
    bench.server.status = other.model_dump(mode="json", by_alias=True, exclude_none=True)
    bench.server.version += 1
    assert bench.writer.previous("b", bench.server.meta, other) == other
    assert await bench.want(FULL, after=5) == 1
    assert bench.server.stored == FULL


@bench_test
async def test_a_status_that_was_taken_away_is_written_again_with_its_times(bench: Bench):
    await bench.want(FULL)
    bench.server.status = None
    bench.server.version += 1
    assert bench.writer.previous("b", bench.server.meta, None) == FULL
    assert await bench.want(FULL, after=5) == 1


@bench_test
async def test_a_field_that_someone_else_keeps_is_not_fought_over(bench: Bench):
    real = bench.server

    def with_theirs(request: Sent) -> Reply:
        reply = real(request)
        status = {**reply.body["status"], "starts": FULL_STATUS["starts"]}
        real.status = status
        return Reply(200, {**reply.body, "status": status})

    bench.wire.answer = with_theirs
    ours = FULL.model_copy(update={"starts": None})
    assert await bench.want(ours) == 1
    for _ in range(5):
        assert await bench.want(ours, after=100) == 0


@bench_test
async def test_a_budget_changed_meanwhile_is_judged_before_it_is_written(bench: Bench):
    bench.writer.previous("b", bench.server.meta, None)
    bench.server.version += 1  # its spec was changed
    bench.writer.want("b", FULL)
    await bench.writer.flush()
    assert bench.server.writes == 0
    assert await bench.want(FULL) == 1  # as soon as the watches tell, not after the pause
    assert bench.server.stored == FULL


@bench_test
async def test_a_budget_made_anew_begins_anew(bench: Bench):
    await bench.want(FULL)
    assert bench.writer.previous("b", Meta("u2", "99", 1), None) is None


@bench_test
async def test_deleted_budgets_are_forgotten(bench: Bench):
    bench.server.next = [404]
    await bench.want(FULL)
    bench.writer.keep(())
    assert bench.writer.pending == ()
    assert bench.writer.due_in() == float("inf")


@bench_test
async def test_nothing_is_sent_without_the_lease(bench: Bench):
    bench.leader.leads = False
    bench.writer.previous("b", bench.server.meta, None)
    bench.writer.want("b", FULL)
    with pytest.raises(NotLeading):
        await bench.writer.flush()
    assert bench.wire.sent == []
    assert bench.writer.pending == ("b",)


@bench_test
async def test_names_are_quoted(bench: Bench):
    bench.writer.previous("a/b?c", Meta("u1"), None)
    bench.writer.want("a/b?c", FULL)
    await bench.writer.flush()
    assert "/watchbudgets/a%2Fb%3Fc/status?" in bench.wire.sent[0].path


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [("9", "10", True), ("10", "9", False), ("9", "9", False), ("", "9", False), ("x", "9", False)],
)
def test_older(version: str, than: str, expected: bool):
    assert older(version, than) is expected


STEP = st.tuples(
    st.sampled_from([FULL, with_violating(1), with_violating(2), with_total("9Gi"), with_starts(1)]),
    st.floats(0, 70),
    st.booleans(),
    st.sampled_from([200, 200, 404, 409, 422, 429, 500, "lost before", "lost after"]),
)


@settings(max_examples=60)
@given(st.lists(STEP, max_size=12))
def test_whatever_happens_the_last_wish_is_written_in_the_end(steps: list[Any]):
    @async_test
    async def run() -> None:
        bench = Bench()
        for status, seconds, seen, failure in steps:
            bench.server.next = [failure]
            if bench.server.writes and seen:
                await bench.want(status, after=seconds)
            else:
                bench.clock.seconds += seconds
                bench.writer.previous("b", Meta("u1", "10", 1), None)
                bench.writer.want("b", status)
                await bench.writer.flush()
        bench.server.next = []
        wish = steps[-1][0] if steps else FULL
        for _ in range(3):
            await bench.want(wish, after=70)
        assert bench.server.stored == wish
        assert bench.writer.pending == ()
        assert await bench.want(wish, after=70) == 0

    run()
