"""What is read of DaemonSets whose pods start, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_apiserver import async_test
from scripted_api import ScriptedApi
from watchbudget.controller.daemon_sets import IDLE_SECONDS, LOOK_SECONDS, DaemonSets
from watchbudget.controller.listing import TABLE
from watchbudget.controller.looked import RESUMED, Looked, read_looked, selector_text
from watchbudget.controller.pods import Pods
from watchbudget.controller.wire import Reply, WireError
from watchbudget.rollout.gate import PAUSED
from watchbudget.rollout.model import Terms

KEY = ("logging", "agent")
PATH = "/apis/apps/v1/namespaces/logging/daemonsets/agent"


def raw(*, surge: object = 0, updated: int = 3, generation: int = 2, **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "logging",
            "name": "agent",
            "uid": "d",
            "generation": generation,
            "annotations": annotations,
        },
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge}},
        },
        "status": {
            "observedGeneration": 2,
            "desiredNumberScheduled": 3,
            "updatedNumberScheduled": updated,
            "numberReady": 2,
        },
    }


class Setting:
    def __init__(self, daemon_set: dict[str, Any]) -> None:
        self.api, self.now, self.changes = ScriptedApi(page=100), 0.0, 0
        self.api.add(PATH, daemon_set)
        pods = Pods(self.api, clock=lambda: self.now)
        self.reader = DaemonSets(self.api, pods, self._changed, clock=lambda: self.now)

    def _changed(self) -> None:
        self.changes += 1

    def looks(self) -> int:
        return sum("/daemonsets?" in call for call in self.api.calls)


def test_what_is_kept():
    assert read_looked(raw()) == Looked(
        uid="d", selector="app=agent", current=True, nodes=3, updated=3, ready=2
    )
    assert read_looked(raw(surge="50%")).surges
    assert not read_looked(raw(surge="0%")).surges
    assert not read_looked(raw(generation=3)).current
    said = read_looked(raw(**{PAUSED: "incident 4711", RESUMED: "r1"}))
    assert (said.paused, said.resumed) == ("incident 4711", "r1")


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=3))
def test_odd_fields_do_not_raise(value: object):
    for part in ("metadata", "spec", "status"):
        read_looked({**raw(), part: value})
        for field in raw()[part]:
            read_looked({**raw(), part: {**raw()[part], field: value}})


def test_terms_are_amended():
    terms = Terms(("b",), 100, paused="by what was judged", waves=True)
    seen = read_looked(raw(**{RESUMED: "r1"})).amend(terms)
    assert seen == Terms(("b",), 100, updated=3, forgiven="r1", waves=True)
    assert read_looked(raw(generation=3)).amend(terms).updated is None  # counters of another template


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        (
            {
                "matchExpressions": [
                    {"key": "x", "operator": "In", "values": ["1", "2"]},
                    {"key": "y", "operator": "NotIn", "values": ["3"]},
                    {"key": "z", "operator": "Exists"},
                    {"key": "w", "operator": "DoesNotExist"},
                ]
            },
            "x in (1,2),y notin (3),z,!w",
        ),
        ({"matchExpressions": [{"key": "x", "operator": "Like"}]}, ""),
        ({}, ""),
    ],
)
def test_selectors_as_queries_write_them(selector: dict[str, Any], text: str):
    assert selector_text(selector) == text


@async_test
async def test_looks_only_at_what_is_wanted_and_every_few_seconds():
    its = Setting(raw())
    await its.reader.look()
    assert its.api.calls == []
    its.reader.want([KEY])
    await its.reader.look()
    assert its.reader.looked[KEY].nodes == 3
    assert its.api.calls == [
        "GET /apis/apps/v1/namespaces/logging/daemonsets?fieldSelector=metadata.name%3Dagent"
    ]
    for _ in range(3):
        its.now += LOOK_SECONDS / 2
        its.reader.want([KEY])
        await its.reader.look()
    assert its.looks() == 2
    assert its.changes == 1  # it showed the same
    its.reader.want([])
    assert its.reader.looked == {}
    its.now += 100
    await its.reader.look()
    assert its.looks() == 2


@async_test
async def test_one_that_is_idle_is_looked_at_seldom_but_soon_where_something_changed():
    its = Setting(raw())
    its.reader.want([], [KEY])
    await its.reader.look()
    its.now += IDLE_SECONDS - 1
    await its.reader.look()
    assert its.looks() == 1
    its.reader.soon()
    its.now += LOOK_SECONDS
    await its.reader.look()
    assert its.looks() == 2
    its.api.change(PATH, updatedNumberScheduled=1)
    its.now += IDLE_SECONDS
    await its.reader.look()
    its.now += LOOK_SECONDS  # it is behind: more often
    await its.reader.look()
    assert its.looks() == 4


@async_test
async def test_failures_are_tried_again_and_what_was_seen_stays(caplog: pytest.LogCaptureFixture):
    its = Setting(raw())
    its.reader.want([KEY, ("logging", "other")])
    await its.reader.look()
    answers = iter([WireError("cut"), Reply(500, {}), Reply(200, {"items": 5})])
    for answer in answers:
        its.api.intervene = lambda _method, _path, _body, answer=answer: answer  # type: ignore[misc]
        its.now += 60
        await its.reader.look()
    assert "could not be looked at: cut" in caplog.text
    its.api.intervene = lambda _method, _path, _body: None
    its.now += 60
    await its.reader.look()
    assert KEY in its.reader.looked
    its.api.remove(PATH)
    its.now += 60
    await its.reader.look()
    assert its.reader.looked == {}


def table(*rows: tuple[str, str, str]) -> Reply:
    columns = [{"name": name} for name in ("Name", "Ready", "Status", "Restarts", "Age", "IP", "Node")]
    cells = [{"cells": ["x", ready, status, 0, "1s", "1.1.1.1", node]} for ready, status, node in rows]
    return Reply(200, {"metadata": {}, "columnDefinitions": columns, "rows": cells})


@async_test
async def test_which_nodes_have_a_copy_is_asked_only_where_pods_surge():
    its = Setting(raw())
    its.reader.want([KEY])
    await its.reader.look()
    assert its.reader.looked[KEY].vacant("n1")
    assert TABLE not in its.api.accepts

    its = Setting(raw(surge="100%"))
    answer = table(("1/1", "Running", "n1"), ("0/1", "Running", "n2"), ("1/1", "Terminating", "n3"))
    its.api.intervene = lambda _method, path, _body: answer if "/pods?" in path else None
    its.reader.want([KEY])
    await its.reader.look()
    assert its.api.accepts[-1] == TABLE
    assert "labelSelector=app%3Dagent" in its.api.calls[-1]
    looked = its.reader.looked[KEY]
    assert [looked.vacant(node) for node in ("n1", "n2", "n3", "n4")] == [False, True, True, True]

    odd = Reply(200, {"metadata": {}, "columnDefinitions": [{"name": "Name"}], "rows": [{"cells": ["x"]}]})
    its.api.intervene = lambda _method, path, _body: odd if "/pods?" in path else None
    its.now += 60
    await its.reader.look()
    assert not its.reader.looked[KEY].vacant("n4")  # not known


@async_test
async def test_many_are_not_read_all_at_once():
    its = Setting(raw())
    under_way = most = 0
    send = its.api.request

    async def counted(*args: Any, **options: Any) -> Reply:  # noqa: ANN401
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return await send(*args, **options)

    its.api.request = counted  # type: ignore[method-assign]
    its.reader.want([("logging", f"a{number}") for number in range(30)])
    await its.reader.look()
    assert its.looks() == 30
    assert most <= 5
