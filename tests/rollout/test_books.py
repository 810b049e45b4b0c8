"""How long a permit lasts, and what a start has come to."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollout_starts import AGENT, pod
from watchbudget.rollout.books import LIST_RATE, RECOVERED_AFTER, Account, Books, Ledger, Rules
from watchbudget.rollout.model import Ceiling, Outcome, Phase, Start, Terms

CEILINGS = {"default": Ceiling(settle=5, permit_timeout=120)}


TERMS = Terms(("default",))


def read(books: Books, now: float, *starts: Start, terms: Terms = TERMS) -> Ledger:
    return books.read(now, starts, {AGENT: Rules.of(terms, CEILINGS)}, CEILINGS)


def outcome(now: float, start: Start, books: Books | None = None) -> Outcome | None:
    """What is told of a start for the first time; None while it has its permit."""
    ledger = read(books or Books(), now, start)
    assert (ledger.total == 1) is (not ledger.news)
    return ledger.news[0].outcome if ledger.news else None


class TestAPermitLasts:
    def test_until_settled_although_it_is_ready_at_once(self):
        start = pod("a", Phase.READY, since=10)
        assert outcome(14.9, start) is None
        assert outcome(15, start) is Outcome.READY

    def test_until_ready_although_it_is_settled(self):
        start = pod("a", Phase.STARTED, since=10)
        assert outcome(129.9, start) is None
        assert outcome(20, replace(start, phase=Phase.READY, ready_since=20)) is Outcome.READY

    def test_as_long_as_its_list_is_estimated_to_take(self):
        terms = Terms(("default",), list_bytes=int(30 * LIST_RATE))
        start = pod("a", Phase.READY, since=0)
        assert read(Books(), 29, start, terms=terms).total == 1
        assert read(Books(), 30, start, terms=terms).total == 0

    def test_no_longer_than_the_timeout_whatever_the_estimate(self):
        terms = Terms(("default",), list_bytes=10**18)
        assert Rules.of(terms, CEILINGS).lasts == 120

    def test_longer_than_the_timeout_if_it_was_ready_in_time(self):
        start = pod("a", Phase.READY, since=0)
        start = replace(start, started_since=118, ready_since=119)
        assert outcome(121, start) is None
        assert outcome(123, start) is Outcome.READY

    def test_by_the_strictest_of_its_budgets(self):
        ceilings = {
            "a": Ceiling(settle=7, permit_timeout=60, max_hold=500, pause_after_failures=9),
            "b": Ceiling(settle=3, permit_timeout=90, max_hold=400, pause_after_failures=5),
        }
        rules = Rules.of(Terms(("a", "b", "gone", "a")), ceilings)
        assert (rules.budgets, rules.lasts, rules.permit_timeout) == (("a", "b"), 7, 60)
        assert (rules.max_hold, rules.percent) == (400, 5)

    def test_by_the_defaults_where_no_budget_is_left(self):
        assert Rules.of(Terms(("gone",)), CEILINGS) == Rules.of(None, {})


class TestAPermitIsGivenBack:
    def test_when_no_node_takes_the_pod(self):
        start = pod("a", Phase.RELEASED, since=10, scheduled=False)
        assert outcome(24.9, start) is None
        assert outcome(25, start) is Outcome.BLOCKED

    def test_when_no_container_runs_in_time(self):
        start = pod("a", Phase.RELEASED, since=10)
        assert outcome(129.9, start) is None
        assert outcome(130, start) is Outcome.BLOCKED

    def test_and_taken_again_with_all_its_time_when_its_containers_start(self):
        books = Books()
        start = pod("a", Phase.RELEASED, since=0, scheduled=False)
        assert outcome(15, start, books) is Outcome.BLOCKED
        # Scheduled, but not started: still not in the books.
        assert read(books, 100, replace(start, scheduled=True)).blocked == {AGENT: 1}
        start = replace(start, phase=Phase.STARTED, scheduled=True, started_since=110)
        assert outcome(229, start, books) is None
        assert outcome(230, start, books) is Outcome.TIMED_OUT

    def test_and_taken_again_by_an_operator_that_did_not_see_it_blocked(self):
        start = pod("a", Phase.STARTED, since=0)
        assert outcome(310, replace(start, started_since=200)) is None

    def test_told_once(self):
        books = Books()
        start = pod("a", Phase.RELEASED, since=0)
        assert outcome(120, start, books) is Outcome.BLOCKED
        assert read(books, 121, start).news == []


class TestAStartFails:
    @pytest.mark.parametrize(
        "start",
        [
            pod("a", Phase.FAILED, since=0),
            pod("a", Phase.STARTED, since=0, restarts=1),
            pod("a", Phase.READY, since=0, restarts=1),
            pod("a", Phase.RELEASED, since=0, restarts=1),
        ],
    )
    def test_at_its_first_restart(self, start):
        assert outcome(1, start) is Outcome.FAILED

    def test_when_it_is_not_ready_in_time(self):
        assert outcome(120, pod("a", Phase.STARTED, since=0)) is Outcome.TIMED_OUT

    def test_and_keeps_its_label_and_no_permit_until_it_has_recovered(self):
        books = Books()
        assert outcome(1, pod("a", Phase.FAILED, since=0), books) is Outcome.FAILED
        ready = pod("a", Phase.READY, since=100, restarts=1)
        for now in (100, 100 + RECOVERED_AFTER - 0.1):
            ledger = read(books, now, ready)
            assert (ledger.total, ledger.ended, ledger.news) == (0, [], [])
            assert ledger.failing == {(AGENT, "r1"): [ready]}
        ledger = read(books, 100 + RECOVERED_AFTER, ready)
        assert ledger.ended == ["a"]
        assert [news.outcome for news in ledger.news] == [Outcome.RECOVERED]

    def test_again_when_it_crashes_while_it_recovers(self):
        books = Books()
        ready = pod("a", Phase.READY, since=0, restarts=1)
        assert read(books, 60, ready).ended == ["a"]
        assert read(books, 61, replace(ready, phase=Phase.FAILED, restarts=2)).ended == []

    def test_between_two_crashes_it_is_ready_and_not_recovered(self):
        books = Books()
        for restarts in range(1, 5):
            begin = restarts * 50.0
            crashing = pod("a", Phase.READY, since=begin, restarts=restarts)
            assert read(books, begin + 49, crashing).ended == []

    def test_late_readiness_takes_no_permit(self):
        books = Books()
        start = pod("a", Phase.STARTED, since=0)
        assert outcome(120, start, books) is Outcome.TIMED_OUT
        late = replace(start, phase=Phase.READY, ready_since=121)
        assert read(books, 122, late).total == 0
        assert read(books, 121 + RECOVERED_AFTER, late).ended == ["a"]


class TestBooks:
    def test_a_start_out_of_sight_is_gone(self):
        books = Books()
        read(books, 1, pod("a", Phase.STARTED, since=0), pod("b", Phase.FAILED, since=0))
        assert [(news.uid, news.outcome) for news in read(books, 2).news] == [("a", Outcome.GONE)]
        assert read(books, 3).news == []

    def test_how_long_starts_took_that_ended_well(self):
        books, started = Books(), pod("a", Phase.STARTED, since=2)
        assert read(books, 3, started, pod("b", Phase.FAILED, since=2)).lasted == []
        ready = replace(started, phase=Phase.READY, ready_since=4)
        assert read(books, 9, ready, pod("b", Phase.FAILED, since=2)).lasted == [7]

    def test_how_long_one_took_that_was_ready_at_first_sight_is_not_known(self):
        ledger = read(Books(), 9, pod("a", Phase.READY, since=2))
        assert (ledger.ended, ledger.lasted) == (["a"], [])

    def test_what_changes_next(self):
        ledger = read(
            Books(), 1, pod("a", Phase.READY, since=0), pod("b", Phase.RELEASED, since=0, scheduled=False)
        )
        assert ledger.next_change == 5

    def test_a_permit_counts_in_every_budget(self):
        ceilings = {"x": Ceiling(), "y": Ceiling(), "z": Ceiling()}
        rules = {AGENT: Rules.of(Terms(("x", "y"), list_bytes=7), ceilings)}
        starts = [pod("a", Phase.STARTED, since=0), pod("b", Phase.STARTED, since=0)]
        ledger = Books().read(1, starts, rules, ceilings)
        taken = {name: (account.taken, account.bytes) for name, account in ledger.accounts.items()}
        assert taken == {"x": (2, 14), "y": (2, 14), "z": (0, 0)}
        assert ledger.total == 2


class TestAccount:
    @pytest.mark.parametrize(
        ("taken", "held_bytes", "list_bytes", "room"),
        [
            (0, 0, 0, 20),
            (19, 500, 0, 1),
            (25, 500, 0, 0),
            (2, 60, 20, 2),
            (2, 60, 41, 0),
            (0, 0, 1000, 1),  # larger than all there is: alone
            (1, 1, 1000, 0),
            (1, 1000, 1, 0),  # while one of that size runs
            (1, 1000, 0, 19),
        ],
    )
    def test_room(self, taken, held_bytes, list_bytes, room):
        assert Account(20, 100, taken, held_bytes).room(list_bytes) == room
