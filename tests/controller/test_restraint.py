"""Token buckets and growing pauses, by a clock that the test moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reporting_rig import Clock
from watchbudget.controller.restraint import Backoff, TokenBucket


@given(st.lists(st.floats(0, 3), max_size=200), st.integers(1, 20), st.floats(0.1, 50))
def test_never_more_than_burst_and_rate_allow(pauses: list[float], burst: int, rate: float):
    clock = Clock()
    bucket, taken, began = TokenBucket(rate, burst, clock), 0, clock.seconds
    for pause in pauses:
        clock.seconds += pause
        taken += bucket.take()
        assert taken <= burst + rate * (clock.seconds - began) + 1e-6


def test_wait_says_when_there_is_one():
    clock = Clock()
    bucket = TokenBucket(2.0, 1, clock)
    assert bucket.wait() == 0
    assert bucket.take()
    assert not bucket.take()
    assert bucket.wait() == 0.5
    clock.seconds += 0.5
    assert bucket.take()


def test_pauses_double_up_to_the_longest_and_end_with_success():
    clock = Clock()
    pause = Backoff(2, 10, clock)
    lengths = []
    for _ in range(4):
        pause.failed()
        lengths.append(pause.until - clock.seconds)
    assert lengths == [2, 4, 8, 10]
    pause.succeeded()
    assert pause.until < clock.seconds
    pause.failed()
    assert pause.until - clock.seconds == 2
