"""What two webhooks ask about one object is judged once, and only while it is the same object."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest

from controller_reviews import body
from policy_samples import CALIBRATION, NOTHING_KNOWN, TODAY, budget, fleet
from watchbudget.controller.admission import Snapshot, mutate, validate
from watchbudget.controller.recent import LARGEST, MOST
from watchbudget.controller.review import AdmissionResponse, parse
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.judge import Judge

RAW: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {
        "name": "agent",
        "namespace": "logging",
        "annotations": {"watchbudget.io/watches": '{"namespaces": "all"}'},
    },
    "spec": {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {"spec": {"containers": [{"name": "agent", "image": "example.org/agent:2.1.0"}]}},
    },
}
PACED = budget(limits={"cachePerPod": "16Mi"}, rollout={"maxConcurrentStarts": 5})


class Counting(Judge):
    """Counts what it prices."""

    appraised = 0

    def appraise(self, daemon_set: DaemonSet) -> Appraisal:
        self.appraised += 1
        return super().appraise(daemon_set)


@pytest.fixture
def snapshot() -> Snapshot:
    return fresh()


def fresh() -> Snapshot:
    bench = Counting(fleet(), (PACED,), today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION)
    return Snapshot(bench, bench.sums)


def appraised(of: Snapshot) -> int:
    assert isinstance(of.bench, Counting)
    return of.bench.appraised


def mutated(raw: dict[str, Any], by: Snapshot, **fields: object) -> dict[str, Any]:
    """The object as the mutating webhook leaves it."""
    patch = mutate(parse(body(object=raw, **fields)), by).patch
    assert patch
    return jsonpatch.apply_patch(raw, [dict(operation) for operation in patch])


def validated(raw: dict[str, Any], by: Snapshot, **fields: object) -> AdmissionResponse:
    return validate(parse(body(object=raw, **fields)), by)


def test_the_second_question_is_answered_from_the_first(snapshot: Snapshot):
    raw = mutated(RAW, snapshot)
    raw["metadata"]["annotations"]["deprecated.daemonset.template.generation"] = "1"  # the API server does
    assert raw["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == 5
    assert raw["metadata"]["annotations"]["watchbudget.io/verdict"] == "deny"
    answer = validated(raw, snapshot)
    assert answer == validated(raw, fresh())
    assert not answer.allowed
    assert appraised(snapshot) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metadata", "annotations", "watchbudget.io/watches"), '{"namespaces": "none"}'),
        (("metadata", "labels"), {"team": "x"}),
        (("spec", "template", "spec", "nodeSelector"), {"os": "plan9"}),
        (("spec", "template", "spec", "serviceAccountName"), "other"),
        (("spec", "updateStrategy", "rollingUpdate", "maxUnavailable"), 3),
    ],
)
def test_what_another_webhook_changed_meanwhile_is_judged_anew(
    snapshot: Snapshot, path: tuple[str, ...], value: object
):
    raw = copy.deepcopy(mutated(RAW, snapshot))
    place: Any = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert validated(raw, snapshot) == validated(raw, fresh())
    assert appraised(snapshot) == 2


def test_few_and_small_ones_are_kept(snapshot: Snapshot):
    def named(number: int) -> dict[str, Any]:
        return {**RAW, "metadata": {**RAW["metadata"], "name": f"agent-{number}"}}

    there = [mutated(named(number), snapshot, name=f"agent-{number}") for number in range(MOST + 1)]
    before = appraised(snapshot)
    validated(there[MOST], snapshot, name=f"agent-{MOST}")
    assert appraised(snapshot) == before
    validated(there[0], snapshot, name="agent-0")  # the oldest had to go
    assert appraised(snapshot) == before + 1
    large = copy.deepcopy(RAW)
    large["metadata"]["annotations"]["notes"] = "x" * LARGEST
    validated(mutated(large, snapshot), snapshot)
    assert appraised(snapshot) == before + 3
