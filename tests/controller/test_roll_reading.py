"""A DaemonSet that is rolled in waves, read page by page and brought up to date by the watch."""

from __future__ import annotations

from typing import Any

import pytest

from fake_apiserver import async_test
from rollout_pods import READY, container, held_pod, permitted_pod
from scripted_api import ScriptedApi
from watchbudget.controller.listing import TABLE
from watchbudget.controller.pod_reading import Pod, read_pod
from watchbudget.controller.roll_reading import read_roll, with_newer
from watchbudget.controller.wire import Reply, WireError
from watchbudget.rollout.roll import ROLLOUT, DaemonPod, Roll

RAW: dict[str, Any] = {
    "metadata": {
        "namespace": "logging",
        "name": "agent",
        "uid": "d",
        "generation": 2,
        "annotations": {ROLLOUT: "waves"},
    },
    "spec": {"updateStrategy": {"type": "OnDelete"}},
    "status": {"observedGeneration": 2, "desiredNumberScheduled": 3},
}
OWNER = [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "d", "controller": True}]
COLUMNS = [{"name": name} for name in ("Name", "Ready", "Status", "Node")]


def row(name: str, node: str, ready: str = "1/1") -> dict[str, Any]:
    labels = {"controller-revision-hash": "r1"}
    metadata = {"name": name, "uid": name, "labels": labels, "ownerReferences": OWNER}
    return {"cells": [name, ready, "Running", node], "object": {"metadata": metadata}}


def revision(number: int) -> dict[str, Any]:
    labels = {"controller-revision-hash": f"r{number}"}
    return {"metadata": {"labels": labels, "ownerReferences": OWNER}, "revision": number, "data": {"big": 1}}


def answer(path: str) -> Reply:
    if "controllerrevisions" in path:
        return Reply(200, {"metadata": {}, "items": [revision(1), revision(2)]})
    if "continue" in path:
        return Reply(200, {"metadata": {}, "columnDefinitions": COLUMNS, "rows": [row("c", "<none>", "0/1")]})
    rows = [row("a", "n1"), row("b", "n2", "0/1")]
    return Reply(200, {"metadata": {"continue": "x"}, "columnDefinitions": COLUMNS, "rows": rows})


@async_test
async def test_all_pages_are_read_as_tables():
    api = ScriptedApi(intervene=lambda _method, path, _body: answer(path))
    roll = await read_roll(api, RAW, "app=agent", {"c": "n3"})
    assert roll is not None
    assert (roll.key, roll.revision, roll.desired, roll.caught_up) == (("logging", "agent"), "r2", 3, True)
    assert [(pod.name, pod.node, pod.ready) for pod in roll.pods] == [
        ("a", "n1", True),
        ("b", "n2", False),
        ("c", "n3", False),
    ]
    assert ["controllerrevisions" in call for call in api.calls] == [True, False, False]
    assert all("labelSelector=app%3Dagent" in call for call in api.calls)
    assert api.accepts[1:] == [TABLE, TABLE]


@async_test
async def test_nothing_is_listed_without_a_selector_or_the_owners_word():
    api = ScriptedApi()
    assert await read_roll(api, RAW, "", {}) is None
    assert (
        await read_roll(api, {**RAW, "metadata": RAW["metadata"] | {"annotations": {}}}, "app=a", {}) is None
    )
    assert api.calls == []


@async_test
async def test_a_table_of_other_columns_is_an_error():
    odd = Reply(200, {"metadata": {}, "columnDefinitions": COLUMNS[:2], "rows": [row("a", "n1")]})
    api = ScriptedApi(intervene=lambda _method, path, _body: answer(path) if "revisions" in path else odd)
    with pytest.raises(WireError, match="other columns"):
        await read_roll(api, RAW, "app=agent", {})


def pod(raw: dict[str, Any]) -> Pod:
    read = read_pod(raw, None, 0)
    assert read is not None
    return read


def listed(name: str, node: str, label: str = "") -> DaemonPod:
    return DaemonPod(name, name, node, "r0", "", ready=not label, deleting=False, label=label)


def test_the_watch_is_newer_than_the_list():
    pods = (listed("old", "n-new"), listed("other", "n-x"), listed("same", "n-same", "held"))
    roll = Roll(("logging", "agent"), "d", caught_up=True, desired=3, revision="r1", generation="", pods=pods)
    ready = permitted_pod("same", containerStatuses=[container()], conditions=READY)
    newer = with_newer(roll, [pod(held_pod("new")), pod(ready)])
    assert [(each.name, each.label, each.ready) for each in newer.pods] == [
        ("other", "", True),
        ("same", "permitted", True),
        ("new", "held", False),
    ]
    assert newer.pods[-1].node == "n-new"  # so `old` is gone
