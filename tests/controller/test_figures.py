"""Figures of two digits that stay put."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policy_samples import TODAY, budget, declared, fleet, only
from watchbudget.api.quantity import parse_quantity
from watchbudget.controller.annotations import annotations_of
from watchbudget.controller.figures import figure, steady, steady_annotations, steady_count
from watchbudget.policy.model import Judgement

SIZES = st.integers(0, 2**70)


@given(SIZES)
def test_figures_fit_the_schema_whatever_their_size(size: int):
    assert len(figure(size)) <= 16
    assert "e" not in figure(size)


@given(SIZES, SIZES | st.none())
def test_what_is_shown_is_right_within_a_little(size: int, before: int | None):
    shown = steady(size, None if before is None else figure(before))
    assert parse_quantity(shown) == pytest.approx(min(size, 2**63 - 1), rel=0.07, abs=1)


@given(st.integers(1, 2**60))
def test_a_swing_of_less_than_a_percent_is_not_shown(size: int):
    shown = figure(size)
    for percent in (99, 100, 101):
        assert steady(size * percent // 100, shown) in (shown, figure(size * percent // 100))
    assert steady(size + size // 200, shown) == shown
    assert steady_count(size + size // 200, steady_count(size, None)) == steady_count(size, None)


def test_what_grew_is_shown():
    assert steady(110 * 2**20, "100Mi") == "110Mi"
    assert steady(104 * 2**20, "100Mi") == "100Mi"
    assert steady_count(12_000, 10_000) == 12_000
    assert steady_count(0, 10_000) == 0
    assert steady(0, "100Mi") == "0"
    assert steady(915, "910") == "910"  # 99 percent of it are more than 905


def judged(cache: int, listed: int, action: str = "Deny") -> Judgement:
    judgement = only(fleet(declared()), budget(enforcement={"action": action}), today=TODAY)
    return replace(judgement, bill=replace(judgement.bill, cache_per_pod=cache, list_bytes_per_start=listed))


MIB = 2**20


def test_annotations_keep_figures_that_are_about_right():
    before = annotations_of(judged(100 * MIB, 10 * MIB))
    assert steady_annotations(judged(106 * MIB, 10 * MIB), before) == before  # by itself: 110Mi
    grown = steady_annotations(judged(112 * MIB, 10 * MIB), before)
    assert grown == before | {"watchbudget.io/cache-per-pod": "110Mi"}
    assert steady_annotations(judged(106 * MIB, 10 * MIB), {})["watchbudget.io/cache-per-pod"] == "110Mi"


def test_a_new_verdict_is_never_held_back_and_a_clean_bill_takes_all_away():
    before = annotations_of(judged(100 * MIB, 10 * MIB))
    warned = steady_annotations(judged(106 * MIB, 10 * MIB, "Warn"), before)
    assert warned == before | {"watchbudget.io/verdict": "warn"}
    assert steady_annotations(judged(106 * MIB, 10 * MIB, "Audit"), before) == {}
