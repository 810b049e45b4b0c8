"""The cap on maxUnavailable: lowered, kept, given back; and never more than that."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_samples import CALIBRATION, NOTHING_KNOWN, TODAY, budget, declared, fleet
from watchbudget.api.budget import WatchBudget
from watchbudget.inventory.fleet import DaemonSet, UpdateStrategy
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.judge import Judge, judge
from watchbudget.policy.model import Action
from watchbudget.policy.starts import count_of
from watchbudget.rollout.cap import (
    MAX_UNAVAILABLE,
    Cap,
    Capped,
    cap_warning,
    capped,
    caps_of,
    tightest,
)

NODES = 100
CAP = 20
UNKNOWN = '{"configmaps": "all"}'


def rolling(
    value: object = None, kept: object = None, *, kind: object = "RollingUpdate", **more: object
) -> dict[str, Any]:
    """An object as the API server hands it over; `more` are further fields of rollingUpdate."""
    fields = more if value is None else {"maxUnavailable": value, **more}
    strategy = {"type": kind, "rollingUpdate": fields}
    annotations = {} if kept is None else {MAX_UNAVAILABLE: kept}
    return {"metadata": {"annotations": annotations}, "spec": {"updateStrategy": strategy}}


def written(raw: dict[str, Any], change: Capped | None) -> dict[str, Any]:
    """The object after the change."""
    raw = copy.deepcopy(raw)
    assert change is not None
    if change.value is not None:
        raw["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = change.value
    raw["metadata"]["annotations"].pop(MAX_UNAVAILABLE, None)
    if change.kept is not None:
        raw["metadata"]["annotations"][MAX_UNAVAILABLE] = change.kept
    return raw


def stored(
    raw: dict[str, Any], old: dict[str, Any] | None = None, cap: int | None = CAP, nodes: int = NODES
) -> dict[str, Any]:
    """What is stored when `raw` is sent, and the webhook asked again finds nothing to add."""
    result = written(raw, capped(raw, old, cap, nodes))
    assert written(result, capped(result, old, cap, nodes)) == result
    return result


@pytest.mark.parametrize(
    ("value", "becomes", "kept"),
    [
        (1, 1, None),
        (20, 20, None),
        (21, 20, "21"),
        (2**31 - 1, 20, "2147483647"),
        ("20%", "20%", None),
        ("21%", 20, "21%"),
        ("100%", 20, "100%"),
        (0, 0, None),
        ("0%", "0%", None),
    ],
)
def test_lowers_what_comes_to_more(value: int | str, becomes: int | str, kept: str | None):
    assert stored(rolling(value)) == rolling(becomes, kept)


def test_a_percentage_is_counted_on_todays_nodes_and_a_number_is_not():
    assert stored(rolling("100%"), nodes=20) == rolling("100%")
    assert stored(rolling(21), nodes=2) == rolling(20, "21")
    assert stored(rolling("1%"), nodes=2001) == rolling(20, "1%")


@pytest.mark.parametrize("cap", [CAP, 1, None])
@pytest.mark.parametrize(
    "raw",
    [
        rolling(100, kind="OnDelete"),
        rolling("100%", kind="OnDelete"),
        rolling(0, maxSurge="50%"),
        rolling(),
        {"metadata": {"annotations": {}}, "spec": {"updateStrategy": {"type": "OnDelete"}}},
        {"metadata": {"annotations": {}}, "spec": {}},
    ],
)
def test_without_a_number_that_means_something_nothing_is_capped(raw: dict[str, Any], cap: int | None):
    assert stored(raw, cap=cap) == raw


CAPPED = rolling(20, "100%")


@pytest.mark.parametrize("value", ["100%", "60%", 50])
def test_the_same_manifest_again_and_again_is_the_same_object(value: object):
    """kubectl apply, server-side apply and Helm send their own number each time; some drop the annotation."""
    result = None
    for keeps_annotation in (False, True, True, False):
        sent = rolling(value, str(value) if result and keeps_annotation else None)
        result = stored(sent, result)
        assert result == rolling(20, str(value))


def test_an_edit_of_something_else_keeps_the_owners_value():
    edited = copy.deepcopy(CAPPED)
    edited["spec"]["template"] = {"spec": {}}
    assert stored(edited, CAPPED) == edited


def test_another_number_of_the_owner_is_the_owners_word():
    assert stored(rolling(5, "100%"), CAPPED) == rolling(5)
    assert stored(rolling("10%", "100%"), CAPPED) == rolling("10%")
    assert stored(rolling(30, "100%"), CAPPED) == rolling(20, "30")


def test_whoever_means_the_caps_own_number_takes_the_annotation_away():
    assert stored(rolling(20), CAPPED) == rolling(20)


def test_an_exported_object_keeps_what_it_says():
    assert stored(CAPPED) == CAPPED


def test_a_lower_cap_lowers_further_and_remembers_the_owners_value():
    assert stored(CAPPED, CAPPED, cap=15) == rolling(15, "100%")


def test_a_higher_cap_is_followed_when_the_owners_number_is_sent_again():
    assert stored(CAPPED, CAPPED, cap=50) == CAPPED
    assert stored(rolling("100%", "100%"), CAPPED, cap=50) == rolling(50, "100%")


@pytest.mark.parametrize("cap", [None, 100])
def test_when_nothing_caps_it_any_more_the_owners_value_comes_back(cap: int | None):
    assert stored(CAPPED, CAPPED, cap=cap) == rolling("100%")
    assert stored(rolling(20, "50"), rolling(20, "50"), cap=cap) == rolling(50)
    assert stored(rolling(5, "100%"), CAPPED, cap=cap) == rolling(5)


def test_a_new_object_is_given_nothing_back():
    """Nobody knows whose number stands in it."""
    assert stored(CAPPED, cap=None) == rolling(20)


def test_through_on_delete_and_back_the_owners_value_is_kept():
    parked = rolling(20, "100%", kind="OnDelete")
    assert stored(parked, CAPPED) == parked
    assert stored(CAPPED, parked) == CAPPED
    assert stored(CAPPED, parked, cap=None) == rolling("100%")
    assert stored(rolling(kept="100%", kind="OnDelete"), CAPPED) == rolling(kind="OnDelete")


def test_a_surge_instead_ends_the_cap():
    assert stored(rolling(0, "100%", maxSurge=5), CAPPED) == rolling(0, maxSurge=5)


@pytest.mark.parametrize("kept", ["", "x", "-5", "1.5", "5 %", "٣", "9" * 30, "20", "5", 30, None, ["50"]])
def test_an_annotation_that_is_no_larger_value_is_not_believed(kept: object):
    raw = rolling(20, kept)
    assert stored(raw, raw, cap=None) == rolling(20)
    assert stored(raw, raw) == rolling(20)


@pytest.mark.parametrize(
    "odd", ["20", "abc", "-5%", "1.5%", "", -1, 2**31, pytest.param(10**5000, id="huge"), 1.5, True, [], {}]
)
def test_what_the_api_server_will_refuse_is_left_to_it(odd: object):
    assert capped(rolling(odd), None, CAP, NODES) is None


VALUES = st.integers(0, 300) | st.integers(0, 150).map("{}%".format)
KEPT = st.none() | VALUES.map(str) | st.text(max_size=4)
KINDS = st.sampled_from(["RollingUpdate", "OnDelete", None])
OBJECTS = st.builds(rolling, st.none() | VALUES, KEPT, kind=KINDS)


@given(OBJECTS, st.none() | OBJECTS, st.none() | st.integers(1, 200), st.integers(0, 300))
def test_never_raised_above_the_owners_word_and_never_another_type(
    raw: dict[str, Any], old: dict[str, Any] | None, cap: int | None, nodes: int
):
    change = capped(raw, old, cap, nodes)
    assert change is not None
    result = stored(raw, old, cap, nodes)
    kept = raw["metadata"]["annotations"].get(MAX_UNAVAILABLE)
    before, after = (
        each["spec"]["updateStrategy"]["rollingUpdate"].get("maxUnavailable") for each in (raw, result)
    )
    assert result["spec"]["updateStrategy"]["type"] == raw["spec"]["updateStrategy"]["type"]
    if change.value is None:
        return
    assert raw["spec"]["updateStrategy"]["type"] != "OnDelete"
    if change.value == cap and change.kept is not None:
        assert (count_of(str(before), nodes) or 0) > cap
        assert (count_of(change.kept, nodes) or 0) > cap
    else:  # given back, where nothing caps it
        assert (str(after), change.kept) == (kept, None)
        assert cap is None or (count_of(str(after), nodes) or 0) <= cap


@given(VALUES, st.integers(1, 200), st.lists(st.integers(1, 200), max_size=5), st.integers(1, 300))
def test_the_owners_value_survives_any_caps(value: int | str, first: int, others: list[int], nodes: int):
    result = stored(rolling(value), None, first, nodes)
    for cap in others:
        result = stored(result, result, cap, nodes)
    assert stored(result, result, None, nodes) == rolling(value)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(JUNK, JUNK, JUNK, JUNK, JUNK)
def test_no_junk_raises(metadata: object, spec: object, strategy: object, value: object, kept: object):
    shapes: list[dict[str, Any]] = [
        {"metadata": metadata, "spec": spec},
        {"spec": {"updateStrategy": strategy}},
        {
            "metadata": {"annotations": metadata},
            "spec": {"updateStrategy": {"type": spec, "rollingUpdate": value}},
        },
        rolling(value, kept, kind=strategy),
    ]
    for raw in shapes:
        capped(raw, rolling(kept, value), CAP, NODES)


def appraised(item: DaemonSet, *budgets: WatchBudget) -> Appraisal:
    bench = Judge(fleet(item), budgets, today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION)
    return bench.appraise(item)


def caps(item: DaemonSet, *budgets: WatchBudget) -> tuple[Cap, ...]:
    return caps_of(appraised(item, *budgets), budgets)


def test_the_tightest_of_the_budgets_that_pace_it():
    found = caps(
        declared(),
        budget("none"),
        budget("wide", rollout={"maxUnavailable": 30}),
        budget(
            "elsewhere", rollout={"maxConcurrentStarts": 1}, daemonSetSelector={"matchLabels": {"a": "b"}}
        ),
        budget(
            "of-nodes",
            rollout={"maxConcurrentStarts": 1},
            resources=[{"group": "", "resource": "nodes"}],
        ),
        budget("open", rollout={"maxConcurrentStarts": 9, "capMaxUnavailable": False}),
        budget("tight", rollout={"maxListBytesInFlight": "70M"}, enforcement={"action": "Warn"}),
        budget("equal", rollout={"maxListBytesInFlight": "70M"}),
    )
    assert [(cap.budget, cap.starts) for cap in found] == [
        ("wide", 30),
        ("open", 9),
        ("tight", 10),
        ("equal", 10),
    ]
    at_admission, for_waves = tightest(found, at_admission=True), tightest(found)
    assert at_admission is not None
    assert for_waves is not None
    assert (at_admission.budget, at_admission.action) == ("tight", Action.WARN)
    assert for_waves.budget == "open"
    assert tightest(()) is None


def test_what_watches_nothing_is_not_capped():
    careful = budget(rollout={"gateUncertain": True})
    assert caps(declared(watches='{"namespaces": "none"}'), budget(rollout={})) == ()
    assert caps(declared(watches="{}"), budget(rollout={})) == ()
    assert caps(declared(watches="{}"), careful) != ()


def test_the_finding_agrees_with_the_cap():
    """What admission has lowered is not too wide, under any number of budgets."""
    budgets = [
        budget("a", rollout={"maxUnavailable": 30}),
        budget("b", rollout={"maxConcurrentStarts": 7}),
    ]
    for namespace in ("logging", "kube-system"):
        wide = declared(namespace=namespace, update_strategy=UpdateStrategy("RollingUpdate", "100%", "0"))
        (judgement,) = judge(
            fleet(wide), budgets, today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION
        ).judgements
        said = {
            each.budget: each.remedy.text for each in judgement.findings if each.rule == "rollout-too-wide"
        }
        assert said == {"a": "Set maxUnavailable to 30 or less.", "b": "Set maxUnavailable to 7 or less."}
        cap = tightest(caps(wide, *budgets), at_admission=True)
        assert cap is not None
        lowered = declared(
            namespace=namespace, update_strategy=UpdateStrategy("RollingUpdate", str(cap.starts), "0")
        )
        (judgement,) = judge(
            fleet(lowered), budgets, today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION
        ).judgements
        assert "rollout-too-wide" not in {finding.rule for finding in judgement.findings}


def told(raw: dict[str, Any], **spec: Any) -> tuple[str, ...]:  # noqa: ANN401 - fields of a budget
    of = budget("platform", **({"rollout": {}, "enforcement": {"action": "Warn"}} | spec))
    return cap_warning(raw, appraised(declared(), of), (of,))


@pytest.mark.parametrize(
    ("rollout", "cap", "why"),
    [
        ({}, 20, "rollout.maxUnavailable is 20"),
        ({"maxUnavailable": 7, "maxConcurrentStarts": 7}, 7, "rollout.maxUnavailable is 7"),
        ({"maxConcurrentStarts": 12}, 12, "maxConcurrentStarts is 12"),
        ({"maxListBytesInFlight": "70M"}, 10, "maxListBytesInFlight 67 MiB has room for 10 lists of 6.4 MiB"),
        ({"maxListBytesInFlight": "1Mi"}, 1, "a list of 6.4 MiB runs alone (maxListBytesInFlight 1 MiB)"),
    ],
)
def test_says_what_was_lowered_by_whom_and_why(rollout: dict[str, object], cap: int, why: str):
    (line,) = told(rolling(cap, "100%"), rollout=rollout)
    assert line == (
        f"WatchBudget platform: maxUnavailable lowered from 100% to {cap}: {why}, and pods that wait would "
        "leave their nodes without the agent"
    )
    assert len(line) <= 256


def test_a_cap_that_has_grown_is_told():
    (line,) = told(rolling(5, "100%"))
    assert line == (
        "WatchBudget platform: maxUnavailable lowered from 100% to 5 at an earlier cap; it is 20 now: "
        "set maxUnavailable again to follow"
    )


def test_there_is_no_word_below_warn_and_none_where_nothing_is_capped():
    assert told(rolling(20, "100%"), enforcement={"action": "Deny"})
    for action in ("Audit", "Annotate"):
        assert told(rolling(20, "100%"), enforcement={"action": action}) == ()
    assert told(rolling(20, "100%"), rollout={"capMaxUnavailable": False}) == ()
    assert told(rolling(20)) == ()
    assert told(rolling(20, "100%", kind="OnDelete")) == ()
    assert told({}) == ()
