"""The adaptive limit: fast down, slow up, between one and its ceiling, and never stuck."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchbudget.rollout.limit import (
    IDLE,
    INITIAL,
    LEAST_TROUBLE,
    LONGEST_ROUND,
    MOST_TROUBLE,
    QUEUED,
    STALE,
    TOLERANCE,
    AdaptiveLimit,
)
from watchbudget.rollout.model import Signals

CEILING = 100
ODD = [None, 0.0, 0.003, 0.05, 0.2, 1.5, 30.0, -1.0, math.nan, math.inf, 1e300]


def rounds(
    limit: AdaptiveLimit, begin: float, count: int, latency: float | None, *, used: float = 1.0
) -> list[int]:
    """So many rounds of two seconds in which as many starts end well as the limit lets run."""
    values = []
    for number in range(count):
        ended = max(1, round(used * limit.value))
        values.append(
            limit.update(
                begin + 2 * number,
                Signals(latency=latency),
                ceiling=CEILING,
                in_flight=0 if used == 0 else ended,
                ended=(2.0,) * (ended if used else 0),
            )
        )
    return values


def idle(limit: AdaptiveLimit, latency: float, begin: float = 0.0, seconds: int = 60) -> float:
    """Time in which nothing of ours is in flight, with a probe every second; its end."""
    for second in range(seconds):
        limit.update(begin + second, Signals(latency=latency), ceiling=CEILING, in_flight=0)
    return begin + seconds


class TestQueued:
    """Where the API server itself answers the lists a few at a time."""

    @staticmethod
    def begin(limit: AdaptiveLimit, now: float, *, queued: bool, latency: float = 0.005) -> int:
        return limit.update(now, Signals(latency), ceiling=CEILING, in_flight=0, queued=queued)

    def test_it_begins_wide(self):
        limit = AdaptiveLimit()
        now = idle(limit, 0.005)
        assert self.begin(limit, now, queued=True) == QUEUED

    def test_but_not_beyond_the_ceiling(self):
        limit = AdaptiveLimit()
        idle(limit, 0.005)
        assert limit.update(60, Signals(0.005), ceiling=9, in_flight=0, queued=True) == 9

    def test_nor_before_anything_is_known_of_the_server(self):
        limit = AdaptiveLimit()
        assert limit.update(0, Signals(), ceiling=CEILING, in_flight=0, queued=True) == INITIAL

    def test_nor_while_the_server_is_slow(self):
        limit = AdaptiveLimit()
        now = idle(limit, 0.005)
        assert self.begin(limit, now + 5, queued=True, latency=5.0) <= INITIAL

    def test_others_begin_as_always_afterwards(self):
        limit = AdaptiveLimit()
        now = idle(limit, 0.005)
        self.begin(limit, now, queued=True)
        assert self.begin(limit, now + 1, queued=False) == INITIAL

    def test_also_when_the_first_are_under_way_before_it_is_known(self):
        """The FlowSchema is written when the DaemonSet has been judged, a moment after its first pods."""
        limit = AdaptiveLimit()
        now = idle(limit, 0.005)
        limit.update(now, Signals(0.005), ceiling=CEILING, in_flight=INITIAL)
        update = limit.update(now + 1, Signals(0.005), ceiling=CEILING, in_flight=INITIAL, queued=True)
        assert update == QUEUED

    def test_what_has_been_learnt_since_is_not_forgotten(self):
        limit = AdaptiveLimit()
        now = idle(limit, 0.005)
        limit.update(now, Signals(0.005, refused=1), ceiling=CEILING, in_flight=INITIAL)
        for second in (1, 2):
            update = limit.update(
                now + second, Signals(0.005), ceiling=CEILING, in_flight=INITIAL // 2, queued=True
            )
            assert update == INITIAL // 2

    def test_others_that_join_do_not_list_as_wide(self):
        limit = AdaptiveLimit()
        now = idle(limit, 0.005)
        begun = self.begin(limit, now, queued=True)
        assert limit.update(now + 1, Signals(0.005), ceiling=CEILING, in_flight=begun) == INITIAL

    def test_trouble_cuts_it_as_always(self):
        limit = AdaptiveLimit()
        now = idle(limit, 0.005)
        begun = self.begin(limit, now, queued=True)
        cut = limit.update(now + 1, Signals(0.005, refused=1), ceiling=CEILING, in_flight=begun, queued=True)
        assert cut == begun // 2


class TestGrowth:
    def test_doubles_per_round_while_the_server_is_calm(self):
        assert rounds(AdaptiveLimit(), 0, 4, 0.005) == [2 * INITIAL, 4 * INITIAL, 8 * INITIAL, CEILING]

    def test_not_without_news_of_the_server(self):
        assert set(rounds(AdaptiveLimit(), 0, 5, None)) == {INITIAL}

    def test_not_on_old_news(self):
        limit = AdaptiveLimit()
        limit.update(0, Signals(latency=0.005), ceiling=CEILING, in_flight=INITIAL)
        assert rounds(limit, STALE + 1, 3, None) == [INITIAL] * 3

    def test_not_while_it_is_not_used(self):
        assert set(rounds(AdaptiveLimit(), 0, 5, 0.005, used=0.1)) == {INITIAL}

    def test_not_by_time_alone(self):
        assert set(rounds(AdaptiveLimit(), 0, 5, 0.005, used=0)) == {INITIAL}

    def test_slowly_once_the_server_shows_signs(self):
        limit = AdaptiveLimit()
        values = rounds(limit, 0, 10, 0.5 * LEAST_TROUBLE)
        assert all(0 < after - before <= 2 for before, after in pairwise(values))

    def test_never_in_the_band_below_trouble(self):
        assert set(rounds(AdaptiveLimit(), 0, 5, 0.9 * LEAST_TROUBLE)) == {INITIAL}


class TestCuts:
    def test_when_the_server_is_slow_by_as_much_as_it_is(self):
        for latency, expected in ((1.5 * LEAST_TROUBLE, 1 / math.sqrt(1.5)), (100 * LEAST_TROUBLE, 0.5)):
            limit = AdaptiveLimit()
            rounds(limit, 0, 4, 0.005)
            before = limit.value
            limit.update(20, Signals(latency=latency), ceiling=CEILING, in_flight=before)
            assert limit.value == int(before * expected)

    def test_once_per_round(self):
        limit = AdaptiveLimit()
        rounds(limit, 0, 4, 0.005)
        slow = Signals(latency=4 * LEAST_TROUBLE)
        values = [limit.update(20 + tenth / 10, slow, ceiling=CEILING, in_flight=100) for tenth in range(30)]
        assert set(values) == {50, 25}  # a start takes two seconds here

    @pytest.mark.parametrize("signals", [Signals(refused=1), Signals(timeouts=1)])
    def test_half_per_second_on_refusals_and_timeouts(self, signals):
        limit = AdaptiveLimit()
        rounds(limit, 0, 4, 0.005)
        values = [limit.update(20 + half / 2, signals, ceiling=CEILING, in_flight=100) for half in range(5)]
        assert values == [50, 50, 25, 25, 12]

    def test_one_slow_probe_among_quick_ones_is_chance(self):
        limit = AdaptiveLimit()
        rounds(limit, 0, 4, 0.005)
        limit.update(20, Signals(latency=0.005), ceiling=CEILING, in_flight=100)
        assert limit.update(21, Signals(latency=5 * LEAST_TROUBLE), ceiling=CEILING, in_flight=100) == CEILING

    def test_what_was_borne_is_come_back_to_quickly_and_passed_slowly(self):
        limit = AdaptiveLimit()
        rounds(limit, 0, 4, 0.005)
        for second in range(10):
            limit.update(20 + second, Signals(refused=9), ceiling=CEILING, in_flight=100)
        assert limit.value == 1
        values = rounds(limit, 40, 12, 0.005)
        assert values[5] >= 50  # half of it: doubling
        assert all(after - before <= 10 for before, after in pairwise(values[6:]))


class TestBaseline:
    def test_noise_of_a_quick_server_is_no_trouble(self):
        limit = AdaptiveLimit()
        now = idle(limit, 0.000_05)
        assert limit.trouble == LEAST_TROUBLE
        assert rounds(limit, now, 3, 0.02)[-1] == 8 * INITIAL

    def test_is_learnt_while_nothing_of_ours_is_in_flight(self):
        limit = AdaptiveLimit()
        now = idle(limit, 0.06)
        assert limit.trouble == pytest.approx(TOLERANCE * 0.06)
        assert rounds(limit, now, 1, 0.1)[0] > INITIAL

    def test_is_not_learnt_from_our_own_load(self):
        limit = AdaptiveLimit()
        idle(limit, 0.02)
        trouble = limit.trouble
        for second in range(300):
            limit.update(60 + second, Signals(latency=0.9), ceiling=CEILING, in_flight=20)
            if limit.value < 2:
                break
        assert limit.trouble == trouble

    def test_the_first_seconds_after_our_last_start_do_not_count(self):
        limit = AdaptiveLimit()
        limit.update(0, Signals(), ceiling=CEILING, in_flight=1)
        limit.update(1, Signals(latency=0.5), ceiling=CEILING, in_flight=0)
        assert limit.trouble == LEAST_TROUBLE

    def test_a_second_is_always_trouble(self):
        limit = AdaptiveLimit()
        now = idle(limit, 5.0, seconds=600)
        assert limit.trouble == MOST_TROUBLE
        assert rounds(limit, now, 1, 1.5)[0] < INITIAL

    def test_follows_the_server_both_ways(self):
        limit = AdaptiveLimit()
        now = idle(limit, 0.08, seconds=700)
        assert limit.trouble == pytest.approx(TOLERANCE * 0.08)
        idle(limit, 0.005, begin=now, seconds=700)
        assert limit.trouble == LEAST_TROUBLE

    def test_a_slow_server_first_met_under_load_is_not_taken_for_a_loaded_one_for_ever(self):
        limit = AdaptiveLimit()
        values = rounds(limit, 0, 120, 1.5 * LEAST_TROUBLE)
        assert min(values) == 1
        assert values[-1] > INITIAL


class TestIdle:
    def test_begins_anew_after_a_while_and_knows_what_was_borne(self):
        limit = AdaptiveLimit()
        rounds(limit, 0, 4, 0.005)
        now = idle(limit, 0.005, begin=10, seconds=int(IDLE) + 5)
        assert limit.value == INITIAL
        assert rounds(limit, now, 3, 0.005)[-1] == 8 * INITIAL

    def test_a_short_rest_changes_nothing(self):
        limit = AdaptiveLimit()
        rounds(limit, 0, 4, 0.005)
        idle(limit, 0.005, begin=10, seconds=int(IDLE) // 2)
        assert limit.value == CEILING

    def test_does_not_raise_a_limit_that_was_cut(self):
        limit = AdaptiveLimit()
        limit.update(0, Signals(refused=1), ceiling=CEILING, in_flight=INITIAL)
        idle(limit, 0.005, begin=1, seconds=int(IDLE) + 5)
        assert limit.value == INITIAL // 2


signals = st.builds(
    Signals,
    latency=st.sampled_from(ODD),
    refused=st.sampled_from([0, 0, 0, 1, 1000]),
    timeouts=st.sampled_from([0, 0, 0, 1]),
)
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.05, 1.0, 7.0, 400.0]),
        signals,
        st.integers(0, 200),
        st.lists(st.sampled_from([0.0, 0.4, 3.0, 1e9]), max_size=5),
        st.integers(-1, 300),
        st.booleans(),
    ),
    max_size=60,
)


def play(limit: AdaptiveLimit, sequence: list) -> float:
    now = 0.0
    for passed, seen, in_flight, ended, ceiling, queued in sequence:
        now += passed
        value = limit.update(
            now, seen, ceiling=ceiling, in_flight=in_flight, ended=tuple(ended), queued=queued
        )
        assert 1 <= value <= max(1, ceiling)
        assert LEAST_TROUBLE <= limit.trouble <= MOST_TROUBLE
    return now


@given(steps)
def test_is_always_between_one_and_its_ceiling(sequence):
    play(AdaptiveLimit(), sequence)


@given(steps)
def test_recovers_from_any_sequence_of_signals(sequence):
    limit = AdaptiveLimit()
    now = play(limit, sequence)
    assert rounds(limit, now + 2 * LONGEST_ROUND, 60, 0.005)[-1] == CEILING


@settings(max_examples=30)
@given(steps, st.floats(0.0, 0.12))
def test_recovers_on_a_server_that_is_slower_than_before(sequence, latency):
    limit = AdaptiveLimit()
    now = play(limit, sequence)
    now = idle(limit, latency, begin=now + 2 * LONGEST_ROUND, seconds=700)
    assert rounds(limit, now, 60, latency)[-1] == CEILING


@given(steps)
def test_comes_down_from_anywhere_within_seconds(sequence):
    limit = AdaptiveLimit()
    now = play(limit, sequence) + 2
    for second in range(10):
        limit.update(now + second, Signals(refused=1), ceiling=CEILING, in_flight=100)
    assert limit.value == 1
