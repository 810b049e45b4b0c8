"""The operator's own probe: what it hears, and how often it asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from fake_apiserver import async_test, fake_apiserver, json_answer, write_kubeconfig
from scripted_api import ScriptedApi
from watchbudget.controller import api_probe
from watchbudget.controller.api_probe import ApiProbe
from watchbudget.controller.client import Client
from watchbudget.controller.wire import Reply, WireError
from watchbudget.inventory.connection import open_client
from watchbudget.rollout.model import Signals

LEASE = "/apis/coordination.k8s.io/v1/namespaces/watchbudget-system/leases/watchbudget"


class Clock:
    """Gains a quarter of a second with every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def probe_of(answer: Reply | WireError) -> ApiProbe:
    api = ScriptedApi(intervene=lambda _method, _path, _body: answer)
    return ApiProbe(api, LEASE, busy=lambda: False, clock=Clock())


@pytest.mark.parametrize(
    ("answer", "signals"),
    [
        (Reply(200, {}), Signals(latency=0.25)),
        (Reply(404, {}), Signals(latency=0.25)),  # no Lease yet: an answer from etcd all the same
        (Reply(403, {}), Signals()),  # nothing was asked of etcd
        (Reply(429, {}), Signals(refused=1)),
        (Reply(504, {}), Signals(timeouts=1)),
        (WireError("no answer"), Signals(timeouts=1)),
    ],
)
def test_what_it_hears(answer: Reply | WireError, signals: Signals):
    probe = probe_of(answer)
    asyncio.run(probe.probe())
    assert probe.signals() == signals
    assert probe.signals() == Signals()  # told once


@async_test
async def test_a_problem_is_logged_once(caplog: pytest.LogCaptureFixture):
    probe = probe_of(Reply(403, {"message": "may not get leases"}))
    for _ in range(3):
        await probe.probe()
    assert len(caplog.records) == 1
    assert "may not get leases" in caplog.text


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_probe, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(api_probe, "IDLE_SECONDS", 3600.0)


def test_often_while_pods_start_and_seldom_otherwise(quick: None):
    @async_test
    async def run():
        api, busy = ScriptedApi(), False
        probe = ApiProbe(api, LEASE, busy=lambda: busy)
        running = asyncio.create_task(probe.run())
        await until(lambda: len(api.calls) == api_probe.FIRST)  # a baseline, soon
        await asyncio.sleep(0.1)
        assert len(api.calls) == api_probe.FIRST
        busy = True
        probe.hurry()
        await until(lambda: len(api.calls) > api_probe.FIRST + 5)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    run()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


@async_test
async def test_every_probe_has_a_connection_of_its_own(tmp_path: Path):
    ports: list[int] = []

    def answer(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return json_answer({})

    async with fake_apiserver(answer) as fake:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", fake.url, token="t")
        async with open_client(str(kubeconfig)) as (client, _):
            probe = ApiProbe(Client(client, fresh_connections=True), LEASE, busy=lambda: True)
            for _ in range(3):
                await probe.probe()
    assert len(set(ports)) == 3
