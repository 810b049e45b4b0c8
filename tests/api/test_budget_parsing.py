import datetime as dt
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.budget_samples import FULL_STATUS, INVALID, VALID, Invalid, budget
from watchbudget.api.budget import BudgetError, WatchBudget, parse_budget
from watchbudget.api.resources import DEFAULT_WATCHED, GroupResource

MI = 2**20


def errors_of(raw: object, *, strict: bool = True) -> list[str]:
    with pytest.raises(BudgetError) as refusal:
        parse_budget(cast("Mapping[str, object]", raw), strict=strict)
    return [str(each) for each in refusal.value.errors]


def test_an_empty_spec_is_harmless():
    spec = parse_budget(budget({})).spec
    assert spec.enforcement.action == "Audit"
    assert spec.enforcement.minimum_evidence == "catalogue"
    assert spec.enforcement.rules == ()
    assert spec.watched() == DEFAULT_WATCHED
    assert (spec.limits.cache_per_pod, spec.limits.cache_per_node, spec.limits.cache_total) == (
        None,
        None,
        None,
    )
    assert spec.rollout is None
    assert spec.daemon_set_selector.matches({"any": "label"})


def test_an_empty_rollout_has_the_documented_defaults():
    rollout = parse_budget(budget({"rollout": {}})).spec.rollout
    assert rollout is not None
    assert rollout.model_dump() == {
        "gate": True,
        "gateUncertain": False,
        "maxConcurrentStarts": 100,
        "maxUnavailable": 20,
        "maxListBytesInFlight": 512 * MI,
        "capMaxUnavailable": True,
        "queueLists": True,
        "maxHold": 300,
        "permitTimeout": 120,
        "settle": 5,
        "gateCritical": False,
        "pauseAfterFailures": 5,
    }


def test_a_name_is_bounded_as_a_whole_and_not_in_its_parts():
    assert parse_budget(budget({}, "x" * 253)).name == "x" * 253
    assert errors_of(budget({}, "x" * 254)) == ["metadata.name: may not be longer than 253 characters"]


def test_reads_sizes_as_bytes_and_times_as_seconds():
    raw = {
        "limits": {"cachePerPod": "64Mi", "cachePerNode": "1.5e9", "cacheTotal": 2**40},
        "rollout": {"maxHold": "1m30s", "settle": "250ms", "pauseAfterFailures": "12%"},
        "resources": [{"group": "", "resource": "pods"}],
    }
    spec = parse_budget(budget(raw)).spec
    assert (spec.limits.cache_per_pod, spec.limits.cache_per_node, spec.limits.cache_total) == (
        64 * MI,
        1_500_000_000,
        2**40,
    )
    assert spec.rollout is not None
    assert (spec.rollout.max_hold, spec.rollout.settle, spec.rollout.pause_after_failures) == (90, 0.25, 12)
    assert spec.watched() == (GroupResource("", "pods"),)


@pytest.mark.parametrize("spec", VALID.values(), ids=VALID)
@pytest.mark.parametrize("strict", [True, False])
def test_accepts_what_is_valid(spec: object, strict: bool):
    assert parse_budget(budget(spec, "b"), strict=strict).name == "b"


@pytest.mark.parametrize("sample", INVALID, ids=lambda sample: sample.name)
def test_refuses_what_is_not_and_names_the_field(sample: Invalid):
    errors = errors_of(budget(sample.spec))
    assert any(error.startswith(sample.field) and sample.ours in error for error in errors), errors


def test_all_errors_are_told_at_once():
    raw = budget({"limits": {"cachePerPod": "64Mb"}, "enforcement": {"action": "warn"}, "rollouts": {}})
    fields = [error.partition(":")[0] for error in errors_of(raw)]
    assert fields == ["spec.limits.cachePerPod", "spec.enforcement.action", "spec.rollouts"]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], "a WatchBudget is a mapping, not list"),
        (None, "a WatchBudget is a mapping, not NoneType"),
        ({}, "metadata: is required"),
        (budget({}) | {"metadata": {}}, "metadata.name: is required"),
        (budget({}, "No Name"), "metadata.name: 'No Name' is not a name"),
        (budget({}) | {"kind": "Budget"}, "kind: 'Budget' is not one of 'WatchBudget'"),
        (budget({}) | {"apiVersion": "watchbudget.io/v2"}, "apiVersion: 'watchbudget.io/v2' is not one of"),
        (
            budget({}) | {"limits": {}},
            "limits: there is no such field; there are apiVersion, kind, metadata, spec",
        ),
        (budget({1: 2}), "spec[1]: a field's name must be text"),
    ],
)
def test_refuses_what_is_no_such_object(raw: object, says: str):
    assert any(error.startswith(says) for error in errors_of(raw)), errors_of(raw)


def test_hostile_depth_and_size_end_in_a_short_message():
    deep: Any = "x"
    for _ in range(5000):
        deep = {"limits": deep}
    assert errors_of(budget(deep)) == ["is nested deeper than 32 levels"]
    many = budget({"exemptions": [{"bad": i} for i in range(100_000)]})
    assert errors_of(many) == ["has more than 50000 values"]
    exemption = {"namespace": "a", "name": "b", "rules": ["*"], "reason": "r"}
    assert errors_of(budget({"exemptions": [exemption] * 257})) == [
        "spec.exemptions: may have at most 256 entries"
    ]
    wide = errors_of(budget({f"field{i}": 0 for i in range(10_000)}))
    assert len(wide) == 51
    assert wide[-1] == "and 9950 more errors"
    long = errors_of(budget({"limits": {"cachePerPod": "9" * 10**6}, "rollout": {"maxHold": "9" * 10**6}}))
    assert max(map(len, long)) < 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = (
    "daemonSetSelector namespaceSelector resources limits enforcement rollout exemptions rules matchLabels"
    " cachePerPod maxHold settle until pauseAfterFailures matchExpressions"
)


@given(
    st.recursive(
        _JSON,
        lambda inner: st.dictionaries(st.sampled_from(_FIELDS.split()), inner) | st.lists(inner, max_size=2),
        max_leaves=10,
    ),
    st.booleans(),
)
def test_anything_is_a_budget_or_a_budget_error(spec: object, strict: bool):
    try:
        result: object = parse_budget(budget(spec), strict=strict)
    except BudgetError as error:
        result = error
    assert isinstance(result, WatchBudget) or str(result)


class TestFromACluster:
    """Not strict: what a newer version wrote must not stop an older one."""

    def test_unknown_fields_are_ignored(self):
        raw = budget({"limits": {"cachePerPod": "1Mi", "new": None}, "status": 1}) | {"newest": 1}
        assert parse_budget(raw, strict=False).spec.limits.cache_per_pod == MI

    def test_other_errors_are_not(self):
        raw = budget({"limits": {"cachePerPod": "1Mb"}, "newer": {"a": 1}})
        assert errors_of(raw, strict=False) == ["spec.limits.cachePerPod: '1Mb' is not a quantity; write 1Mi"]

    def test_metadata_keeps_what_we_need(self):
        raw = budget({})
        raw["metadata"] |= {"uid": "u", "generation": 3, "managedFields": [{}], "annotations": {"a": "b"}}
        metadata = parse_budget(raw, strict=False).metadata
        assert (metadata.uid, metadata.generation, metadata.annotations) == ("u", 3, {"a": "b"})

    def test_status_is_read(self):
        status = parse_budget(budget({}) | {"status": FULL_STATUS}, strict=False).status
        assert status is not None
        assert status.counts is not None
        assert status.counts.violating == 4
        assert status.model_dump(exclude_none=True) == {
            key: tuple(value) if isinstance(value, list) else value for key, value in FULL_STATUS.items()
        } | {"worst": ({**FULL_STATUS["worst"][0], "findings": ("memory-limit-missing", "over-node-limit")},)}

    @pytest.mark.parametrize(
        "status", [[], {"counts": 3}, {"conditions": [{"type": 1}]}, {"newer": 1, "worst": 1}]
    )
    def test_a_broken_status_counts_as_none(self, status: object):
        assert parse_budget(budget({}) | {"status": status}, strict=False).status is None

    def test_a_status_in_a_file_is_not_read(self):
        assert parse_budget(budget({}) | {"status": {"counts": "nonsense"}}).status is None


class TestExemption:
    def exemption(self, **more: object):
        spec = {"namespace": "kube-system", "name": "cni", "rules": ["*"], "reason": "r"} | more
        return parse_budget(budget({"exemptions": [spec]})).spec.exemptions[0]

    @pytest.mark.parametrize(
        ("today", "active"),
        [("2027-01-30", True), ("2027-01-31", True), ("2027-02-01", False), ("2030-01-01", False)],
    )
    def test_holds_through_the_end_of_its_last_day(self, today: str, active: bool):
        assert self.exemption(until="2027-01-31").active(dt.date.fromisoformat(today)) is active

    def test_without_a_day_it_holds_for_good(self):
        assert self.exemption().active(dt.date(2999, 12, 31))

    def test_takes_dates_that_a_yaml_reader_made(self):
        assert self.exemption(until=dt.date(2027, 1, 31)).until == dt.date(2027, 1, 31)

    @pytest.mark.parametrize(
        "until", [dt.datetime(2027, 1, 31, tzinfo=dt.UTC), 20270131, "20270131", "2027-W05-7"]
    )
    def test_takes_no_other_spelling(self, until: object):
        with pytest.raises(BudgetError, match="is not a date; write one such as 2027-01-31"):
            self.exemption(until=until)

    def test_covers_its_own_daemon_set_and_rules_only(self):
        every, one = self.exemption(), self.exemption(rules=["duplicate-watch"])
        assert every.covers("kube-system", "cni", "over-pod-limit")
        assert one.covers("kube-system", "cni", "duplicate-watch")
        assert not one.covers("kube-system", "cni", "over-pod-limit")
        assert not every.covers("kube-system", "cni-node", "over-pod-limit")
        assert not every.covers("default", "cni", "over-pod-limit")


def test_models_are_values():
    spec = parse_budget(budget({})).spec
    with pytest.raises(ValueError, match="frozen"):
        spec.limits = spec.limits
