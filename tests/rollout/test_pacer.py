"""Passes of the pacer: what it gives out, holds, lets go and tells."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollout_starts import AGENT, OTHER, Cluster, pod, pods
from watchbudget.api.rollout import Rollout
from watchbudget.rollout.health import WINDOW
from watchbudget.rollout.limit import INITIAL
from watchbudget.rollout.model import Ceiling, Freed, Key, Outcome, Phase, Signals, Terms, Why
from watchbudget.rollout.pacer import HEARTBEAT, LABELS_PER_PASS, MOST_LABELS, MOST_PER_PASS, Pacer
from watchbudget.rollout.spacing import AT_ONCE, GATHER

HOLD = Ceiling().max_hold


class TestCeilings:
    def test_the_adaptive_limit_is_kept(self):
        cluster = Cluster(pods(99))
        answer = cluster.turns(0, 5)
        assert len(cluster.released) == answer.limit == answer.in_flight == INITIAL

    def test_few_at_once(self):
        cluster = Cluster(pods(99))
        assert len(cluster.turn(0).release) == AT_ONCE

    @pytest.mark.parametrize(
        ("max_starts", "ceilings", "expected"),
        [
            (3, {"default": Ceiling()}, 3),
            (0, {"default": Ceiling()}, 1),
            (1000, {"default": Ceiling(max_starts=2)}, 2),
            (1000, {"default": Ceiling(max_list_bytes=500)}, 5),
            (1000, {"default": Ceiling(max_list_bytes=99)}, 1),
        ],
    )
    def test_the_smallest_number_wins(self, max_starts, ceilings, expected):
        terms = {AGENT: Terms(("default",), list_bytes=100)}
        cluster = Cluster(pods(99), terms=terms, ceilings=ceilings, max_starts=max_starts)
        cluster.turns(0, 5)
        assert len(cluster.released) == expected

    def test_of_all_budgets_that_gate_it(self):
        ceilings = {"wide": Ceiling(max_starts=50), "narrow": Ceiling(max_starts=3)}
        terms = {AGENT: Terms(("wide", "narrow")), OTHER: Terms(("wide",))}
        starts = [*pods(50), *pods(50, "o", key=OTHER)]
        cluster = Cluster(starts, terms=terms, ceilings=ceilings)
        answer = cluster.turns(0, 5)
        assert answer.daemon_sets[AGENT].in_flight == 3
        assert answer.daemon_sets[OTHER].in_flight == INITIAL - 3
        assert answer.budgets["narrow"].in_flight == 3
        assert answer.budgets["wide"].in_flight == INITIAL

    def test_what_started_without_a_gate_does_not_count(self):
        """It has no label, so nobody shows it to the pacer; what has one does, whoever released it."""
        started = [pod(f"s{number}", Phase.STARTED) for number in range(6)]
        cluster = Cluster([*started, *pods(9)])
        cluster.turns(0, 5)
        assert len(cluster.released) == INITIAL - 6

    def test_a_pass_gives_out_so_many_and_calls_for_the_next(self):
        cluster = Cluster(pods(700), max_starts=5000, ceilings={"default": Ceiling(max_starts=5000)})
        cluster.pacer._limit._limit = 1000.0
        assert cluster.turn(0).next_pass == GATHER
        answer = cluster.turn(GATHER)
        assert len(answer.release) == MOST_PER_PASS
        assert answer.next_pass == 2 * GATHER

    def test_a_full_budget_calls_for_no_hurry(self):
        cluster = Cluster(pods(99), ceilings={"default": Ceiling(max_starts=2)})
        cluster.turn(0)
        assert cluster.turn(1).next_pass == 1 + HEARTBEAT

    def test_a_blocked_start_that_goes_on_is_taken_in_although_all_is_full(self):
        blocked = pod("late", Phase.RELEASED, scheduled=False)
        cluster = Cluster([blocked, *pods(99, since=20)], max_starts=INITIAL)
        answer = cluster.turns(20, 25)
        assert answer.budgets["default"].blocked == 1
        assert answer.in_flight == INITIAL
        cluster.move("late", Phase.STARTED, started_since=26)
        answer = cluster.turn(26)
        assert answer.in_flight == INITIAL + 1
        cluster.succeed(cluster.released[0], 27)
        assert cluster.turn(27).release == ()
        assert len(cluster.released) == INITIAL


class TestGivingOut:
    def test_what_is_given_out_is_not_given_out_again(self):
        cluster = Cluster(pods(3))
        assert len(cluster.turn(0, obey=False).release) == 3
        assert cluster.turn(1, obey=False).release == ()
        assert cluster.turn(1, obey=False).in_flight == 3

    def test_until_it_has_not_worked_for_ten_seconds_and_others_come_first(self):
        cluster = Cluster(pods(9), ceilings={"default": Ceiling(max_starts=2)})
        assert cluster.turn(0, obey=False).release == ("p0000", "p0001")
        assert cluster.turn(10, obey=False).release == ("p0002", "p0003")

    def test_a_full_house_gives_nothing(self):
        cluster = Cluster(pods(9), ceilings={"default": Ceiling(max_starts=1)})
        cluster.turn(0)
        assert cluster.turns(1, 9).release == ()

    def test_a_restart_of_the_operator_loses_nothing(self):
        cluster = Cluster(pods(99))
        cluster.turns(0, 5)
        cluster.pacer = Pacer(INITIAL)
        assert cluster.turns(6, 9).release == ()
        cluster.succeed(cluster.released[0], 10)
        assert len(cluster.turn(10).release) == 1

    def test_a_restart_among_many_labels_does_not_lift_the_limit(self):
        """They end together once `settle` has passed since the restart; nobody saw them bear anything."""
        done = [pod(f"d{number:03}", Phase.READY, since=0) for number in range(300)]
        cluster = Cluster([*done, *pods(99)])
        assert cluster.turn(1).release == ()
        assert max(cluster.turn(second).limit for second in range(2, 8)) == INITIAL

    def test_vacant_nodes_first(self):
        starts = [*pods(9), *pods(2, "vacant", vacant=True, held_since=3.0)]
        assert set(Cluster(starts).turn(4).release) >= {"vacant0000", "vacant0001"}

    def test_who_does_not_lead_gives_nothing_out_and_is_ready_to(self):
        cluster = Cluster(pods(9), leading=False)
        assert cluster.turns(0, 5).release == ()
        cluster.leading = True
        assert len(cluster.turn(6).release) == AT_ONCE

    def test_who_leads_no_more_forgets_what_it_gave_out(self):
        cluster = Cluster(pods(9))
        cluster.turn(0, obey=False)
        cluster.leading = False
        assert cluster.turn(1).in_flight == 0
        cluster.leading = True
        assert len(cluster.turn(2).release) == AT_ONCE

    def test_cuts_hold_back(self):
        cluster = Cluster(pods(99))
        cluster.turns(0, 9, signals=Signals(refused=1))
        assert len(cluster.released) == INITIAL // 2


class TestEnds:
    def test_when_one_ended_well_the_next_begins_and_its_label_stays_for_now(self):
        cluster = Cluster(pods(99))
        cluster.turns(0, 5)
        cluster.succeed("p0000", 6)
        answer = cluster.turn(6)
        assert [(news.uid, news.outcome) for news in answer.news] == [("p0000", Outcome.READY)]
        assert answer.release == ("p0008", "p0009")  # the limit grows with what ends well
        assert answer.end == ()

    def test_labels_go_when_nothing_is_in_flight_and_not_all_at_once(self):
        ended = [pod(f"e{number:03}", Phase.READY) for number in range(LABELS_PER_PASS + 2)]
        cluster = Cluster([*ended, pod("last", Phase.STARTED, since=8)])
        assert cluster.turn(9).end == ()
        cluster.succeed("last", 10)
        assert cluster.turn(20).end == tuple(start.uid for start in ended[:LABELS_PER_PASS])
        assert set(cluster.turn(21).end) == {"e010", "e011", "last"}

    def test_a_pause_does_not_keep_labels(self):
        held = pods(9)
        cluster = Cluster([*held, pod("a", Phase.READY)], terms={AGENT: Terms(("default",), paused="why")})
        assert cluster.turn(9).end == ("a",)

    def test_the_oldest_go_at_once_where_they_are_many(self):
        ended = [pod(f"e{number:03}", Phase.READY) for number in range(MOST_LABELS + 3)]
        cluster = Cluster([*ended, pod("last", Phase.STARTED, since=8)])
        assert cluster.turn(9).end == ("e000", "e001", "e002")

    def test_one_that_ended_well_takes_no_permit_again_and_fails_if_it_crashes(self):
        cluster = Cluster([pod("a", Phase.READY), pod("other", Phase.STARTED, since=8)])
        assert cluster.turn(9).in_flight == 1
        cluster.move("a", Phase.STARTED, ready_since=None)
        assert cluster.turn(10).in_flight == 1
        cluster.move("a", Phase.FAILED, restarts=1)
        answer = cluster.turn(11)
        assert [(news.uid, news.outcome) for news in answer.news] == [("a", Outcome.FAILED)]
        assert (answer.in_flight, answer.end) == (1, ())

    def test_is_answered_until_it_is_done(self):
        cluster = Cluster([pod("a", Phase.READY, since=0)])
        assert cluster.turn(9, obey=False).end == ("a",)
        again = cluster.turn(10, obey=False)
        assert (again.end, again.news) == (("a",), ())

    def test_a_failed_start_gives_its_permit_to_the_next(self):
        cluster = Cluster(pods(9), ceilings={"default": Ceiling(max_starts=1)})
        cluster.turn(0)
        cluster.move("p0000", Phase.FAILED)
        answer = cluster.turn(1)
        assert answer.release == ("p0001",)
        assert answer.end == ()
        assert answer.daemon_sets[AGENT].failing == answer.daemon_sets[AGENT].failed == 1

    def test_of_a_daemon_set_that_nothing_gates_any_more(self):
        cluster = Cluster([pod("a", Phase.READY, since=0)], terms={})
        assert cluster.turn(9).end == ("a",)


class TestPauses:
    def failing(self, **terms: object) -> Cluster:
        """Three of the first starts have failed."""
        cluster = Cluster(pods(99), terms={AGENT: replace(Terms(("default",)), **terms)})
        cluster.turns(0, 3)
        for uid in cluster.released[:3]:
            cluster.move(uid, Phase.FAILED, restarts=1)
        cluster.released.clear()
        return cluster

    def test_nothing_more_is_started_of_one_whose_starts_fail(self):
        cluster = self.failing()
        answer = cluster.turns(4, 60)
        assert cluster.released == []
        assert answer.pauses[AGENT].reason == "CrashLooping"
        assert answer.budget_pauses["default"].reason == "CrashLooping"
        assert "agents/agent: 3 of" in answer.budget_pauses["default"].message
        assert answer.daemon_sets[AGENT].failed == 3

    def test_and_nobody_is_let_go_meanwhile(self):
        cluster = self.failing()
        cluster.turns(4, 4 + 3 * HOLD, step=5)
        assert cluster.freed == []
        assert cluster.released == []

    def test_others_go_on(self):
        cluster = self.failing()
        cluster.terms[OTHER] = Terms(("default",))
        cluster.starts |= {start.uid: start for start in pods(20, "o", key=OTHER)}
        answer = cluster.turns(4, 9)
        assert cluster.released
        assert all(uid.startswith("o") for uid in cluster.released)
        assert "default" not in answer.budget_pauses

    def test_a_new_revision_begins_with_a_clean_slate(self):
        cluster = self.failing()
        cluster.turns(4, 5)
        for uid, start in cluster.starts.items():
            if start.phase is Phase.HELD:
                cluster.starts[uid] = replace(start, revision="r2", held_since=6.0)
        answer = cluster.turns(6, 9)
        assert cluster.released
        assert answer.pauses == {}

    def test_what_its_owner_has_accepted_does_not_pause(self):
        cluster = self.failing(forgiven="r1")
        assert cluster.turns(4, 9).pauses == {}
        assert cluster.released

    def test_another_revision_accepted_does_not_help(self):
        cluster = self.failing(forgiven="r0")
        assert AGENT in cluster.turns(4, 9).pauses

    def test_goes_on_when_the_failing_pods_are_gone_and_ten_minutes_past(self):
        cluster = self.failing()
        cluster.turns(4, 5)
        for uid in [uid for uid, start in cluster.starts.items() if start.restarts]:
            del cluster.starts[uid]
        answer = cluster.turn(6)
        assert answer.pauses[AGENT].reason == "StartsFailing"
        cluster.turns(7, WINDOW, step=5)
        assert cluster.released == []
        cluster.turns(WINDOW + 5, WINDOW + 9)
        assert cluster.released

    def test_a_pass_is_asked_for_when_failures_leave_the_window(self):
        cluster = Cluster([])
        cluster.pacer._health.record(0, AGENT, "r1", failed=True)
        cluster.pacer._health.record(0, AGENT, "r1", failed=True)
        cluster.pacer._health.record(0, AGENT, "r1", failed=True)
        cluster.terms[AGENT] = Terms(("default",), waves=True, revision="r1")
        assert cluster.turn(10).next_pass == WINDOW

    def test_a_crash_loop_is_known_again_after_a_restart_of_the_operator(self):
        cluster = self.failing(updated=99, revision="r1")
        cluster.turns(4, 5)
        cluster.pacer = Pacer()
        answer = cluster.turns(6, 60)
        assert cluster.released == []
        assert answer.pauses[AGENT].reason == "CrashLooping"

    def test_a_few_that_crash_among_many_that_run_do_not_pause_after_a_restart(self):
        """2 of 297 and 91 held: those that run have no label any more, only the status tells of them."""
        cluster = self.failing(updated=99 + 290, revision="r1")
        cluster.turns(4, 5)
        cluster.pacer = Pacer()
        assert cluster.turns(6, 9).pauses == {}

    def test_where_nobody_leads_failures_hold_nobody(self):
        """A standby knows little of them, and nobody shows such a pause or could end it."""
        cluster = Cluster(
            [*pods(20), *(pod(f"f{n}", Phase.FAILED, restarts=1) for n in range(3))], leading=False
        )
        cluster.turns(0, 2 * HOLD, step=1)
        assert cluster.freed == []  # another leads: it is paused, and says so
        cluster.led = False
        cluster.turns(2 * HOLD, 3 * HOLD - 2, step=1)
        assert cluster.freed == []
        assert cluster.turn(3 * HOLD + 1).pauses == {}
        assert cluster.freed

    @pytest.mark.parametrize("of_budget", [True, False])
    def test_on_purpose(self, of_budget):
        cluster = Cluster(pods(9))
        if of_budget:
            cluster.ceilings["default"] = Ceiling(paused="exam week")
        else:
            cluster.terms[AGENT] = Terms(("default",), paused="exam week")
        answer = cluster.turns(0, 3 * HOLD, step=5)
        assert cluster.released == cluster.freed == []
        assert answer.pauses[AGENT].reason == ("BudgetPaused" if of_budget else "Paused")
        assert "exam week" in answer.pauses[AGENT].message
        assert "exam week" in answer.budget_pauses["default"].message

    def test_by_its_owner_is_told_although_nothing_waits(self):
        cluster = Cluster([], terms={AGENT: Terms(("default",), paused="why")})
        assert cluster.turn(0).pauses[AGENT].reason == "Paused"

    def test_what_is_in_flight_goes_on(self):
        cluster = Cluster(pods(9))
        cluster.turn(0)
        cluster.terms[AGENT] = Terms(("default",), paused="why")
        cluster.succeed("p0000", 1)
        answer = cluster.turn(1)
        assert [(news.uid, news.outcome) for news in answer.news] == [("p0000", Outcome.READY)]
        assert answer.in_flight == AT_ONCE - 1


class TestLettingGo:
    def rate(self, cluster: Cluster, begin: float, seconds: int) -> list[int]:
        """How many go per second."""
        counts = []
        for second in range(seconds):
            before = len(cluster.freed)
            for quarter in range(4):
                cluster.turn(begin + second + quarter / 4)
            counts.append(len(cluster.freed) - before)
        return counts

    def test_when_no_budget_gates_it_any_more(self):
        for terms, ceilings in (
            ({AGENT: Terms(())}, {"default": Ceiling()}),
            ({AGENT: Terms(("default",))}, {}),
        ):
            cluster = Cluster(pods(12), terms=terms, ceilings=ceilings)
            assert self.rate(cluster, 0, 4) == [5, 5, 2, 0]
            assert cluster.released == []

    def test_in_no_haste_while_it_is_being_done(self):
        cluster = Cluster(pods(3), terms={AGENT: Terms(())})
        cluster.turn(0, obey=False)
        assert cluster.turn(1, obey=False).next_pass == 1 + HEARTBEAT

    def test_even_while_paused(self):
        cluster = Cluster(pods(3), terms={AGENT: Terms((), paused="why")})
        assert cluster.turn(0).let_go == tuple(Freed(start.uid, Why.NOT_GATED) for start in pods(3))

    def test_when_nobody_judges_its_daemon_set(self):
        cluster = Cluster(pods(12), terms={})
        cluster.turns(0, HOLD - 1, step=1)
        assert cluster.freed == []
        assert self.rate(cluster, HOLD, 2) == [5, 5]

    def test_critical_pods_unless_the_budget_holds_them(self):
        cluster = Cluster([pod("a", critical=True), pod("b")])
        answer = cluster.turn(0)
        assert answer.let_go == (Freed("a", Why.NOT_GATED),)
        assert answer.release == ("b",)
        cluster = Cluster([pod("a", critical=True)], ceilings={"default": Ceiling(gate_critical=True)})
        assert cluster.turn(0).release == ("a",)

    @pytest.mark.parametrize("leading", [True, False])
    def test_when_nothing_moves_for_max_hold_although_permits_are_free(self, leading):
        cluster = Cluster(pods(12), leading=leading)
        for second in range(int(HOLD)):
            assert cluster.turn(second, obey=False).let_go == ()
        for second in range(int(HOLD), int(HOLD) + 3):
            answer = cluster.turn(second)
            assert {freed.why for freed in answer.let_go} == {Why.NO_PROGRESS}
        assert len(cluster.freed) == 12

    def test_the_time_counts_from_where_this_replica_began(self):
        cluster = Cluster(pods(9, since=-1e6), leading=False)
        cluster.turns(0, HOLD - 1, step=1)
        assert cluster.freed == []

    def test_not_while_somebody_gives_permits(self):
        """A standby sees another's permits being taken; a long queue is no fault."""
        cluster = Cluster(pods(50), leading=False)
        for number in range(50):
            now = number * HOLD / 2
            cluster.turns(now, now + HOLD / 2 - 1, step=5)
            cluster.move(f"p{number:04}", Phase.RELEASED, permit_since=now)
            cluster.turn(now + HOLD / 2 - 0.5)
            del cluster.starts[f"p{number:04}"]
        assert cluster.freed == []

    def test_not_while_a_permit_is_in_use_elsewhere(self):
        """It may be the only one there is; but not for longer than a permit can last."""
        starts = [*pods(9), pod("s", Phase.RELEASED)]
        cluster = Cluster(starts, leading=False, ceilings={"default": Ceiling(permit_timeout=HOLD * 2)})
        cluster.turns(0, HOLD * 2 - 1, step=1)
        assert cluster.freed == []
        assert cluster.turn(HOLD * 2).let_go

    def test_a_permit_that_hangs_does_not_make_it_longer(self):
        cluster = Cluster([*pods(9), pod("s", Phase.STARTED, since=HOLD - 50)], leading=False)
        cluster.turns(0, HOLD - 1, step=1)
        assert cluster.freed == []
        assert cluster.turn(HOLD).in_flight == 1
        assert cluster.freed

    def test_of_one_daemon_set_while_another_gets_permits(self):
        """Whoever leads gives permits in turn: it is at work, and the queue is long."""
        terms = {AGENT: Terms(("default",)), OTHER: Terms(("default",))}
        cluster = Cluster([*pods(3), *pods(99, "o", key=OTHER)], terms=terms, leading=False)
        for number in range(99):
            cluster.turns(number * 20, number * 20 + 19, step=5)
            cluster.move(f"o{number:04}", Phase.RELEASED, permit_since=number * 20 + 19.0)
            if number:
                del cluster.starts[f"o{number - 1:04}"]
        assert cluster.freed == []

    def test_not_where_the_leader_has_no_permit_free(self):
        running = [pod("s", Phase.STARTED)]
        ceilings = {"default": Ceiling(max_starts=1, permit_timeout=3 * HOLD)}
        cluster = Cluster([*running, *pods(9)], ceilings=ceilings)
        cluster.turns(0, 2 * HOLD, step=1)
        assert cluster.freed == []

    def test_not_of_those_whose_budget_is_kept_free_for_a_large_list(self):
        big: Key = ("agents", "big")
        terms = {AGENT: Terms(("default",), list_bytes=20), big: Terms(("default",), list_bytes=100)}
        ceilings = {"default": Ceiling(max_list_bytes=100, max_hold=10, permit_timeout=100)}
        running = pod("s", Phase.STARTED)
        cluster = Cluster([running, *pods(50), *pods(3, "big", key=big)], terms=terms, ceilings=ceilings)
        for second in range(200):
            cluster.turn(second)
            for uid in list(cluster.released):
                if uid in cluster.starts and uid.startswith("p"):
                    cluster.succeed(uid, second)
        assert cluster.freed == []

    def test_of_one_whose_gates_cannot_be_removed_and_not_of_others(self):
        terms = {AGENT: Terms(("default",)), OTHER: Terms(("default",))}
        cluster = Cluster([*pods(3), *pods(3, "o", key=OTHER)], terms=terms)
        for second in range(int(HOLD) + 30):
            answer = cluster.turn(second, obey=False)
            for uid in answer.release:
                if uid.startswith("o"):
                    cluster.starts.pop(uid)
        assert sorted(set(cluster.freed)) == ["p0000", "p0001", "p0002"]

    def test_progress_ends_it(self):
        cluster = Cluster(pods(50), leading=False)
        cluster.turns(0, HOLD + 2, step=1)
        freed = len(cluster.freed)
        assert 0 < freed < 50
        cluster.leading = True
        cluster.turns(HOLD + 3, HOLD + 30, step=1)
        assert len(cluster.freed) <= freed + 5
        assert cluster.released


class TestNumbers:
    def test_of_budgets_and_daemon_sets(self):
        starts = [
            *pods(9, since=20),
            pod("run", Phase.STARTED, since=20),
            pod("blocked", Phase.RELEASED, since=0, scheduled=False),
            pod("failing", Phase.FAILED, since=0),
        ]
        cluster = Cluster(starts, terms={AGENT: Terms(("default",), list_bytes=1000)})
        answer = cluster.turn(20)
        budget, its = answer.budgets["default"], answer.daemon_sets[AGENT]
        assert (budget.in_flight, budget.held, budget.blocked) == (5, 9, 1)
        assert (budget.permits, budget.list_bytes) == (INITIAL, 5000)
        assert (its.in_flight, its.held, its.blocked, its.failing, its.failed) == (5, 9, 1, 1, 0)

    @pytest.mark.parametrize(
        ("terms", "ceiling", "room"),
        [
            (Terms(("default",), waves=True), Ceiling(), INITIAL - 1),
            (Terms(("default",), waves=True), Ceiling(max_starts=3), 2),
            (Terms(("default",), waves=True, list_bytes=40), Ceiling(max_list_bytes=100), 1),
            (Terms(("default",), waves=True, paused="why"), Ceiling(), 0),
            (Terms((), waves=True), Ceiling(), 0),
        ],
    )
    def test_room_for_waves(self, terms, ceiling, room):
        cluster = Cluster([pod("a", Phase.STARTED)], terms={AGENT: terms}, ceilings={"default": ceiling})
        assert cluster.turn(0).daemon_sets[AGENT].room == room

    def test_room_is_told_of_waves_that_have_no_starts(self):
        cluster = Cluster([], terms={AGENT: Terms(("default",), waves=True), OTHER: Terms(("default",))})
        answer = cluster.turn(0)
        assert answer.daemon_sets[AGENT].room == INITIAL
        assert OTHER not in answer.daemon_sets

    def test_no_room_where_own_pods_wait(self):
        cluster = Cluster(pods(99), terms={AGENT: Terms(("default",), waves=True)})
        assert cluster.turn(0).daemon_sets[AGENT].room == 0

    def test_nothing_at_all(self):
        answer = Cluster([], terms={}, ceilings={}).turn(0)
        assert (answer.release, answer.let_go, answer.budgets, answer.next_pass) == ((), (), {}, None)

    def test_while_there_are_starts_there_is_a_next_pass(self):
        assert Cluster([pod("a", Phase.FAILED)]).turn(7).next_pass == 7 + HEARTBEAT
        assert Cluster([pod("a", Phase.READY, since=6)]).turn(7).next_pass == 11

    def test_ceiling_is_what_the_budget_says(self):
        rollout = Rollout.model_validate({})
        assert Ceiling.of(rollout) == Ceiling()
        assert Ceiling.of(rollout, "why").paused == "why"


def test_odd_input_is_borne():
    """Unknown budgets, no permit time, negative lists, unknown DaemonSets, huge counts."""
    odd = replace(pod("odd", Phase.READY), permit_since=None, started_since=None, ready_since=None)
    terms = {AGENT: Terms(("x", "default", "default"), list_bytes=-5, updated=-9), OTHER: Terms(("nope",))}
    starts = [odd, pod("huge", Phase.READY, restarts=10**9), *pods(3), *pods(3, "o", key=OTHER)]
    cluster = Cluster([*starts, pod("alien", key=("", ""))], terms=terms)
    cluster.turns(0, 400, step=1)
    assert not [uid for uid, start in cluster.starts.items() if start.phase is Phase.HELD]
