"""Permits are spread over the round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout_starts import pods
from watchbudget.rollout.grants import GRANT, LONGEST_RETRY, Grants
from watchbudget.rollout.spacing import AT_ONCE, GAIN, Spacing


def test_a_few_at_once_then_twice_the_limit_per_round():
    spacing = Spacing()
    given_out = []
    for tenth in range(101):
        room = spacing.room(tenth / 10, 20, 5.0)
        spacing.take(room)
        given_out.append(room)
    assert given_out[0] == AT_ONCE
    assert sum(given_out) == pytest.approx(AT_ONCE + GAIN * 20 / 5 * 10, abs=1)


def test_what_is_not_used_is_not_saved_up():
    spacing = Spacing()
    spacing.take(spacing.room(0, 20, 5.0))
    assert spacing.room(1000, 20, 5.0) == AT_ONCE


@given(st.integers(1, 5000), st.floats(1, 10), st.lists(st.floats(0, 5), min_size=1, max_size=50))
def test_never_more_than_its_rate_and_never_stuck(limit, seconds, waits):
    spacing, now, begun = Spacing(), 0.0, 0
    rate = GAIN * limit / seconds
    for wait in waits:
        now += wait
        room = spacing.room(now, limit, seconds)
        spacing.take(room)
        begun += room
        assert begun <= max(AT_ONCE, 0.1 * rate) + rate * now + 1e-6
    wait = spacing.wait(limit, seconds)
    assert wait <= max(0.1, 1 / rate) + 1e-6
    assert spacing.room(now + wait + 1e-6, limit, seconds) >= 1


class TestGrants:
    def test_a_permit_lasts_until_it_is_taken(self):
        grants, held = Grants(), {start.uid: start for start in pods(2)}
        grants.give(0, "p0000")
        grants.give(0, "p0001")
        grants.settle(1, {"p0001": held["p0001"]})
        assert list(grants) == ["p0001"]
        assert grants.not_now(1) == {"p0001"}

    def test_or_lapses_and_the_pod_is_tried_again_ever_later(self):
        grants, held = Grants(), {start.uid: start for start in pods(1)}
        now, waited = 0.0, []
        for _ in range(8):
            grants.give(now, "p0000")
            assert grants.next_change(now) == now + GRANT
            now += GRANT
            grants.settle(now, held)
            assert list(grants) == []
            assert grants.not_now(now) == {"p0000"}
            retry = grants.next_change(now)
            assert retry is not None
            waited.append(retry - now)
            now = retry
            assert grants.not_now(now) == set()
        assert waited == [20, 40, 80, 160, LONGEST_RETRY, LONGEST_RETRY, LONGEST_RETRY, LONGEST_RETRY]

    def test_what_is_refused_is_free_at_once_and_tried_again_ever_later(self):
        grants, now, waited = Grants(), 0.0, []
        for _ in range(8):
            grants.give(now, "p0000")
            grants.refuse(now + 1, "p0000")
            grants.refuse(now + 1, "p0000")  # said twice, it is one failure
            assert list(grants) == []
            assert grants.not_now(now + 1) == {"p0000"}
            retry = grants.next_change(now + 1)
            assert retry is not None
            waited.append(retry - now - 1)
            now = retry
        assert waited == [5, 10, 20, 40, 80, 160, LONGEST_RETRY, LONGEST_RETRY]

    def test_nobody_is_refused_who_was_given_nothing(self):
        grants = Grants()
        grants.refuse(0, "p0000")
        assert grants.not_now(0) == set()

    def test_what_is_gone_is_forgotten(self):
        grants, held = Grants(), {start.uid: start for start in pods(1)}
        grants.give(0, "p0000")
        grants.settle(GRANT, held)
        grants.settle(GRANT + 1, {})
        assert grants.next_change(GRANT + 1) is None
