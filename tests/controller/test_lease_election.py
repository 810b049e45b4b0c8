"""The elector against a simulated API server, with every order of requests, answers, losses and pauses."""

from __future__ import annotations

import datetime as dt
import logging
import types
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_apiserver import async_test
from watchbudget.controller.lease import Durations, Elector, NotLeading
from watchbudget.controller.wire import Reply, WireError


class Store:
    """One Lease, with the API server's optimistic concurrency, and PUT that creates."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.log: list[str] = []

    def handle(self, method: str, path: str, body: Any) -> Reply:  # noqa: ANN401
        self.log.append(method)
        if method == "GET":
            return Reply(200, self.lease) if self.lease else Reply(404, {"message": "not found"})
        if method == "POST" and self.lease:
            return Reply(409, {"message": "exists"})
        now = self.lease["metadata"] if self.lease else {"uid": ""}
        if method == "PUT" and any(body["metadata"].get(key, value) != value for key, value in now.items()):
            return Reply(409, {"message": "modified"})  # one that is gone is made anew, unless a uid is given
        self.version += 1
        metadata = {"name": "leader", "uid": now["uid"] or f"u{self.version}"}
        self.lease = {**body, "metadata": metadata | {"resourceVersion": str(self.version)}}
        return Reply(200, self.lease)


@dataclass
class Pending:
    """A request between an elector and the store."""

    call: tuple[str, str, Any]
    reply: Reply | None = None


class Wire:
    """Hands every request to whoever drives the elector."""

    @types.coroutine
    def request(
        self, method: str, path: str, body: object = None, **_: object
    ) -> Generator[Pending, Reply | None, Reply]:
        reply = yield Pending((method, path, body))
        if reply is None:
            raise WireError("cut off")
        return reply


@dataclass
class Candidate:
    """An elector whose every step is driven by hand, with a clock of its own rate."""

    name: str
    store: Store
    rate: float = 1.0
    time: float = 0.0
    step: Coroutine[Pending, Reply | None, None] | None = None
    pending: Pending | None = None
    late: list[Pending] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.elector = Elector(Wire(), "wb", "leader", self.name, clock=lambda: self.time)  # type: ignore[arg-type]

    def advance(self, seconds: float) -> None:
        self.time += seconds * self.rate

    def begin(self) -> None:
        if self.step is None:
            self.step = self.elector.step()  # type: ignore[assignment]
            self._send(None)

    def arrive(self) -> None:
        """The request reaches the server."""
        if self.pending and self.pending.reply is None:
            self.pending.reply = self.store.handle(*self.pending.call)

    def answer(self) -> None:
        """The answer reaches the elector."""
        if self.pending and self.pending.reply:
            self._send(self.pending.reply)

    def cut(self) -> None:
        """The elector gives up waiting; a request that has not arrived may still do so later."""
        if self.pending:
            if self.pending.reply is None:
                self.late.append(self.pending)
            self._send(None)

    def straggle(self) -> None:
        if self.late:
            self.store.handle(*self.late.pop(0).call)

    def whole_step(self) -> None:
        self.begin()
        while self.step:
            self.arrive()
            self.answer()

    def _send(self, reply: Reply | None) -> None:
        assert self.step
        try:
            self.pending = self.step.send(reply)
        except StopIteration:
            self.step = self.pending = None


def leaders(*candidates: Candidate) -> list[str]:
    return [one.name for one in candidates if one.elector.leading()]


actions = st.sampled_from(
    ["whole_step"] * 3 + ["begin", "arrive", "arrive", "answer", "answer", "cut", "straggle"]
)
pauses = st.sampled_from([0.5, 2.0, 5.0, 9.5, 15.1])
events = st.lists(
    st.tuples(st.integers(0, 1), actions)
    | pauses
    | st.tuples(st.integers(0, 1), actions)
    | st.just("delete"),
    min_size=10,
    max_size=60,
)


@settings(max_examples=1000, deadline=None)
@given(events, st.floats(1.0, 1.4))
def test_never_two_lead_whatever_is_lost_late_or_paused(happenings: list[Any], skew: float):
    """A pause is a candidate that nothing happens to while the clocks go on; clocks differ in rate by less
    than lease / renew = 1.5, which is what the durations tolerate."""
    store = Store()
    both = [Candidate("a", store), Candidate("b", store, rate=skew)]
    both[0].whole_step()
    both[1].whole_step()
    for event in happenings:
        if event == "delete":
            store.lease = None
        elif isinstance(event, float):
            for one in both:
                one.advance(event)
        else:
            getattr(both[event[0]], event[1])()
        assert len(leaders(*both)) < 2, (event, store.lease)


def test_the_first_leads_at_once_and_the_second_waits():
    store = Store()
    a, b = Candidate("a", store), Candidate("b", store)
    for _ in range(20):
        a.whole_step()
        b.whole_step()
        assert leaders(a, b) == ["a"]
        for one in (a, b):
            one.advance(2)
    assert b.elector.holder == a.elector.identity


def test_a_leader_renews_with_one_request():
    store = Store()
    a = Candidate("a", store)
    a.whole_step()
    a.whole_step()
    assert store.log == ["GET", "POST", "PUT"]


def test_another_takes_over_when_the_lease_is_unchanged_for_its_duration():
    store = Store()
    a, b = Candidate("a", store), Candidate("b", store)
    a.whole_step()
    b.whole_step()
    b.advance(15)
    b.whole_step()
    assert leaders(b) == []
    b.advance(0.1)
    b.whole_step()
    assert leaders(b) == ["b"]
    assert store.lease
    assert store.lease["spec"]["leaseTransitions"] == 1


def test_after_a_pause_it_is_deposed_before_it_hears_of_anyone():
    a = Candidate("a", Store())
    a.whole_step()
    a.elector.fence()
    a.advance(60)
    with pytest.raises(NotLeading, match=r"a_.* does not hold the Lease leader"):
        a.elector.fence()


def test_an_answer_that_comes_late_counts_from_its_question():
    a = Candidate("a", Store())
    a.begin()
    a.arrive()
    a.answer()
    a.arrive()
    a.advance(60)
    a.answer()
    assert leaders(a) == []


def test_waking_up_it_looks_again_before_it_takes_over():
    store = Store()
    a, b = Candidate("a", store), Candidate("b", store)
    a.whole_step()
    b.whole_step()
    for one in (a, b):
        one.advance(60)
    a.whole_step()  # renewed while b slept
    b.whole_step()
    assert leaders(a, b) == ["a"]


def test_released_it_goes_over_at_once():
    store = Store()
    a, b = Candidate("a", store), Candidate("b", store)
    a.whole_step()
    b.whole_step()
    a.step = a.elector.release()  # type: ignore[assignment]
    a._send(None)
    assert leaders(a) == []
    a.arrive()
    a.answer()
    b.whole_step()
    assert leaders(a, b) == ["b"]


def test_a_lease_that_names_us_though_we_do_not_lead_is_waited_for():
    store = Store()
    a = Candidate("a", store)
    a.begin()
    a.arrive()
    a.answer()
    a.arrive()
    a.cut()  # the Lease is made, and we do not know it
    a.whole_step()
    assert leaders(a) == []
    a.advance(15.1)
    a.whole_step()
    assert leaders(a) == ["a"]


def test_a_lease_that_was_deleted_is_made_anew_and_nobody_leads_until_the_one_before_is_over():
    store = Store()
    a, b = Candidate("a", store), Candidate("b", store)
    for one in (a, b):
        one.whole_step()
    store.lease = None
    b.whole_step()
    assert (leaders(a, b), bool(store.lease)) == (["a"], True)
    a.whole_step()
    assert leaders(a, b) == []
    for one in (a, b):
        one.advance(15.1)
    b.whole_step()
    assert leaders(a, b) == ["b"]


def test_without_progress_it_does_not_renew():
    alive, store = [True], Store()
    a, b = Candidate("a", store), Candidate("b", store)
    a.elector._still_alive = lambda: alive[0]
    a.whole_step()
    alive[0] = False
    for _ in range(9):
        for one in (a, b):
            one.advance(2)
            one.whole_step()
    assert leaders(a, b) == ["b"]


def test_two_with_one_name_are_two():
    store = Store()
    a, b = Candidate("same", store), Candidate("same", store)
    a.whole_step()
    b.whole_step()
    assert len(leaders(a, b)) == 1


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": 7}, {"leaseDurationSeconds": "x"}, []])
def test_a_lease_that_holds_nonsense_is_taken_in_the_end(spec: object):
    store = Store()
    store.lease = {"metadata": {"resourceVersion": "0", "uid": "u"}, "spec": spec}
    a = Candidate("a", store)
    a.whole_step()
    a.advance(16)
    a.whole_step()
    assert leaders(a) == ["a"]


def test_a_longer_lease_of_another_version_is_respected():
    store = Store()
    a, b = Candidate("a", store), Candidate("b", store)
    a.elector._durations = Durations(60, 40, 2)
    a.whole_step()
    b.whole_step()
    for one in (a, b):
        one.advance(39)
    b.whole_step()
    assert leaders(a, b) == ["a"]


def test_what_is_refused_is_said_once(caplog: pytest.LogCaptureFixture):
    store = Store()
    store.handle = lambda *_: Reply(403, {"message": "leases is forbidden"})  # type: ignore[method-assign]
    a = Candidate("a", store)
    with caplog.at_level(logging.WARNING):
        a.whole_step()
        a.whole_step()
    assert [r.getMessage() for r in caplog.records] == [
        "The Lease leader: GET leader: leases is forbidden (HTTP 403)"
    ]


def test_durations_that_cannot_work_are_refused():
    for wrong in ((10, 10, 2), (15, 2, 2), (15, 10, 0)):
        with pytest.raises(ValueError, match="is needed"):
            Durations(*wrong)


@async_test
async def test_times_are_written_in_utc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "America/New_York")
    store = Store()
    Candidate("a", store).whole_step()
    assert store.lease
    written = dt.datetime.fromisoformat(store.lease["spec"]["renewTime"])
    assert abs(dt.datetime.now(dt.UTC) - written) < dt.timedelta(seconds=5)
    assert store.lease["spec"]["leaseDurationSeconds"] == 15
