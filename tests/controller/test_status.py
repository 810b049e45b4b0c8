"""From judgement to status: times, generations, figures that stay put, and a size that is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.budget_samples import FULL_STATUS
from policy_samples import CENSUS, audit, declared, fleet
from policy_samples import budget as sample
from watchbudget.api.budget import BudgetError, WatchBudget
from watchbudget.api.crd import crd
from watchbudget.api.quantity import parse_quantity
from watchbudget.api.status import (
    CONDITION_TYPES,
    Condition,
    RolloutStatus,
    Starts,
    WatchBudgetStatus,
    read_status,
)
from watchbudget.controller.status import (
    Staging,
    judged_status,
    read_budget,
    refused_status,
    unjudged_status,
)
from watchbudget.controller.status_change import Change, change
from watchbudget.inventory.fleet import Census, Fleet, Problem, Source

EARLY, LATE = "2026-11-24T12:00:00Z", "2026-11-24T13:00:00Z"
READ = Census(
    tuple(replace(entry, read_at="2026-11-24T11:59:00Z") for entry in CENSUS.resources), CENSUS.server_version
)


def budget(name: str = "test", generation: int = 3, **spec: object) -> WatchBudget:
    plain = sample(name, **spec)
    return plain.model_copy(update={"metadata": plain.metadata.model_copy(update={"generation": generation})})


def status(
    of: WatchBudget,
    items: Fleet,
    previous: WatchBudgetStatus | None = None,
    *,
    now: str = EARLY,
    **options: Any,  # noqa: ANN401
) -> WatchBudgetStatus:
    options = {"census_age": 10.0} | options
    return judged_status(of, audit(items, of), previous, now=now, **options)


def by_type(found: WatchBudgetStatus) -> dict[str, Condition]:
    return {each.type: each for each in found.conditions}


AGENTS = fleet(declared(), census=READ)


def test_a_judgement_in_full():
    of = budget(limits={"cachePerNode": "16Mi"})
    found = status(of, fleet(declared(), declared("other"), census=READ))
    assert found.observed_generation == 3
    assert [(each.type, each.status, each.reason) for each in found.conditions] == [
        ("Accepted", "True", "Valid"),
        ("Compliant", "False", "Findings"),
        ("WithinBudget", "False", "OverNodeLimit"),
        ("Progressing", "False", "NotStaged"),
        ("CensusFresh", "True", "Read"),
    ]
    assert {(each.observed_generation, each.last_transition_time) for each in found.conditions} == {
        (3, EARLY)
    }
    counts, bill = found.counts, found.bill
    assert counts is not None
    assert bill is not None
    assert (counts.governed, counts.watching, counts.violating, counts.denied) == (2, 2, 2, 2)
    assert (bill.cache_per_node, bill.cache_total) == ("79Mi", "7.7Gi")
    assert [(each.name, each.cache_per_pod, each.cache_total, each.verdict) for each in found.worst] == [
        ("agent", "39Mi", "3.8Gi", "deny"),
        ("other", "39Mi", "3.8Gi", "deny"),
    ]
    assert found.worst[0].findings == ("memory-limit-missing", "over-node-limit", "unselective-watch")
    assert [(each.resource, each.objects, each.bytes, each.read_at) for each in found.census] == [
        ("namespaces", 10_000, "6.4Mi", "2026-11-24T11:59:00Z"),
        ("networkpolicies", 10_000, "6.4Mi", "2026-11-24T11:59:00Z"),
    ]


def test_times_move_only_with_the_status():
    first = status(budget(), AGENTS)
    mild = budget(generation=4, enforcement={"action": "Audit"})
    second = status(mild, AGENTS, first, now=LATE)
    before, after = by_type(first), by_type(second)
    assert after["Compliant"].status == "True"
    assert after["Compliant"].last_transition_time == LATE
    for kind in CONDITION_TYPES:
        if kind != "Compliant":
            assert after[kind].last_transition_time == before[kind].last_transition_time == EARLY
        assert after[kind].observed_generation == 4
    # another reason and message under the same status
    third = status(mild, fleet(census=READ), second, now="2026-11-24T14:00:00Z")
    assert by_type(third)["Compliant"].reason == "NothingGoverned"
    assert by_type(third)["Compliant"].last_transition_time == LATE


def test_without_a_judgement_nothing_is_said_of_it():
    found = unjudged_status(budget(), None, now=EARLY)
    assert [each.type for each in found.conditions] == list(CONDITION_TYPES)
    stati = {kind: each.status for kind, each in by_type(found).items()}
    assert stati == {
        "Accepted": "True",
        "Compliant": "Unknown",
        "WithinBudget": "Unknown",
        "Progressing": "False",
        "CensusFresh": "Unknown",
    }
    assert found.counts is None
    assert found.bill is None


def test_a_restart_does_not_take_back_what_was_judged():
    before = status(budget(), AGENTS)
    changed = budget(generation=4)
    after = unjudged_status(changed, before, now=LATE)
    assert after == before  # the generation too: it is the one that was judged
    assert judged_status(changed, audit(AGENTS), before, now=LATE, census_age=1) == after


def test_a_refused_budget_keeps_no_figures():
    before = status(budget(), AGENTS)
    error = _error({"limits": {"cachePerNode": "much"}})
    found = refused_status(error, 5, before, now=LATE)
    assert (found.counts, found.bill, found.worst, found.census) == (None, None, (), ())
    conditions = by_type(found)
    assert conditions["Accepted"].message.endswith(
        "spec.limits.cachePerNode: 'much' is not a quantity; write a size such as 64Mi"
    )
    assert {conditions[kind].status for kind in CONDITION_TYPES[1:]} == {"Unknown"}
    assert {each.last_transition_time for each in found.conditions} == {LATE}
    assert refused_status(error, 5, found, now="2026-11-24T15:00:00Z") == found


@pytest.mark.parametrize(
    "spec",
    [
        {"enforcement": {"action": "Explode"}},
        {"enforcement": {"rules": [{"name": "rule-of-tomorrow", "action": "Deny"}]}},
        {"limits": {"cachePerRack": "1Gi"}},
        {"tomorrow": {}},
        {"daemonSetSelector": {"matchCel": "true"}},
        5,
    ],
)
def test_what_only_a_newer_version_knows_is_refused_not_half_followed(spec: object):
    assert "spec" in str(_error(spec))


def _error(spec: object) -> BudgetError:
    with pytest.raises(BudgetError) as caught:
        read_budget(raw(spec))
    return caught.value


def raw(spec: object = None, **fields: object) -> dict[str, object]:
    return {
        "apiVersion": "watchbudget.io/v1alpha1",
        "kind": "WatchBudget",
        "metadata": {"name": "b", "generation": 1, "managedFields": []},
        "spec": {} if spec is None else spec,
    } | fields


def test_a_stored_status_is_read_with_the_budget():
    assert read_budget(raw(status=FULL_STATUS)).status == WatchBudgetStatus.model_validate(FULL_STATUS)
    assert read_budget(raw()).status is None


def test_of_a_status_of_another_version_the_conditions_are_kept():
    newer = FULL_STATUS | {
        "forecast": "rain",
        "conditions": [*FULL_STATUS["conditions"], {"type": "Odd"}, 5, None],
    }
    found = read_budget(raw(status=newer)).status
    assert found is not None
    assert [each.type for each in found.conditions] == list(CONDITION_TYPES)
    assert found.counts is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*FULL_STATUS, "type", "status"]), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_stored_status_can_be_read(junk: object):
    found = read_status(junk)
    assert found is None or isinstance(found, WatchBudgetStatus)


def test_starts_and_rollouts_are_taken_as_they_come():
    staging = Staging(
        starts=Starts(in_flight=3),
        rollouts=tuple(
            RolloutStatus(namespace="n", name=f"d{index}", nodes=1, updated=0) for index in range(30)
        ),
        progressing=Condition(
            type="Progressing", status="True", last_transition_time="", reason="Starting", message="3 start"
        ),
    )
    found = status(budget(rollout={}), AGENTS, staging=staging)
    assert found.starts == staging.starts
    assert len(found.rollouts) == 20
    said = by_type(found)["Progressing"]
    assert (said.status, said.reason, said.message, said.last_transition_time, said.observed_generation) == (
        "True",
        "Starting",
        "3 start",
        EARLY,
        3,
    )


@pytest.mark.parametrize(
    ("spec", "paced", "accepted", "progressing"),
    [
        ({}, True, "Valid", "NotStaged"),
        ({"rollout": {}}, True, "Valid", "NotKnown"),
        ({"rollout": {}}, False, "RolloutNotSupported", "NotStaged"),
        ({}, False, "Valid", "NotStaged"),
    ],
)
def test_without_news_of_starts(spec: dict[str, object], paced: bool, accepted: str, progressing: str):
    conditions = by_type(status(budget(**spec), AGENTS, paced=paced))
    assert conditions["Accepted"].reason == accepted
    assert conditions["Progressing"].reason == progressing


def test_figures_stay_put_while_the_cluster_grows_a_little():
    before = status(budget(), AGENTS)
    grown = Census(
        tuple(
            replace(entry, objects=entry.objects + 30, read_at="2026-11-24T12:30:00Z")
            for entry in READ.resources
        ),
        READ.server_version,
    )
    assert status(budget(), replace(AGENTS, census=grown), before, now=LATE) == before


def test_a_reading_is_told_of_once_an_hour_or_with_new_figures():
    def read(at: str | None, objects: int = 10_000) -> Census:
        return Census(
            tuple(replace(entry, read_at=at, objects=objects) for entry in READ.resources),
            READ.server_version,
        )

    before = status(budget(), AGENTS)
    for at, objects, expected in (
        ("2026-11-24T12:58:00Z", 10_000, "2026-11-24T11:59:00Z"),
        ("2026-11-24T12:59:01Z", 10_000, "2026-11-24T12:59:01Z"),
        ("2026-11-24T12:00:00Z", 20_000, "2026-11-24T12:00:00Z"),
        ("2026-11-24T10:00:00Z", 10_000, "2026-11-24T10:00:00Z"),  # the server's clock was put back
        (None, 10_000, "2026-11-24T11:59:00Z"),
        ("noon", 10_000, "noon"),
    ):
        found = status(budget(), replace(AGENTS, census=read(at, objects)), before, now=LATE)
        assert {each.read_at for each in found.census} == {expected}


def test_what_could_not_be_read_is_counted_and_what_a_budget_did_without_is_said():
    of = budget()
    judged = audit(AGENTS, of)
    problems = (
        Problem(Source("cluster"), "broken", "DaemonSet a/b"),
        Problem(Source("budgets"), "the labels of x are not known", "WatchBudget test", severity="warning"),
        Problem(Source("budgets"), "another's", "WatchBudget other", severity="warning"),
    )
    found = by_type(judged_status(of, replace(judged, problems=problems), None, now=EARLY, census_age=1.0))
    assert found["Compliant"].message.endswith("; 1 object could not be read and judged")
    assert found["Accepted"].message == "The budget is in force; the labels of x are not known"


@settings(max_examples=20)
@given(st.integers(0, 60), st.integers(0, 10**12), st.integers(0, 10**15))
def test_any_fleet_fits_the_schema_and_is_bounded(number: int, objects: int, stored: int):
    names = ["x" * 240 + f".{index:012}" for index in range(number)]
    census = Census(
        tuple(replace(entry, objects=objects, stored_bytes=stored) for entry in READ.resources), (1, 36)
    )
    of = budget("b" * 63, limits={"cachePerPod": "1Mi"})
    found = status(of, fleet(*(declared(name, namespace="n" * 63) for name in names), census=census))
    text = json.dumps(found.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert len(text) < 16_000
    assert WatchBudgetStatus.model_validate_json(text) == found
    if found.bill is not None:
        assert parse_quantity(found.bill.cache_total) >= 0


def test_every_field_of_the_schema_can_be_written():
    """A field that status never sets would be one that `kubectl explain` promises in vain."""
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    of = budget(limits={"cachePerNode": "16Mi"})
    staging = Staging(Starts(in_flight=1), (RolloutStatus(namespace="a", name="b", nodes=1, updated=1),))
    found = status(of, AGENTS, staging=staging)
    text = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert text.keys() == schema["properties"].keys()
    for part in ("counts", "bill"):
        assert text[part].keys() == schema["properties"][part]["properties"].keys()


FULL = WatchBudgetStatus.model_validate(FULL_STATUS)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("bill", "cacheTotal"), "1.6Ti", Change.FIGURES),
        (("census", 0, "objects"), 11000, Change.FIGURES),
        (("conditions", 1, "message"), "other words", Change.FIGURES),
        (("worst", 0, "cachePerPod"), "210Mi", Change.FIGURES),
        (("starts", "inFlight"), 18, Change.STARTS),
        (("rollouts", 0, "updated"), 121, Change.STARTS),
        (("conditions", 1, "status"), "True", Change.VERDICT),
        (("conditions", 1, "reason"), "Other", Change.VERDICT),
        (("counts", "governed"), 24, Change.VERDICT),
        (("worst", 0, "verdict"), "warn", Change.VERDICT),
        (("observedGeneration",), 4, Change.VERDICT),
    ],
)
def test_how_much_is_new(path: tuple[Any, ...], value: object, expected: Change):
    changed = json.loads(json.dumps(FULL_STATUS))
    *parents, last = path
    place = changed
    for step in parents:
        place = place[step]
    place[last] = value
    assert change(FULL, WatchBudgetStatus.model_validate(changed)) is expected


def test_nothing_new_and_all_new():
    assert change(FULL, WatchBudgetStatus.model_validate(FULL_STATUS)) is Change.NONE
    assert change(None, FULL) is Change.VERDICT
