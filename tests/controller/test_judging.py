"""When the fleet is judged, by what, and what holds it up or does not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fake_apiserver import async_test
from watchbudget.api.resources import NAMESPACES
from watchbudget.controller import judging as module
from watchbudget.controller.judging import Judged, Judging
from watchbudget.controller.reading import Around, Reader
from watchbudget.controller.reviews import Reviews
from watchbudget.controller.store import Kind, Store, View
from watchbudget.inventory.errors import ClusterError, ServerGone
from watchbudget.inventory.fleet import Census, DaemonSet, ResourceCensus
from watchbudget.inventory.rbac import Binding, Rbac, Subject
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.judge import Judge

DECLARED = {"watchbudget.io/watches": '{"namespaces": "all"}'}


def daemon_set(name: str, version: int = 1) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "logging", "uid": f"uid-{name}", "annotations": DECLARED}
    pod = {"containers": [{"name": "a", "image": f"i:{version}"}]}
    return {
        "metadata": metadata | {"resourceVersion": str(version), "generation": version},
        "spec": {"selector": {}, "template": {"spec": pod}},
    }


BUDGET = {"metadata": {"name": "b", "uid": "u", "resourceVersion": "1", "generation": 1}, "spec": {}}


class ScriptedReader(Reader):
    """Reads nothing; `reading` is awaited where it would."""

    def __init__(self) -> None:
        super().__init__(refresh=300.0)
        self.reads = 0
        self.reading: Callable[[], Any] | None = None

    async def read_census(self, _: object, view: View) -> None:  # type: ignore[override]
        self._counted = frozenset({NAMESPACES, *(r for b in view.budgets for r in b.spec.watched())})
        self.census = Census((ResourceCensus(NAMESPACES, 10_000, 10_000_000, "metrics"),), (1, 36))

    async def complete(self, *_: object) -> None:
        self.reads += 1
        if self.reading is not None:
            result = self.reading()
            if asyncio.iscoroutine(result):
                await result


class Authorizers:
    def __init__(self) -> None:
        self.allowed, self.asked = False, 0
        self.error: ClusterError | None = None

    async def create(self, _path: str, _body: Mapping[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.error:
            raise self.error
        return {"status": {"allowed": self.allowed}}


class Rig:
    def __init__(self) -> None:
        self.reader, self.server = ScriptedReader(), Authorizers()
        self.published: list[Judged] = []
        self.store = Store(lambda: self.judging.changed())  # noqa: PLW0108 - made below
        self.judging = Judging(
            self.store,
            self.reader,
            Reviews(),
            lambda: self.server,  # type: ignore[arg-type,return-value]
            self._publish,
        )

    async def _publish(self, judged: Judged) -> None:
        self.published.append(judged)

    def names(self, at: int = -1) -> set[str]:
        return {each.daemon_set.name for each in self.published[at].audit.judgements}

    async def calm(self) -> None:
        """Until nothing is judged any more."""
        before = -1
        while before != len(self.published):
            before = len(self.published)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def running(*names: str) -> AsyncIterator[Rig]:
    rig = Rig()
    for name in names:
        rig.store.tell(Kind.DAEMON_SET, daemon_set(name))
    task = asyncio.create_task(rig.judging.run())
    try:
        await until(lambda: rig.published)
        yield rig
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


@async_test
async def test_what_changes_is_judged_and_what_does_not_is_not():
    async with running("a") as rig:
        assert rig.names() == {"a"}
        await rig.calm()
        before = len(rig.published)
        rig.store.tell(Kind.DAEMON_SET, daemon_set("a"))
        await asyncio.sleep(0.2)
        assert len(rig.published) == before
        rig.store.tell(Kind.DAEMON_SET, daemon_set("b"))
        await until(lambda: rig.names() == {"a", "b"})
        rig.store.tell(Kind.DAEMON_SET, daemon_set("a", 9), deleted=True)
        await until(lambda: rig.names() == {"b"})
        assert rig.judging.last is rig.published[-1]


@async_test
async def test_a_burst_of_changes_from_another_thread_is_few_judgements_and_none_is_lost():
    async with running("a") as rig:
        await rig.calm()
        before = len(rig.published)

        def tell() -> None:
            for number in range(300):
                rig.store.tell(Kind.DAEMON_SET, daemon_set(f"d{number}"))

        thread = threading.Thread(target=tell)
        thread.start()
        await until(lambda: len(rig.names()) == 301)
        await rig.calm()
        thread.join()
        assert len(rig.published) - before < 60
        assert len(rig.names()) == 301


@async_test
async def test_the_judgement_and_the_snapshot_say_the_same():
    async with running("a") as rig:
        rig.store.tell(Kind.BUDGET, BUDGET)
        await until(lambda: rig.published[-1].audit.standings)
        judged = rig.published[-1]
        (item,) = judged.audit.judgements
        again = judged.snapshot.bench.judge_one(item.daemon_set, judged.snapshot.ledgers)
        assert again.findings == item.findings
        assert [finding.rule for finding in item.findings]


@async_test
async def test_a_change_while_reading_is_judged_with_or_after_it():
    async with running("a") as rig:
        await rig.calm()
        told = False

        def tell_once() -> None:
            nonlocal told
            if not told:
                told = True
                rig.store.tell(Kind.DAEMON_SET, daemon_set("late"))

        rig.reader.reading = tell_once
        before = len(rig.published)
        rig.judging.changed()
        await until(lambda: len(rig.published) > before)
        assert rig.names(before) == {"a", "late"}  # what came meanwhile is in it
        await rig.calm()
        assert rig.names() == {"a", "late"}


@async_test
async def test_what_cannot_be_read_is_judged_by_what_was_known(caplog: pytest.LogCaptureFixture):
    async with running("a") as rig:

        def fail() -> None:
            raise ServerGone("gone")

        rig.reader.reading = fail
        rig.store.tell(Kind.DAEMON_SET, daemon_set("b"))
        await until(lambda: rig.names() == {"a", "b"})
    assert "Judged by what was known before: gone" in caplog.text


@async_test
async def test_an_expected_daemon_set_does_not_wait_for_its_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SHARE", 10_000.0)  # after a judgement there is none for very long
    key, around = ("logging", "new"), Around("logging", ("logging", "new"), {})
    async with running("a") as rig:
        rig.store.tell(Kind.DAEMON_SET, daemon_set("b"))
        await asyncio.sleep(0.3)
        before = len(rig.published)
        rig.store.tell(Kind.DAEMON_SET, daemon_set("c"))
        await asyncio.sleep(0.3)
        assert len(rig.published) == before
        rig.judging.expect(key, around)
        await until(lambda: len(rig.published) > before)
        assert key in rig.published[-1].expected
        assert "c" in rig.names()


@async_test
async def test_now_and_then_without_any_change(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.05)
    async with running("a") as rig:
        await until(lambda: len(rig.published) > 4)


@async_test
async def test_authorizers_are_asked_after_the_judgement_and_only_news_is_judged_again():
    async with running("a") as rig:
        assert rig.published[0].audit.fleet.access.state == "partial"  # nobody waited for them
        await rig.calm()
        assert rig.server.asked > 0
        assert len(rig.published) == 1
        rig.server.allowed = True  # by something that no role shows
        rig.store.tell(Kind.DAEMON_SET, daemon_set("b") | {"spec": _with_account("other")})
        await until(lambda: rig.published[-1].audit.fleet.access.state == "asked")
        allowed = rig.published[-1].audit.fleet.access.allowed
        assert {question[1] for question, answer in allowed.items() if answer} == {"other"}


@async_test
async def test_authorizers_that_fail_hold_nothing_up(caplog: pytest.LogCaptureFixture):
    async with running() as rig:
        rig.server.error = ServerGone("gone")
        rig.store.tell(Kind.DAEMON_SET, daemon_set("a"))
        await until(lambda: rig.names() == {"a"})
        rig.store.tell(Kind.DAEMON_SET, daemon_set("b"))
        await until(lambda: rig.names() == {"a", "b"})
    assert "Access reviews go on later: gone" in caplog.text


@async_test
async def test_the_loop_goes_on_while_a_judgement_is_worked_out(monkeypatch: pytest.MonkeyPatch):
    """The Lease is renewed in it."""
    async with running("a") as rig:
        await rig.calm()
        entered, release = threading.Event(), threading.Event()
        decide = rig.judging._decide

        def slowly(*arguments: Any) -> Any:  # noqa: ANN401
            entered.set()
            assert release.wait(20)
            return decide(*arguments)

        monkeypatch.setattr(rig.judging, "_decide", slowly)
        rig.store.tell(Kind.DAEMON_SET, daemon_set("b"))
        await until(entered.is_set)  # the loop still turns, or this would not return
        release.set()
        await until(lambda: rig.names() == {"a", "b"})


def test_a_fault_of_ours_is_not_swallowed(caplog: pytest.LogCaptureFixture):
    """The worker logs it and begins anew."""

    @async_test
    async def run():
        rig = Rig()
        rig.reader.reading = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            await rig.judging.run()

    caplog.set_level(logging.ERROR)
    run()


def test_a_daemon_set_that_breaks_a_rule_of_ours_is_set_apart_and_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    made = Judge.appraise

    def fails_on_one(self: Judge, item: DaemonSet) -> Appraisal:
        if item.name == "odd":
            raise ZeroDivisionError
        return made(self, item)

    @async_test
    async def run():
        monkeypatch.setattr(Judge, "appraise", fails_on_one)
        async with running("a", "odd") as rig:
            rig.store.tell(Kind.DAEMON_SET, daemon_set("b"))
            await until(lambda: rig.names() == {"a", "b"})
            await rig.calm()
            monkeypatch.undo()
            rig.store.tell(Kind.DAEMON_SET, daemon_set("c"))
            await until(lambda: rig.names() == {"a", "b", "c", "odd"})

    run()
    (told,) = [each.getMessage() for each in caplog.records if "Set apart" in each.getMessage()]
    assert "DaemonSet logging/odd: could not be judged, by a fault of watchbudget" in told


def _with_account(name: str) -> dict[str, Any]:
    pod = {"serviceAccountName": name, "containers": [{"name": "a", "image": "i"}]}
    return {"selector": {}, "template": {"spec": pod}}


def test_accounts_that_lost_their_last_binding_are_remembered_for_a_while():
    def rbac(*accounts: str) -> Rbac:
        subjects = tuple(Subject("ServiceAccount", name, "ns") for name in accounts)
        return Rbac((), (Binding(None, "b", "ClusterRole", "r", subjects),))

    unbound = module._Unbound()
    assert unbound.follow(rbac("a", "b"), 0) == frozenset()
    assert unbound.follow(rbac("b"), 1) == {("ns", "a")}
    assert unbound.follow(rbac("b", "c"), 2) == {("ns", "a")}
    assert unbound.follow(rbac("a", "b"), 3) == {("ns", "c")}
    gone = rbac("a")
    assert unbound.follow(gone, 4) == {("ns", "b"), ("ns", "c")}
    assert unbound.follow(gone, 4 + module.LATELY) == frozenset()
