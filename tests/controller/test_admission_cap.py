"""maxUnavailable through both webhooks: what is stored, what is annotated, what is said."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller_reviews import body
from policy_samples import CALIBRATION, NOTHING_KNOWN, TODAY, budget, fleet
from watchbudget.api.budget import WatchBudget
from watchbudget.controller.admission import Snapshot, mutate, validate
from watchbudget.controller.review import AdmissionResponse, parse
from watchbudget.policy.judge import Judge
from watchbudget.rollout.cap import MAX_UNAVAILABLE

UNTOUCHED = AdmissionResponse(allowed=True)
PACED = budget("paced", rollout={}, enforcement={"action": "Warn"})
QUIET = budget("quiet", rollout={}, enforcement={"action": "Audit"})
UNPACED = budget("unpaced", enforcement={"action": "Audit"})


def snapshot_of(*budgets: WatchBudget, nodes: int = 100) -> Snapshot:
    bench = Judge(fleet(nodes=nodes), budgets, today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION)
    return Snapshot(bench, bench.ledgers([]))


def agent(value: object = "100%", *, nodes: int | None = None, **strategy: object) -> dict[str, Any]:
    """A DaemonSet that watches all namespaces by its owner's word, as the API server hands it over."""
    raw: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": "agent",
            "namespace": "logging",
            "annotations": {"watchbudget.io/watches": '{"namespaces": "all"}'},
        },
        "spec": {
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": value, "maxSurge": 0},
            }
            | strategy,
            "template": {"spec": {"containers": [{"name": "agent", "image": "example.org/agent:2.1.0"}]}},
        },
    }
    if nodes is not None:
        raw["status"] = {"observedGeneration": 1, "desiredNumberScheduled": nodes}
    return raw


def stored(
    raw: dict[str, Any], *budgets: WatchBudget, old: dict[str, Any] | None = None, nodes: int = 100
) -> dict[str, Any]:
    """What the API server stores when the object is sent."""
    fields = {"operation": "UPDATE", "oldObject": old} if old else {}
    answer = mutate(parse(body(object=raw, **fields)), snapshot_of(*budgets, nodes=nodes))
    assert (answer.allowed, answer.warnings) == (True, ())
    result: dict[str, Any] = jsonpatch.apply_patch(raw, json.loads(json.dumps(answer.patch)))
    again = mutate(parse(body(object=result, **fields)), snapshot_of(*budgets, nodes=nodes))
    assert again.patch == ()  # a reinvocation changes nothing
    return result


def width(raw: dict[str, Any]) -> tuple[object, object]:
    kept = raw["metadata"]["annotations"].get(MAX_UNAVAILABLE)
    return raw["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], kept


def test_a_new_daemonset_is_capped_and_its_number_kept():
    result = stored(agent(), PACED)
    assert width(result) == (20, "100%")
    assert result["spec"]["updateStrategy"]["type"] == "RollingUpdate"
    assert result["metadata"]["annotations"]["watchbudget.io/watches"] == '{"namespaces": "all"}'


def test_the_annotated_findings_are_those_of_what_is_stored():
    wide = stored(agent(), budget(rollout={"capMaxUnavailable": False}, enforcement={"action": "Warn"}))
    assert "rollout-too-wide" in wide["metadata"]["annotations"]["watchbudget.io/findings"]
    lowered = stored(agent(), PACED)
    assert "rollout-too-wide" not in lowered["metadata"]["annotations"]["watchbudget.io/findings"]


def test_nothing_else_of_the_object_changes():
    result = stored(agent(), QUIET)
    result["metadata"]["annotations"].pop(MAX_UNAVAILABLE)
    result["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = "100%"
    assert result == agent()


def test_a_percentage_is_counted_on_the_stored_objects_nodes():
    old = agent(1, nodes=20)
    assert width(stored(agent(), QUIET, old=old)) == ("100%", None)
    assert width(stored(agent(), QUIET, old=agent(1, nodes=21))) == (20, "100%")
    # A new one's status is not believed, and one that may reach more nodes is counted on all of them.
    assert width(stored(agent(nodes=1), QUIET)) == (20, "100%")
    wider = copy.deepcopy(old)
    wider["spec"]["template"]["spec"]["nodeSelector"] = {"a": "b"}
    assert width(stored(agent(), QUIET, old=wider)) == (20, "100%")


@pytest.mark.parametrize(
    "raw",
    [
        agent(20),
        agent(type="OnDelete"),
        agent(0, rollingUpdate={"maxUnavailable": 0, "maxSurge": "100%"}),
        agent() | {"metadata": {"name": "agent", "namespace": "logging"}},  # watches nothing that we know of
    ],
)
def test_what_has_nothing_to_be_capped_is_not_touched(raw: dict[str, Any]):
    assert stored(raw, QUIET) == raw


def test_without_a_pacing_budget_nothing_is_touched():
    assert stored(agent(), UNPACED) == agent()
    assert stored(agent()) == agent()


def test_when_the_budget_goes_the_next_change_brings_the_owners_number_back():
    capped = stored(agent(), QUIET)
    touched = copy.deepcopy(capped)
    touched["spec"]["template"]["metadata"] = {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}
    assert width(stored(touched, QUIET, old=capped)) == (20, "100%")
    for gone in (UNPACED, budget(rollout={"capMaxUnavailable": False}, enforcement={"action": "Audit"})):
        assert width(stored(touched, gone, old=capped)) == ("100%", None)


def test_the_tightest_budget_is_named_once_whatever_else_is_said():
    tight = budget("tight", rollout={"maxConcurrentStarts": 5}, enforcement={"action": "Warn"})
    result = stored(agent(), PACED, tight)
    answer = validate(parse(body(object=result)), snapshot_of(PACED, tight))
    (line,) = [line for line in answer.warnings if "lowered" in line]
    assert line.startswith(
        "WatchBudget tight: maxUnavailable lowered from 100% to 5: maxConcurrentStarts is 5"
    )
    assert not any("rollout-too-wide" in line for line in answer.warnings)


def test_what_is_denied_was_not_lowered():
    strict = budget("strict", rollout={"maxConcurrentStarts": 5}, enforcement={"action": "Deny"})
    answer = validate(parse(body(object=stored(agent(), strict))), snapshot_of(strict))
    assert not answer.allowed
    assert not any("lowered" in line for line in answer.warnings)


def test_a_quiet_budget_lowers_without_a_word():
    assert validate(parse(body(object=stored(agent(), QUIET))), snapshot_of(QUIET)) == UNTOUCHED


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None)
@given(JUNK, JUNK, JUNK)
def test_no_junk_in_strategy_or_annotation_raises(value: object, strategy: object, kept: object):
    for raw in (agent(value), agent(rollingUpdate=strategy), agent(type=strategy)):
        raw["metadata"]["annotations"][MAX_UNAVAILABLE] = kept
        for fields in ({}, {"operation": "UPDATE", "oldObject": raw}):
            answer = mutate(parse(body(object=raw, **fields)), snapshot_of(PACED))
            assert answer.allowed
            jsonpatch.apply_patch(raw, json.loads(json.dumps(answer.patch)))
            assert validate(parse(body(object=raw, **fields)), snapshot_of(PACED)).allowed
