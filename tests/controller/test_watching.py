"""kopf as a source of events, against a server that does what ends it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fake_apiserver import async_test
from scripted_watches import ScriptedWatches, scripted_watches
from watchbudget.controller import watching
from watchbudget.controller.store import Kind, Store
from watchbudget.controller.watching import Watching

ROLE = Kind.CLUSTER_ROLE
ONCE = dict.fromkeys(Kind, 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 0.1)


@asynccontextmanager
async def running(script: ScriptedWatches) -> AsyncIterator[tuple[Watching, Store]]:
    store = Store(lambda: None)
    watches = Watching(store, script.configuration)
    watches.start()
    try:
        yield watches, store
    finally:
        await asyncio.to_thread(watches.stop)
    assert not watches._thread.is_alive()


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def role(name: str, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}, "rules": []}


def names(store: Store) -> set[str]:
    return {each.name for each in store.view().rbac.roles}


def open_watches(script: ScriptedWatches) -> Callable[[], bool]:
    return lambda: script.streams.keys() == script.served


@async_test
async def test_lists_and_events_reach_the_store_and_only_reads_are_sent():
    async with scripted_watches() as script:
        script.listed[ROLE] = [role("a"), role("b")]
        async with running(script) as (watches, store):
            await until(open_watches(script))
            await until(lambda: names(store) == {"a", "b"})
            script.say(ROLE, "ADDED", role("c", 101))
            script.say(ROLE, "DELETED", role("a", 102))
            await until(lambda: names(store) == {"b", "c"})
            assert (watches.restarts, watches.lists, watches.listed) == (0, ONCE, set(Kind))
        asked = script.fake.requests
        assert all(request.startswith("GET ") for request in asked)
        assert not [request for request in asked if "namespaces" in request or "customresource" in request]
        assert all("limit=250" in request for request in asked if "?" in request and "watch" not in request)


def test_an_error_in_one_watch_begins_all_anew(caplog: pytest.LogCaptureFixture):
    @async_test
    async def run():
        async with scripted_watches() as script, running(script) as (watches, store):
            await until(open_watches(script))
            before = dict(script.streams)
            script.say(ROLE, "ERROR", {"code": 500, "message": "etcd: leader changed"})
            await until(lambda: watches.restarts == 1)
            await until(lambda: open_watches(script)() and script.streams[ROLE] is not before[ROLE])
            script.say(ROLE, "ADDED", role("late", 101))
            await until(lambda: names(store) == {"late"})
            await until(lambda: watches.lists == dict.fromkeys(Kind, 2))

    run()
    (told,) = [each.getMessage() for each in caplog.records if each.name == watching.__name__]
    assert "The watches ended (WatchingError: " in told


@async_test
async def test_however_often_they_end_they_begin_again():
    async with scripted_watches() as script, running(script) as (watches, store):
        await until(open_watches(script))
        script.streams.clear()
        script.refusals = [500] * 12  # each request is tried four times, then kopf ends
        watches.restart()
        await until(lambda: watches.restarts)
        await until(open_watches(script), 60)
        script.say(ROLE, "ADDED", role("late", 101))
        await until(lambda: names(store) == {"late"})


@async_test
async def test_credentials_that_are_refused_are_not_tried_again_at_once():
    async with scripted_watches() as script, running(script) as (watches, store):
        await until(open_watches(script))
        script.streams.clear()
        script.refusals = [401] * 1000
        watches.restart()
        await until(lambda: watches.restarts >= 3)
        assert len(script.refusals) > 900
        script.refusals.clear()
        await until(open_watches(script))
        script.say(ROLE, "ADDED", role("late", 101))
        await until(lambda: names(store) == {"late"})


@async_test
async def test_a_new_token_is_used_as_soon_as_it_is_there():
    """kubelet writes a pod a new one every hour, long before the old one is refused."""
    async with scripted_watches() as script, running(script) as (watches, _):
        await until(open_watches(script))
        assert set(script.tokens) == {"Bearer t"}
        script.tokens.clear()
        script.token = "new"
        script.cut(ROLE)
        await until(open_watches(script))
        assert script.tokens == ["Bearer new"]
        assert watches.restarts == 0


@async_test
async def test_a_broken_stream_goes_on_where_it_was():
    async with scripted_watches() as script, running(script) as (watches, store):
        await until(open_watches(script))
        script.cut(ROLE)
        await until(open_watches(script))
        script.say(ROLE, "ADDED", role("late", 101))
        await until(lambda: names(store) == {"late"})
        assert (watches.restarts, watches.lists) == (0, ONCE)


@pytest.mark.parametrize("left", [1, 0])
@async_test
async def test_a_list_begun_anew_may_hide_what_vanished_and_is_told(left: int):
    async with scripted_watches() as script:
        script.listed[ROLE] = [role("a"), role("b")]
        async with running(script) as (watches, store):
            await until(lambda: names(store) == {"a", "b"})
            del script.listed[ROLE][left:]
            await until(open_watches(script))
            assert watches.lists == ONCE
            for lists in (2, 3):
                before = script.streams[ROLE]
                script.say(ROLE, "ERROR", {"code": 410, "message": "too old resource version"})
                await until(lambda before=before: script.streams[ROLE] is not before)
                assert watches.lists == ONCE | {ROLE: lists}
            assert names(store) == {"a", "b"}  # this is why
            assert watches.restarts == 0


@async_test
async def test_a_type_that_is_served_later_is_found_by_beginning_anew():
    async with scripted_watches() as script:
        script.served.remove(Kind.BUDGET)
        async with running(script) as (watches, _):
            await until(open_watches(script))
            script.served.add(Kind.BUDGET)
            watches.restart()
            await until(open_watches(script))
            await until(lambda: watches.listed == set(Kind))
            assert watches.restarts == 0


@async_test
async def test_stopped_before_during_and_after_a_start():
    async with scripted_watches() as script:
        for wait in (lambda: True, lambda: script.fake.requests, open_watches(script)):
            async with running(script):
                await until(wait)
            assert not [each for each in threading.enumerate() if each.name == "watching"]


@async_test
async def test_what_a_handler_cannot_take_ends_nothing(caplog: pytest.LogCaptureFixture):
    async with scripted_watches() as script, running(script) as (watches, store):
        await until(open_watches(script))
        tell = store.tell
        store.tell = lambda *_, **__: 1 / 0  # type: ignore[method-assign]
        with caplog.at_level(logging.ERROR):
            script.say(ROLE, "ADDED", role("a", 101))
            await until(lambda: "ZeroDivisionError" in caplog.text)
        store.tell = tell  # type: ignore[method-assign]
        script.say(ROLE, "ADDED", role("b", 102))
        await until(lambda: names(store) == {"b"})
        assert watches.restarts == 0
