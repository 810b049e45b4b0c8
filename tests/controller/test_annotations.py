"""Annotations of a judged DaemonSet: when there are any, what they say, and that others stay."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policy_samples import TODAY, budget, declared, fleet, only
from watchbudget.api.budget import WatchBudget
from watchbudget.api.quantity import parse_quantity
from watchbudget.controller.annotations import OURS, VERDICT, annotation_patch, annotations_of
from watchbudget.policy.model import Action, Finding, Judgement, Remedy
from watchbudget.policy.rules import RULES

WANTED = dict.fromkeys(OURS, "x")


def judged(*budgets: WatchBudget) -> Judgement:
    return only(fleet(declared()), *budgets, today=TODAY)


def with_action(action: str, **enforcement: object) -> WatchBudget:
    return budget(enforcement={"action": action, **enforcement})


def test_says_verdict_findings_and_rounded_figures():
    assert annotations_of(judged(with_action("Deny"))) == {
        "watchbudget.io/verdict": "deny",
        "watchbudget.io/findings": "memory-limit-missing,unselective-watch",
        "watchbudget.io/cache-per-pod": "39Mi",
        "watchbudget.io/list-bytes-per-start": "6.4Mi",
    }


@pytest.mark.parametrize(
    ("action", "verdict"), [("Audit", None), ("Annotate", "allow"), ("Warn", "warn"), ("Deny", "deny")]
)
def test_begins_at_annotate(action: str, verdict: str | None):
    assert annotations_of(judged(with_action(action))).get(VERDICT) == verdict


def test_a_rule_of_its_own_action_is_named_only_if_it_reaches_annotate():
    mixed = with_action("Audit", rules=[{"name": "unselective-watch", "action": "Annotate"}])
    assert annotations_of(judged(mixed))["watchbudget.io/findings"] == "unselective-watch"


def test_exempted_and_clean_ones_have_none():
    exemption = {"namespace": "logging", "name": "agent", "rules": ["*"], "reason": "known"}
    assert annotations_of(judged(budget(exemptions=[exemption]))) == {}
    assert annotations_of(judged()) == {}


def test_one_budget_at_annotate_is_enough_and_each_rule_is_named_once():
    several = (budget("a"), budget("b"), budget("c", enforcement={"action": "Audit"}))
    assert annotations_of(judged(*several)) == annotations_of(judged(budget("a")))


def test_what_rests_on_rbac_alone_shows_what_it_may_come_to():
    judgement = judged(budget())
    bill = judgement.bill
    uncertain = replace(
        bill,
        cache_per_pod=0,
        list_bytes_per_start=0,
        cache_per_pod_up_to=bill.cache_per_pod,
        list_bytes_per_start_up_to=bill.list_bytes_per_start,
    )
    assert annotations_of(replace(judgement, bill=uncertain)) == annotations_of(judgement)


def test_every_rule_of_many_budgets_stays_short():
    findings = tuple(
        Finding(rule.id, f"b{number}", Action.DENY, "m", Remedy("r"))
        for rule in RULES
        for number in range(50)
    )
    text = annotations_of(replace(judged(budget()), findings=findings))["watchbudget.io/findings"]
    assert len(text) < 512
    assert text.split(",") == sorted(rule.id for rule in RULES)


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_figures_are_quantities_within_five_percent(cache: int, listed: int):
    judgement = judged(budget())
    bill = replace(judgement.bill, cache_per_pod=cache + 1, list_bytes_per_start=listed + 1)
    found = annotations_of(replace(judgement, bill=bill))
    assert parse_quantity(found["watchbudget.io/cache-per-pod"]) == pytest.approx(cache + 1, rel=0.06)
    assert parse_quantity(found["watchbudget.io/list-bytes-per-start"]) == pytest.approx(listed + 1, rel=0.06)


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"annotations": {}}])
def test_absent_null_and_empty_annotations_can_be_added_to(metadata: dict[str, Any]):
    raw = {"metadata": metadata}
    patch = annotation_patch(raw, WANTED)
    assert {operation["op"] for operation in patch} == {"add"}
    assert jsonpatch.apply_patch(raw, patch) == {"metadata": {"annotations": WANTED}}


def test_nothing_to_change_is_no_patch():
    assert annotation_patch({"metadata": {"annotations": dict(WANTED)}}, WANTED) == ()
    assert annotation_patch({"metadata": {}}, {}) == ()


@pytest.mark.parametrize("raw", [{}, {"metadata": None}, {"metadata": 5}, {"metadata": {"annotations": "x"}}])
def test_what_has_no_place_for_annotations_is_left_alone(raw: dict[str, Any]):
    assert annotation_patch(raw, WANTED) == ()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
OTHERS = ["a/b", "a~1b", "~", "", "watchbudget.io/watches", "watchbudget.io/verdict/x", "é"]


@given(
    st.dictionaries(st.sampled_from([*OURS, *OTHERS]) | st.text(max_size=5), JUNK),
    st.dictionaries(st.sampled_from(OURS), st.text(max_size=5)),
)
def test_ours_become_what_is_wanted_and_others_stay(present: dict[str, Any], wanted: dict[str, str]):
    raw = {"metadata": {"name": "agent", "annotations": present}, "spec": {}}
    before = copy.deepcopy(raw)
    patched = jsonpatch.apply_patch(raw, annotation_patch(raw, wanted))
    others = {name: value for name, value in present.items() if name not in OURS}
    assert patched["metadata"] == {"name": "agent", "annotations": others | wanted}
    assert raw == before
