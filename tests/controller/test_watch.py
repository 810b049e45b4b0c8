"""List and watch, over everything that can end them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fake_apiserver import async_test
from scripted_api import ScriptedApi
from watchbudget.controller import watch
from watchbudget.controller.watch import Reflector
from watchbudget.controller.wire import Reply, WireError

PODS = "/api/v1/pods"


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": name, "uid": f"uid-{name}", "labels": labels}}


def path(name: str) -> str:
    return f"/api/v1/namespaces/ns/pods/{name}"


def label(raw: Mapping[str, Any], _: str | None) -> str | None:
    labels: dict[str, str] = raw["metadata"]["labels"]
    return labels.get("x")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(watch, "LONGEST_PAUSE", 0.002)


@asynccontextmanager
async def running(api: ScriptedApi, **arguments: Any) -> AsyncIterator[Reflector[str]]:  # noqa: ANN401
    reflector = Reflector(api, PODS, label, query={"labelSelector": "x in (a,b)"}, **arguments)
    task = asyncio.create_task(reflector.run())
    try:
        yield reflector
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert api.watchers == []  # no connection is left behind


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


def names(reflector: Reflector[str]) -> set[str]:
    return {name for _, name in reflector.items}


@async_test
async def test_a_list_in_pages_then_changes_as_they_come():
    api, changes = ScriptedApi(), []
    for name in "12345":
        api.add(path(name), pod(name, x="a"))
    async with running(api, changed=lambda: changes.append(1)) as reflector:
        await until(lambda: api.watchers)
        assert reflector.items == {("ns", name): "a" for name in "12345"}
        assert [call.split("&")[-1] for call in api.calls[:3]] == ["limit=250", "continue=2", "continue=4"]
        assert "resourceVersion=" not in "".join(api.calls[:3])  # consistent
        assert "allowWatchBookmarks=true&resourceVersion=105&timeoutSeconds=" in api.calls[3]
        before = len(changes)
        api.add(path("6"), pod("6", x="b"))
        api.add(path("7"), pod("7"))  # does not match
        api.add(path("1"), pod("1", x="b"))
        api.add(path("2"), pod("2", x="c"))  # matches no more: the server says DELETED
        api.remove(path("3"))
        await until(lambda: "3" not in names(reflector))
        assert reflector.items == {("ns", "1"): "b", ("ns", "4"): "a", ("ns", "5"): "a", ("ns", "6"): "b"}
        assert len(changes) == before + 4


@async_test
async def test_a_watch_that_ends_goes_on_where_it_was():
    api = ScriptedApi()
    async with running(api) as reflector:
        await until(lambda: api.watchers)
        api.add(path("1"), pod("1", x="a"))
        await until(lambda: reflector.items)
        api.say({"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "500"}}})
        api.say(None)
        await until(lambda: sum(call.startswith("WATCH") for call in api.calls) == 2)
        assert "resourceVersion=500" in api.calls[-1]
        api.say(WireError("cut"))  # before anything came: a list, whatever the reason
        await until(lambda: reflector.lists == 2)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}},
        {"type": "ERROR", "object": {"kind": "Status", "code": 500}},
        {"type": "ERROR"},
        {"type": "SURPRISE", "object": {"metadata": {"name": "x", "resourceVersion": "1"}}},
        {"type": "ADDED", "object": {}},
        {"type": "ADDED", "object": {"metadata": {"name": 1, "resourceVersion": "1"}}},
        {"type": "ADDED", "object": {"metadata": {"name": "x"}}},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": 7}}},
        {},
        ["no", "event"],
        WireError("connection reset"),
    ],
    ids=str,
)
def test_what_is_no_event_leads_to_a_list_and_loses_nothing(event: Any):  # noqa: ANN401
    @async_test
    async def run():
        api = ScriptedApi()
        api.add(path("1"), pod("1", x="a"))
        async with running(api) as reflector:
            await until(lambda: api.watchers)
            api.objects[path("2")] = pod("2", x="b")  # what the watch never tells of
            api.say(event)
            await until(lambda: reflector.lists == 2 and api.watchers)
            assert reflector.items == {("ns", "1"): "a", ("ns", "2"): "b"}
            api.remove(path("1"))
            await until(lambda: names(reflector) == {"2"})

    run()


@async_test
async def test_during_an_outage_the_values_stay_and_nothing_is_asked_in_a_hot_loop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    pauses: list[int] = []
    monkeypatch.setattr(watch, "_pause", lambda failures: pauses.append(failures) or 0.001)
    api = ScriptedApi()
    api.add(path("1"), pod("1", x="a"))
    async with running(api) as reflector:
        await until(lambda: api.watchers)
        api.intervene = lambda _method, _path, _body: WireError("refused")
        api.say(WireError("gone"))
        await until(lambda: len(pauses) > 20)
        assert reflector.items == {("ns", "1"): "a"}
        assert pauses == list(range(1, len(pauses) + 1))
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 2
        api.intervene = lambda _method, _path, _body: None
        await until(lambda: reflector.lists == 2 and api.watchers)


def test_pauses_grow_are_bounded_and_differ(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    assert watch._pause(1) <= 0.4
    assert 15 <= watch._pause(50) <= 30
    assert len({watch._pause(5) for _ in range(10)}) > 1


@async_test
async def test_a_watch_that_always_ends_at_once_is_slowed_down(monkeypatch: pytest.MonkeyPatch):
    pauses: list[int] = []
    monkeypatch.setattr(watch, "_pause", lambda failures: pauses.append(failures) or 0.001)
    api = ScriptedApi()
    async with running(api):
        for count in range(1, 6):
            await until(lambda: api.watchers)
            api.say(None)
            await until(lambda count=count: len(pauses) == count)
    assert pauses == [1, 2, 3, 4, 5]


@async_test
async def test_silence_ends_a_watch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "SILENCE", 0.05)
    api = ScriptedApi()
    async with running(api) as reflector:
        await until(lambda: sum(call.startswith("WATCH") for call in api.calls) > 2)
        assert reflector.lists == 1  # what was known still holds


@async_test
async def test_refresh_returns_after_a_list_that_began_later():
    api = ScriptedApi()
    async with running(api) as reflector:
        await until(lambda: api.watchers)
        api.objects[path("1")] = pod("1", x="a")
        await asyncio.gather(reflector.refresh(), reflector.refresh())
        assert names(reflector) == {"1"}
        fails = iter([Reply(500, {}), WireError("no"), Reply(410, {"message": "expired"})])
        api.intervene = lambda _method, _path, _body: next(fails, None)
        api.objects[path("2")] = pod("2", x="a")
        await reflector.refresh()
        assert names(reflector) == {"1", "2"}


@async_test
async def test_a_list_that_is_none_is_asked_for_again():
    api = ScriptedApi()
    api.add(path("1"), pod("1", x="a"))
    answers = iter(
        [
            Reply(200, {}),
            Reply(200, {"items": "x", "metadata": {"resourceVersion": "1"}}),
            Reply(200, {"items": [], "metadata": {}}),
            Reply(200, {"items": [1], "metadata": {"resourceVersion": "1"}}),
            Reply(200, {"items": [], "metadata": {"resourceVersion": "1", "continue": "again"}}),
            Reply(200, {"items": [], "metadata": {"resourceVersion": "1", "continue": "again"}}),
        ]
    )
    api.intervene = lambda _method, _path, _body: next(answers, None)
    async with running(api) as reflector:
        await until(lambda: reflector.lists)
        assert names(reflector) == {"1"}


@async_test
async def test_an_answer_to_a_write_counts_at_once_but_brings_nothing_back():
    api = ScriptedApi()
    api.add(path("1"), pod("1", x="a"))
    async with running(api) as reflector:
        await until(lambda: api.watchers)
        raw = pod("1", x="b")
        raw["metadata"]["resourceVersion"] = "1000"
        reflector.put(raw)
        assert reflector.items == {("ns", "1"): "b"}
        api.remove(path("1"))
        await until(lambda: not reflector.items)
        reflector.put(raw)
        reflector.put({"kind": "Status"})
        assert reflector.items == {}


@async_test
async def test_an_answer_that_comes_late_does_not_undo_what_the_watch_has_brought():
    api = ScriptedApi()
    api.add(path("p"), pod("p", x="a"))
    async with running(api) as reflector:
        await until(lambda: api.watchers)
        assert reflector.items == {("ns", "p"): "a"}
        late = api.objects[path("p")]
        api.add(path("p"), pod("p", x="b"))
        await until(lambda: reflector.items == {("ns", "p"): "b"})
        reflector.put(late)
        assert reflector.items == {("ns", "p"): "b"}
        # Nor is an answer undone by events that are older than it.
        newer = {**pod("p", x="c"), "metadata": {**pod("p", x="c")["metadata"], "resourceVersion": "1000"}}
        reflector.put(newer)
        api.add(path("p"), pod("p", x="a"))
        await asyncio.sleep(0.05)
        assert reflector.items == {("ns", "p"): "c"}
