"""A pod as the pacer sees it, over everything that a pod may look like."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout_pods import READY, container, held_pod, permitted_pod
from watchbudget.controller.pod_reading import Pod, read_pod
from watchbudget.rollout.gate import GATE, LABEL
from watchbudget.rollout.model import Phase, Start


def read(raw: dict[str, Any], before: Pod | None = None, now: float = 5.0) -> Pod:
    pod = read_pod(raw, before, now)
    assert pod is not None
    return pod


def test_a_held_pod():
    assert read(held_pod("a")) == Pod(
        Start(
            uid="a",
            namespace="logging",
            name="a",
            daemon_set=("logging", "agent"),
            node="n-a",
            revision="r1",
            phase=Phase.HELD,
            held_since=5.0,
        ),
        gate=0,
    )


def test_the_gate_of_somebody_else():
    pod = read(held_pod(schedulingGates=[{"name": "other"}, {"name": GATE}]))
    assert (pod.gate, pod.start.phase) == (1, Phase.HELD)
    without = read(held_pod(schedulingGates=[{"name": "other"}]))
    assert (without.gate, without.start.phase) == (None, Phase.RELEASED)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ({}, Phase.RELEASED),
        ({"containerStatuses": []}, Phase.RELEASED),
        ({"containerStatuses": [container("waiting", reason="ContainerCreating")]}, Phase.RELEASED),
        (
            {"containerStatuses": [container(), container("waiting", reason="PodInitializing")]},
            Phase.RELEASED,
        ),
        ({"containerStatuses": [container(), container()]}, Phase.STARTED),
        ({"containerStatuses": [container()], "conditions": READY}, Phase.READY),
        ({"conditions": READY}, Phase.READY),
        ({"containerStatuses": [container(restarts=1)]}, Phase.FAILED),
        ({"containerStatuses": [container(restarts=1)], "conditions": READY}, Phase.READY),
        ({"initContainerStatuses": [container("waiting", restarts=2)]}, Phase.FAILED),
        ({"containerStatuses": [container("waiting", reason="ImagePullBackOff")]}, Phase.FAILED),
        ({"containerStatuses": [container("waiting", reason="CreateContainerConfigError")]}, Phase.FAILED),
        ({"initContainerStatuses": [container("waiting", reason="ErrImagePull")]}, Phase.FAILED),
        ({"phase": "Failed", "conditions": READY}, Phase.FAILED),
    ],
)
def test_how_far_a_start_has_come(status: dict[str, Any], phase: Phase):
    assert read(permitted_pod(**status)).start.phase is phase


def test_times_are_those_of_the_first_sight():
    held = read(held_pod(), now=1)
    released = read(permitted_pod(), held, now=2)
    running = read(permitted_pod(containerStatuses=[container()]), released, now=3)
    again = read(permitted_pod(containerStatuses=[container()]), running, now=4)
    ready = read(permitted_pod(containerStatuses=[container()], conditions=READY), again, now=5)
    later = read(permitted_pod(containerStatuses=[container()], conditions=READY), ready, now=6)
    times = (later.start.held_since, later.start.permit_since, later.start.started_since)
    assert (*times, later.start.ready_since) == (1, 2, 3, 5)
    # A restart begins anew, and unready is not ready.
    failed = read(permitted_pod(containerStatuses=[container("waiting", restarts=1)]), later, now=7)
    assert (failed.start.started_since, failed.start.ready_since) == (None, None)
    assert (failed.start.held_since, failed.start.permit_since) == (1, 2)
    runs = read(permitted_pod(containerStatuses=[container(restarts=1)], conditions=READY), failed, now=8)
    assert (runs.start.started_since, runs.start.ready_since, runs.start.restarts) == (8, 8, 1)


def test_another_pod_of_the_same_name_begins_anew():
    raw = held_pod()
    raw["metadata"]["uid"] = "other"
    assert read(raw, read(permitted_pod(), now=1), now=9).start.held_since == 9


def test_what_still_shows_a_gate_that_is_gone_is_old():
    known = read(permitted_pod(containerStatuses=[container()]), now=3)
    assert read(held_pod(), known, now=9) is known


@pytest.mark.parametrize(
    ("fields", "scheduled"),
    [
        ({}, True),  # its scheduler is busy, or away: it may be scheduled yet
        ({"nodeName": "a"}, True),
        ({"schedulingGates": [{"name": "example.com/other"}]}, False),
    ],
)
def test_a_pod_may_be_scheduled_until_it_is_refused(fields: dict[str, Any], scheduled: bool):
    raw = permitted_pod()
    raw["spec"] |= fields
    assert read(raw).start.scheduled is scheduled


def test_no_node_takes_a_pod_when_its_scheduler_says_so():
    said = {"type": "PodScheduled", "status": "False"}
    assert read(permitted_pod(conditions=[said | {"reason": "SchedulingGated"}])).start.scheduled
    assert not read(permitted_pod(conditions=[said | {"reason": "Unschedulable"}])).start.scheduled


def test_critical_and_vacant():
    raw = permitted_pod()
    raw["spec"] |= {"nodeName": "other", "priorityClassName": "system-node-critical"}
    start = read(raw).start
    assert (start.critical, start.node) == (True, "other")


def test_what_does_not_concern_us():
    no_label = held_pod()
    del no_label["metadata"]["labels"][LABEL]
    leaving = held_pod()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    foreign = permitted_pod()
    foreign["metadata"]["ownerReferences"][0]["kind"] = "ReplicaSet"
    not_controlled = permitted_pod()
    not_controlled["metadata"]["ownerReferences"][0]["controller"] = False
    for raw in (no_label, leaving, foreign, not_controlled, {}):
        assert read_pod(raw, None, 0) is None


def test_a_held_pod_without_a_daemonset_is_kept_for_somebody_must_let_it_go():
    assert read(held_pod(owner=None)).start.daemon_set == ("logging", "")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.data())
def test_no_pod_makes_it_raise(data: st.DataObject):
    """Somewhere in a pod of ours stands something else than there should."""
    raw: Any = deepcopy(permitted_pod(containerStatuses=[container()], conditions=READY))
    raw["spec"]["schedulingGates"] = [{"name": GATE}]
    at = raw
    while True:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = data.draw(st.sampled_from(list(keys)))
        if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = data.draw(_json)
        break
    pod = read_pod(raw, None, 1.0)
    assert pod is None or read_pod(raw, pod, 2.0) is not None
