"""When everything is listed anew, and what becomes of a type that comes and goes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from fake_apiserver import async_test
from watchbudget.controller.resync import LOOK_AGAIN, PAUSE, SETTLED, Resync, served
from watchbudget.controller.store import Kind, Store
from watchbudget.inventory.errors import ClusterError, NotFound

BUDGET = {"metadata": {"name": "b", "uid": "u", "resourceVersion": "1", "generation": 1}, "spec": {}}


class Server:
    """Lists and discovery; whatever else `inventory.transport.Api` does is not asked of it."""

    def __init__(self) -> None:
        self.lists = 0
        self.listed: list[str] = []
        self.defined = self.discovered = True
        self.broken = False
        self.tried = 0

    async def collect(self, path: str, parse: Any, into: list[Any]) -> str:  # noqa: ANN401
        if self.broken:
            self.tried += 1
            raise ClusterError("gone")
        self.lists += path == Kind.DAEMON_SET.path
        self.listed.append(path)
        if path == Kind.BUDGET.path:
            if not self.defined:
                raise NotFound("no such type")
            into.append(parse(BUDGET))
        return "7"

    async def get(self, path: str) -> Mapping[str, Any]:
        if self.broken:
            raise ClusterError("gone")
        if path == "/apis":
            found = [{"name": "watchbudget.io", "versions": [{"version": "v1alpha1"}]}] * self.discovered
            return {"groups": [{"name": "apps", "versions": [{"version": "v1"}]}, *found]}
        if not self.defined:
            raise NotFound("no such type")
        return {"resources": [{"name": "watchbudgets"}, {"name": "watchbudgets/status"}]}


class Watches:
    def __init__(self) -> None:
        self.restarts = self.begun_anew = 0
        self.lists = dict.fromkeys(Kind, 0)
        self.listed = set(Kind)
        self.age = 1000.0

    def restart(self) -> None:
        self.begun_anew += 1


class Rig:
    def __init__(self) -> None:
        self.time = 0.0
        self.server, self.watches = Server(), Watches()
        self.store = Store(lambda: None, clock=lambda: self.time)
        self.resync = Resync(lambda: self.server, self.store, every=300, clock=lambda: self.time)  # type: ignore[arg-type,return-value]

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.time += 1
            await self.resync.step(self.watches)

    @property
    def governed(self) -> bool:
        return bool(self.store.view().budgets)


@async_test
async def test_now_and_then_and_after_the_watches_ended():
    rig = Rig()
    await rig.resync.fill()
    await rig.pass_time(299)
    assert rig.server.lists == 1
    await rig.pass_time(1)
    assert rig.server.lists == 2
    rig.watches.restarts += 3
    await rig.pass_time(20)
    assert rig.server.lists == 3


@async_test
async def test_a_kind_that_the_watches_listed_is_listed_after_them_and_no_other():
    rig = Rig()
    await rig.resync.fill()
    rig.server.listed.clear()
    rig.watches.lists[Kind.BUDGET] += 2
    rig.watches.lists[Kind.CLUSTER_ROLE] += 1
    await rig.pass_time(1)
    assert rig.server.listed == [Kind.BUDGET.path, Kind.CLUSTER_ROLE.path]
    await rig.pass_time(298)
    assert len(rig.server.listed) == 2
    await rig.pass_time(1)
    assert rig.server.lists == 2  # of everything, as often as before


@async_test
async def test_a_gap_in_an_outage_is_not_forgotten(caplog: pytest.LogCaptureFixture):
    rig = Rig()
    await rig.resync.fill()
    rig.server.broken, rig.watches.restarts = True, 1
    await rig.pass_time(60)
    assert rig.server.tried == 60 / PAUSE  # each ends with the first list
    assert len(caplog.records) == 1  # told once
    assert rig.governed  # what was known stays
    rig.server.broken = False
    await rig.pass_time(PAUSE)
    assert rig.server.lists == 2
    await rig.pass_time(100)
    assert rig.server.lists == 2


@async_test
async def test_a_type_that_is_gone_governs_nothing_and_is_found_again(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    rig = Rig()
    await rig.resync.fill()
    assert rig.governed
    rig.server.defined = rig.server.discovered = False
    rig.watches.restarts += 1
    await rig.pass_time(120)
    assert not rig.governed
    assert rig.server.lists == 2
    assert "not defined" in caplog.text
    rig.server.defined = True  # served, but kopf would not find it yet
    await rig.pass_time(LOOK_AGAIN)
    assert rig.watches.begun_anew == 0
    rig.server.discovered = True
    await rig.pass_time(LOOK_AGAIN)
    assert rig.governed
    assert rig.watches.begun_anew == 1
    await rig.pass_time(120)
    assert (rig.watches.begun_anew, rig.server.lists) == (1, 3)


@async_test
async def test_a_type_that_was_not_there_at_the_start():
    rig = Rig()
    rig.server.defined = rig.server.discovered = False
    await rig.resync.fill()
    rig.server.broken = True
    await rig.pass_time(30)
    rig.server.broken, rig.server.defined, rig.server.discovered = False, True, True
    await rig.pass_time(PAUSE + LOOK_AGAIN)
    assert rig.governed
    assert rig.watches.begun_anew == 1


@async_test
async def test_watches_that_began_anew_and_are_silent_on_a_kind_begin_once_more():
    rig = Rig()
    await rig.resync.fill()
    rig.watches.listed.remove(Kind.BUDGET)
    await rig.pass_time(60)
    assert rig.watches.begun_anew == 0  # nothing happened: there just is no budget
    rig.watches.restarts, rig.watches.age = 1, 0
    await rig.pass_time(5)
    assert rig.watches.begun_anew == 0
    rig.watches.age = SETTLED + 1
    await rig.pass_time(60)
    assert rig.watches.begun_anew == 1
    rig.watches.listed.add(Kind.BUDGET)
    rig.watches.restarts = 2
    await rig.pass_time(60)
    assert rig.watches.begun_anew == 1


@pytest.mark.parametrize("kind", [Kind.BUDGET, Kind.DAEMON_SET])
def test_discovery(kind: Kind):
    @async_test
    async def run():
        server = Server()
        assert await served(server, kind) is (kind is Kind.BUDGET)  # type: ignore[arg-type]
        server.defined = False
        assert not await served(server, kind)  # type: ignore[arg-type]

    run()
