"""What is read of a DaemonSet in waves, its revisions and its pods."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbudget.rollout.roll import (
    DaemonPod,
    Roll,
    is_in_waves,
    is_outdated,
    pods_of,
    pods_of_table,
    roll_of,
)


def daemon_set(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    raw: dict[str, Any] = {
        "metadata": {
            "namespace": "logging",
            "name": "agent",
            "uid": "ds",
            "generation": 4,
            "annotations": {
                "watchbudget.io/rollout": "waves",
                "deprecated.daemonset.template.generation": "3",
            },
        },
        "spec": {"updateStrategy": {"type": "OnDelete"}},
        "status": {"observedGeneration": 4, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1},
    }
    for path, value in changes.items():
        *holders, last = path.split("__")
        holder = raw
        for step in holders:
            holder = holder[step]
        holder[last] = value
    return raw


def owned(uid: object = "ds", **controller: object) -> list[dict[str, Any]]:
    return [{"kind": "DaemonSet", "uid": uid, "controller": True, **controller}]


def revision(number: object, of_hash: str, owners: object = None) -> dict[str, Any]:
    labels = {"controller-revision-hash": of_hash}
    return {
        "revision": number,
        "metadata": {"labels": labels, "ownerReferences": owned() if owners is None else owners},
    }


def pod(uid: str = "p", node: str = "n1", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    labels = {"controller-revision-hash": "new", "pod-template-generation": "3"} | changes.pop("labels", {})
    return {
        "metadata": {"uid": uid, "name": f"agent-{uid}", "labels": labels, "ownerReferences": owned()}
        | changes,
        "spec": {"nodeName": node},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


REVISIONS = [revision(1, "old"), revision(10, "new"), revision(9, "older"), revision(11, "x", owned("other"))]


def read(raw: dict[str, Any], revisions: list[Any], pods: list[Any]) -> Roll | None:
    return roll_of(raw, revisions, pods_of(pods, "ds"))


def test_reads_what_waves_need():
    pods = [
        pod(),
        pod("q", "n2", labels={"watchbudget.io/start": "held"}, deletionTimestamp="2026-11-24T00:00:00Z"),
        pod("another's", ownerReferences=owned("other")),
        pod("orphan", ownerReferences=[]),
        pod("adopted by none", ownerReferences=owned(controller=False)),
    ]
    assert read(daemon_set(), REVISIONS, pods) == Roll(
        key=("logging", "agent"),
        uid="ds",
        caught_up=True,
        desired=2,
        revision="new",
        generation="3",
        pods=(
            DaemonPod("p", "agent-p", "n1", "new", "3", ready=True, deleting=False, label=""),
            DaemonPod("q", "agent-q", "n2", "new", "3", ready=True, deleting=True, label="held"),
        ),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"spec__updateStrategy__type": "RollingUpdate"},
        {"spec__updateStrategy": {}},
        {"spec": None},
        {"metadata__annotations": {}},
        {"metadata__annotations": None},
        {"metadata__annotations": {"watchbudget.io/rollout": "Waves"}},
        {"metadata__deletionTimestamp": "2026-11-24T00:00:00Z"},
    ],
)
def test_only_on_delete_and_only_with_the_annotation(changes: dict[str, Any]):
    assert is_in_waves(daemon_set())
    assert not is_in_waves(daemon_set(**changes))
    assert read(daemon_set(**changes), REVISIONS, [pod()]) is None


@pytest.mark.parametrize("field", ["namespace", "name", "uid"])
def test_what_has_no_identity_is_no_roll(field: str):
    for odd in (None, "", 5):
        assert read(daemon_set(**{f"metadata__{field}": odd}), REVISIONS, []) is None


def test_caught_up_means_that_the_controller_has_seen_this_generation():
    for observed, caught_up in ((3, False), (4, True), (5, True), (None, False), ("4", False)):
        raw = daemon_set(status__observedGeneration=observed)
        roll = read(raw, REVISIONS, [])
        assert roll is not None
        assert roll.caught_up is caught_up
        assert is_outdated(raw) or caught_up


def test_outdated_as_its_controller_counts():
    assert is_outdated(daemon_set())
    assert not is_outdated(daemon_set(status__updatedNumberScheduled=2))
    assert is_outdated(daemon_set(status__updatedNumberScheduled=None))  # 0 is left out
    assert is_outdated(daemon_set(status__updatedNumberScheduled=2, metadata__generation=5))


@pytest.mark.parametrize(
    ("labels", "old"),
    [
        ({}, False),
        ({"controller-revision-hash": "old", "pod-template-generation": "2"}, True),
        ({"controller-revision-hash": "old"}, False),  # the hash of a template that was only read anew
        ({"pod-template-generation": "2"}, False),  # rolled back to
        ({"controller-revision-hash": "", "pod-template-generation": ""}, True),
    ],
)
def test_old_as_the_daemonset_controller_sees_it(labels: dict[str, str], old: bool):
    roll = read(daemon_set(), REVISIONS, [pod(labels=labels)])
    assert roll is not None
    assert roll.is_old(roll.pods[0]) is old


def test_without_the_deprecated_generation_the_hash_alone_counts():
    raw = daemon_set(metadata__annotations={"watchbudget.io/rollout": "waves"})
    roll = read(raw, REVISIONS, [pod(labels={"controller-revision-hash": "old"})])
    assert roll is not None
    assert roll.is_old(roll.pods[0])


@pytest.mark.parametrize(
    "status", [None, {}, {"conditions": None}, {"conditions": ["x"]}, {"conditions": [{}]}]
)
def test_a_pod_without_the_condition_is_not_ready(status: object):
    roll = read(daemon_set(), REVISIONS, [pod() | {"status": status}])
    assert roll is not None
    assert not roll.pods[0].ready


def test_no_revision_of_its_own_is_none():
    roll = read(daemon_set(), [revision(3, "x", owned("other")), revision("y", "z", [])], [pod()])
    assert roll is not None
    assert roll.revision == ""


def table(
    *rows: tuple[dict[str, Any], list[object]], names: str = "Name Ready Status Node"
) -> dict[str, Any]:
    return {
        "columnDefinitions": [{"name": name} for name in names.split()],
        "rows": [{"object": {"metadata": raw["metadata"]}, "cells": cells} for raw, cells in rows],
    }


def test_a_table_tells_the_same():
    going = pod("q", "n2", deletionTimestamp="2026-11-24T00:00:00Z")
    starting = pod("r", "n3") | {"status": {}}
    held = pod("s", "n4", labels={"watchbudget.io/start": "held"}) | {"status": {}}
    page = table(
        (pod(), ["x", "1/1", "Running", "n1"]),
        (going, ["x", "1/1", "Terminating", "n2"]),
        (starting, ["x", "0/1", "Running", "n3"]),
        (held, ["x", "0/1", "SchedulingGated", "<none>"]),
        (pod("another's", ownerReferences=owned("other")), ["x", "1/1", "Running", "n1"]),
    )
    whole = pods_of([pod(), going | {"status": {}}, starting, held], "ds")
    assert pods_of_table(page, "ds", {"s": "n4"}) == whole


def test_a_table_of_another_kind_is_none():
    assert pods_of_table(table(names="Name Ready Status"), "ds", {}) is None
    assert pods_of_table({}, "ds", {}) is None
    assert pods_of_table(table((pod(), ["x"])), "ds", {}) == ()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(JUNK, JUNK, JUNK, st.sampled_from(["metadata", "spec", "status"]))
def test_no_junk_raises(raw: Any, one: Any, two: Any, part: str):  # noqa: ANN401 - junk
    spoilt = copy.deepcopy(daemon_set())
    spoilt[part] = raw
    for each in (raw, spoilt):
        is_in_waves(each if isinstance(each, dict) else {})
        is_outdated(each if isinstance(each, dict) else {})
    odd = pod(labels=one if isinstance(one, dict) else {}, ownerReferences=owned()) | {part: two}
    assert read(daemon_set(), [one, revision(two, "x")], [odd, one]) is not None
    pods_of_table(table((odd, [one, two, raw, one]), (pod(), [raw, two, one, raw])), "ds", {})
    pods_of_table({"columnDefinitions": one, "rows": two}, "ds", {})
    pods_of_table(table() | {"rows": [one, {"object": two, "cells": raw}]}, "ds", {})
