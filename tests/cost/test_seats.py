"""Seats as the API server's own estimator counts them (list_work_estimator.go)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbudget.cost.seats import MAX_SEATS, seats_of_list


@pytest.mark.parametrize(
    ("objects", "stored", "version", "seats"),
    [
        (0, 0, (1, 36), 1),
        (1, 1, (1, 34), 1),
        (5000, 100_000, (1, 34), 1),  # size alone counts
        (5000, 100_001, (1, 34), 2),
        (1, 900_001, (1, 36), 10),
        (10_000, 10_464_184, (1, 36), 10),  # a cached list stops at 1 MB
        (100, 9_000_000, (1, 33), 1),  # before 1.34 the count alone counts
        (101, 1, (1, 33), 2),
        (901, 1, (1, 30), 10),
        (1_000_000, 1, (1, 30), 10),
        (5000, 100_001, None, 2),  # offline: as a current server
    ],
)
def test_seats_by_version(objects: int, stored: int, version: tuple[int, int] | None, seats: int) -> None:
    assert seats_of_list(objects, stored, version) == seats


@given(
    st.integers(0, 10**30),
    st.integers(0, 10**30),
    st.integers(0, 10**30),
    st.sampled_from([None, (1, 33), (1, 34), (2, 0)]),
)
def test_more_never_takes_fewer_seats(
    objects: int, stored: int, more: int, version: tuple[int, int] | None
) -> None:
    seats = seats_of_list(objects, stored, version)
    assert 1 <= seats <= seats_of_list(objects + more, stored + more, version) <= MAX_SEATS
