"""When starts fail too often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout_starts import AGENT, OTHER, pod
from watchbudget.rollout.health import WINDOW, Health
from watchbudget.rollout.model import Pause, Phase


def health(well: int = 0, failed: int = 0, at: float = 0.0) -> Health:
    its = Health()
    for _ in range(well):
        its.record(at, AGENT, "r1", failed=False)
    for _ in range(failed):
        its.record(at, AGENT, "r1", failed=True)
    return its


def pause(
    its: Health, *, revision="r1", key=AGENT, percent=5, in_flight=0, failing=0, begun=0
) -> Pause | None:
    pods = [pod(f"f{number}", Phase.FAILED) for number in range(failing)]
    return its.pause(key, revision, percent, in_flight=in_flight, failing=pods, begun=begun)


class TestStartsFailing:
    @pytest.mark.parametrize(
        ("well", "failed", "in_flight", "paused"),
        [
            (0, 2, 0, False),  # all, and fewer than three
            (0, 3, 0, True),
            (57, 3, 0, True),  # 3 of 60 are 5%
            (58, 3, 0, False),
            (0, 3, 58, False),  # nothing is said against those under way
            (0, 3, 57, True),
            (950, 50, 0, True),
            (951, 50, 0, False),
        ],
    )
    def test_at_the_share_and_at_least_three(self, well, failed, in_flight, paused):
        found = pause(health(well, failed), in_flight=in_flight)
        assert (found is not None) is paused
        assert found is None or found.reason == "StartsFailing"

    @pytest.mark.parametrize(("percent", "paused"), [(0, True), (1, True), (2, False), (100, False)])
    def test_the_share_is_the_budgets(self, percent, paused):
        assert (pause(health(197, 3), percent=percent) is not None) is paused

    def test_for_ten_minutes(self):
        its = health(failed=3, at=100)
        its.forget(100 + WINDOW - 0.1)
        assert pause(its) is not None
        assert its.next_forgotten() == 100 + WINDOW
        its.forget(100 + WINDOW)
        assert pause(its) is None
        assert its.failed() == {}
        assert its.next_forgotten() is None

    def test_of_one_revision_and_one_daemon_set(self):
        its = health(failed=3)
        assert pause(its, revision="r2") is None
        assert pause(its, key=OTHER) is None

    def test_counts_failures_of_all_revisions(self):
        its = health(failed=3)
        its.record(0, AGENT, "r2", failed=True)
        its.record(0, OTHER, "r1", failed=True)
        assert its.failed() == {AGENT: 4, OTHER: 1}

    def test_says_what_and_what_to_do(self):
        found = pause(health(27, 3), failing=1)
        assert found is not None
        for part in ("3 of 30 starts", "pod-f0", "5%", "resume"):
            assert part in found.message


class TestCrashLooping:
    def test_as_long_as_it_lasts_although_all_began_long_ago(self):
        found = pause(health(), failing=3, begun=60)
        assert found is not None
        assert found.reason == "CrashLooping"
        assert "3 of 60" in found.message

    @pytest.mark.parametrize(
        ("failing", "begun", "paused"), [(2, 2, False), (3, 0, True), (3, 60, True), (3, 61, False)]
    )
    def test_by_the_share_of_all_that_were_started(self, failing, begun, paused):
        assert (pause(health(), failing=failing, begun=begun) is not None) is paused

    def test_a_few_of_many_starts_are_no_reason(self):
        assert pause(health(well=97, failed=2), failing=3) is None

    def test_names_some_of_them(self):
        found = pause(health(), failing=30, begun=60)
        assert found is not None
        assert "pod-f0, pod-f1, pod-f10, …" in found.message
        assert len(found.message) < 300


@given(
    st.lists(st.tuples(st.floats(0, 2000), st.booleans()), max_size=60),
    st.integers(0, 100),
    st.integers(0, 50),
)
def test_is_exactly_what_the_window_holds(events, percent, in_flight):
    its, now = Health(), 2000.0
    for when, failed in sorted(events):
        its.record(when, AGENT, "r1", failed=failed)
        its.forget(when)
    its.forget(now)
    recent = [failed for when, failed in events if when > now - WINDOW]
    expected = sum(recent) >= 3 and 100 * sum(recent) >= percent * (len(recent) + in_flight)
    assert (pause(its, percent=percent, in_flight=in_flight) is not None) is expected
