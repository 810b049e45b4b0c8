"""Which DaemonSets are annotated when, how fast, and what of them is never touched."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from fake_apiserver import async_test
from reporting_rig import Clock, Leader, Recording, Sent
from watchbudget.controller.annotation_writer import AnnotationWriter, Target
from watchbudget.controller.annotations import OURS
from watchbudget.controller.fenced import FencedWriter
from watchbudget.controller.lease import NotLeading
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.store import Key, Meta
from watchbudget.controller.wire import Reply, WireError

KEY = ("logging", "agent")
VERDICT, FINDINGS, CACHE, LISTED = OURS
WANTED = {VERDICT: "deny", FINDINGS: "unselective-watch", CACHE: "39Mi", LISTED: "6.4Mi"}
THEIRS = {"owner": "team-a", "watchbudget.io/watches": "{}"}


class Bench:
    """A writer, and a server of DaemonSets by key: uid, version, annotations."""

    def __init__(self) -> None:
        self.clock, self.leader = Clock(), Leader()
        self.stored: dict[Key, tuple[str, int, dict[str, str]]] = {KEY: ("u1", 10, dict(THEIRS))}
        self.next: list[int | str] = []
        self.wire = Recording(answer=self._answer)
        self.metrics = OperatorMetrics(CollectorRegistry())
        writer = FencedWriter(self.wire, self.leader, self.metrics)
        self.writer = AnnotationWriter(writer, self.clock)

    def _answer(self, request: Sent) -> Reply:
        what = self.next.pop(0) if self.next else 200
        if what == "lost":
            raise WireError("cut off")
        if isinstance(what, int) and what != 200:
            return Reply(what, {"message": "no"})
        parts = request.path.partition("?")[0].split("/")
        key = (parts[5], parts[7])
        if key not in self.stored:
            return Reply(404, {"message": "not found"})
        uid, version, annotations = self.stored[key]
        metadata = request.body["metadata"]
        if metadata["uid"] != uid:
            return Reply(422, {"message": "uid is immutable"})
        for name, text in metadata["annotations"].items():
            if text is None:
                annotations.pop(name, None)
            else:
                annotations[name] = text
        self.stored[key] = (uid, version + 1, annotations)
        return Reply(
            200, {"metadata": {"resourceVersion": str(version + 1), "annotations": dict(annotations)}}
        )

    def target(self, key: Key, wanted: dict[str, str], **meta: Any) -> Target:  # noqa: ANN401
        uid, version, annotations = self.stored[key]
        return Target(
            Meta(**({"uid": uid, "resource_version": str(version)} | meta)), dict(annotations), wanted
        )

    async def want(self, wanted: dict[str, str], *, after: float = 0.0, **meta: Any) -> int:  # noqa: ANN401
        """Want the same of all; returns how many requests went out."""
        self.clock.seconds += after
        self.writer.want({key: self.target(key, wanted, **meta) for key in self.stored})
        before = len(self.wire.sent)
        await self.writer.flush()
        return len(self.wire.sent) - before

    @property
    def annotations(self) -> dict[str, str]:
        return self.stored[KEY][2]


def bench_test(function: Any) -> Any:  # noqa: ANN401
    async def run() -> None:
        await function(Bench())

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return async_test(run)


@bench_test
async def test_the_request_names_nothing_but_uid_and_annotations_of_ours(bench: Bench):
    bench.annotations[CACHE] = "39Mi"
    bench.annotations[VERDICT] = "warn"
    assert await bench.want(WANTED) == 1
    (sent,) = bench.wire.sent
    assert (sent.method, sent.content_type) == ("PATCH", "application/merge-patch+json")
    assert sent.path == "/apis/apps/v1/namespaces/logging/daemonsets/agent?fieldManager=watchbudget"
    changed = {VERDICT: "deny", FINDINGS: "unselective-watch", LISTED: "6.4Mi"}
    assert sent.body == {"metadata": {"uid": "u1", "annotations": changed}}
    assert bench.annotations == THEIRS | WANTED
    assert bench.writer.pending == ()


@bench_test
async def test_what_is_not_wanted_any_more_is_removed(bench: Bench):
    await bench.want(WANTED)
    assert await bench.want({}) == 1
    assert bench.annotations == THEIRS
    assert await bench.want({}) == 0


@bench_test
async def test_what_is_right_is_left_alone(bench: Bench):
    bench.annotations.update(WANTED)
    assert await bench.want(WANTED) == 0
    assert bench.writer.due_in() == float("inf")


@bench_test
async def test_figures_alone_wait_for_a_minute(bench: Bench):
    await bench.want(WANTED)
    assert await bench.want(WANTED | {CACHE: "45Mi"}, after=30) == 0
    assert bench.writer.pending == (KEY,)
    assert bench.writer.due_in() == 30
    assert await bench.want(WANTED | {CACHE: "46Mi"}, after=30) == 1
    assert bench.annotations[CACHE] == "46Mi"


@bench_test
async def test_a_verdict_does_not_wait_and_takes_figures_along(bench: Bench):
    await bench.want(WANTED)
    assert await bench.want(WANTED | {CACHE: "45Mi", VERDICT: "warn"}, after=1) == 1
    assert bench.annotations[CACHE] == "45Mi"


@bench_test
async def test_watches_that_are_behind_do_not_cause_a_second_write(bench: Bench):
    behind = bench.target(KEY, WANTED)
    await bench.want(WANTED)
    bench.writer.want({KEY: behind})
    assert bench.writer.pending == ()
    # but what someone did after us is put right
    uid, version, annotations = bench.stored[KEY]
    bench.stored[KEY] = (uid, version + 1, annotations)
    del annotations[VERDICT]
    assert await bench.want(WANTED) == 1


@bench_test
async def test_one_that_is_being_deleted_or_has_no_uid_is_left_alone(bench: Bench):
    assert await bench.want(WANTED, deleting=True) == 0
    assert await bench.want(WANTED, uid="") == 0
    assert bench.writer.pending == ()


@bench_test
async def test_one_made_anew_is_not_hit(bench: Bench):
    assert await bench.want(WANTED, uid="the one before") == 1
    assert bench.annotations == THEIRS
    # as soon as the watches tell of the new one, it is annotated after the pause of a refusal
    assert await bench.want(WANTED, after=5) == 1
    assert bench.annotations == THEIRS | WANTED


@pytest.mark.parametrize(("failure", "pause"), [(404, 5), (409, 5), (422, 5), (403, 5)])
def test_a_refusal_delays_that_daemon_set_only(failure: int, pause: int):
    @async_test
    async def run() -> None:
        bench = Bench()
        bench.stored["logging", "other"] = ("u2", 5, {})
        bench.next = [failure]
        assert await bench.want(WANTED) == 2
        assert bench.stored["logging", "other"][2] == WANTED
        assert bench.writer.pending == (KEY,)
        assert bench.writer.due_in() == pause
        assert await bench.want(WANTED, after=pause - 1) == 0
        assert await bench.want(WANTED, after=1) == 1

    run()


@pytest.mark.parametrize(("failure", "lines"), [(404, 0), (409, 0), (403, 1), (503, 1)])
def test_one_that_is_gone_is_no_trouble_to_report(failure: int, lines: int, caplog: pytest.LogCaptureFixture):
    @async_test
    async def run() -> None:
        bench = Bench()
        bench.next = [failure]
        await bench.want(WANTED)

    run()
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == lines


@pytest.mark.parametrize("failure", [429, 500, 503, "lost"])
def test_an_outage_delays_all(failure: int | str):
    @async_test
    async def run() -> None:
        bench = Bench()
        bench.stored["logging", "other"] = ("u2", 5, {})
        bench.next = [failure, failure]
        assert await bench.want(WANTED) == 1
        assert await bench.want(WANTED) == 0
        assert bench.writer.due_in() == 2
        assert await bench.want(WANTED, after=2) == 1
        assert bench.writer.due_in() == 4
        assert await bench.want(WANTED, after=4) == 2
        assert bench.writer.pending == ()

    run()


@bench_test
async def test_the_rate_is_bounded(bench: Bench):
    bench.stored = {("n", f"d{index}"): (f"u{index}", 1, {}) for index in range(100)}
    assert await bench.want(WANTED) == 20
    assert bench.writer.due_in() == pytest.approx(0.05)
    sent = 20
    while bench.writer.pending:
        bench.clock.seconds += 0.5
        before = len(bench.wire.sent)
        await bench.writer.flush()
        assert len(bench.wire.sent) - before <= 10
        sent += len(bench.wire.sent) - before
    assert sent == 100
    assert bench.clock.seconds == 1004


@bench_test
async def test_one_that_is_not_wanted_any_more_is_dropped_with_what_is_known_of_it(bench: Bench):
    bench.next = [422]
    await bench.want(WANTED)
    bench.writer.want({})
    assert bench.writer.pending == ()
    await bench.want(WANTED)
    assert bench.annotations == THEIRS | WANTED


@bench_test
async def test_nothing_is_sent_without_the_lease_and_nothing_is_wanted_after_it(bench: Bench):
    bench.leader.leads = False
    with pytest.raises(NotLeading):
        await bench.want(WANTED)
    assert bench.wire.sent == []
    assert bench.writer.pending == (KEY,)
    bench.writer.forget()
    assert bench.writer.pending == ()
