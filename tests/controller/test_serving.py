"""The certificate that is served: what comes before what, and what stays when something fails."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonpatch
import pytest

from controller_reviews import HOSTS
from fake_apiserver import async_test
from watchbudget.controller import serving, tls
from watchbudget.controller.secret_store import SecretStore
from watchbudget.controller.serving import keep_from_files, keep_from_secret
from watchbudget.controller.wire import Reply, WireError

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SECRET = "/api/v1/namespaces/wb/secrets/certs"
REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
CONFIGURATIONS = [f"{REGISTRATION}/{resource}/{name}" for resource, name in serving.CONFIGURATIONS]


class Server:
    """The Secret and the webhook configurations, and everything that was done, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        for path in CONFIGURATIONS:
            webhooks = [{"name": name, "clientConfig": {}} for name in ("a", "b")]
            self.objects[path] = {"metadata": {"resourceVersion": "1"}, "webhooks": webhooks}
        self.done: list[str] = []
        self.down = False
        self.refused = ""  # paths that begin so get a 403

    async def request(self, method: str, path: str, body: Any = None, **_: object) -> Reply:  # noqa: ANN401
        if self.down:
            raise WireError("down")
        path = SECRET if method == "POST" else path
        if self.refused and path.startswith(self.refused):
            return Reply(403, {"message": "no"})
        there = self.objects.get(path)
        if method == "GET":
            return Reply(404, {}) if there is None else Reply(200, there)
        if method == "PATCH":
            body = jsonpatch.apply_patch(there, body)
        self.done.append("secret" if path == SECRET else "publish")
        self.objects[path] = body | {"metadata": {"resourceVersion": "1", "name": "certs"}}
        return Reply(200, self.objects[path])

    def published(self) -> set[bytes]:
        return {
            base64.b64decode(webhook["clientConfig"].get("caBundle", ""))
            for path in CONFIGURATIONS
            for webhook in self.objects[path]["webhooks"]
        }


class Keeper:
    """`keep_from_secret` in a loop that looks often, with a clock by hand."""

    def __init__(self, server: Server) -> None:
        self.server, self.time, self.leads = server, START, True
        self.loaded: list[bytes] = []
        self.store = SecretStore(
            server, "wb", "certs", HOSTS, may_write=lambda: self.leads, now=lambda: self.time
        )

    def load(self, certificate: bytes, _: bytes) -> None:
        self.server.done.append("load")
        self.loaded.append(certificate)

    @property
    def bundle(self) -> tls.Bundle:
        assert self.store.bundle is not None
        return self.store.bundle

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        job = keep_from_secret(self.store, self.server, lambda: self.leads, self.load)
        task = asyncio.create_task(job)
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "INTERVAL", 0.002)
    monkeypatch.setattr(serving, "EAGER", 0.001)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


@async_test
async def test_the_first_start_makes_loads_and_publishes():
    keeper = Keeper(Server())
    async with keeper.running():
        await until(lambda: keeper.server.done.count("publish") == 2)
        assert keeper.server.done == ["secret", "load", "publish", "publish"]
        assert keeper.server.published() == {keeper.bundle.ca_certificates}
        await asyncio.sleep(0.02)
        assert len(keeper.server.done) == 4  # what is as it should be is not written again


@async_test
async def test_a_standby_serves_what_it_finds_and_writes_nothing():
    leader = Keeper(Server())
    standby = Keeper(leader.server)
    standby.leads = False
    async with standby.running():
        await asyncio.sleep(0.01)
        assert standby.loaded == leader.server.done == []
        async with leader.running():
            await until(lambda: standby.loaded)
    assert standby.loaded == leader.loaded
    assert leader.server.done.count("secret") == 1


@async_test
async def test_a_new_authority_is_known_everywhere_before_anything_is_served_by_it():
    keeper = Keeper(Server())
    async with keeper.running():
        await until(lambda: keeper.server.done.count("publish") == 2)
        first = keeper.bundle
        while keeper.bundle.ca_certificates.count(b"BEGIN") < 2:
            keeper.time += tls.RENEW_BEFORE / 2
            await asyncio.sleep(0.02)
        await until(lambda: keeper.server.published() == {keeper.bundle.ca_certificates})
        assert keeper.loaded[-1] == keeper.bundle.certificate
        keeper.server.done.clear()
        before = keeper.bundle
        keeper.server.refused = CONFIGURATIONS[1]  # of the second one nobody knows what is in it
        keeper.time += tls.SETTLE
        await asyncio.sleep(0.05)
        assert keeper.bundle == before
        assert keeper.server.done == []
        keeper.server.refused = ""
        await until(lambda: keeper.bundle.certificate != before.certificate)
        assert keeper.server.published() == {before.ca_certificates}
        keeper.time += tls.SETTLE
        await until(lambda: keeper.server.published() == {keeper.bundle.ca_certificates})
        await until(lambda: keeper.bundle.ca_certificates.count(b"BEGIN") == 1)
        assert keeper.bundle.ca_certificates not in first.ca_certificates


@async_test
async def test_a_configuration_applied_anew_and_a_secret_deleted_are_put_right():
    keeper = Keeper(Server())
    async with keeper.running():
        await until(lambda: keeper.server.done.count("publish") == 2)
        keeper.server.objects[CONFIGURATIONS[0]]["webhooks"][1]["clientConfig"] = {"caBundle": "b2xk"}
        await until(lambda: keeper.server.published() == {keeper.bundle.ca_certificates})
        served = keeper.loaded[-1]
        del keeper.server.objects[SECRET]
        await until(lambda: SECRET in keeper.server.objects)
        await until(lambda: keeper.server.published() == {keeper.bundle.ca_certificates})
        assert keeper.loaded[-1] == served  # nothing fails meanwhile


@async_test
async def test_an_outage_changes_nothing_that_is_served(caplog: pytest.LogCaptureFixture):
    keeper = Keeper(Server())
    async with keeper.running():
        await until(lambda: keeper.server.done.count("publish") == 2)
        keeper.server.down = True
        await asyncio.sleep(0.02)
        assert len(keeper.loaded) == 1
        keeper.server.down = False
        await asyncio.sleep(0.02)
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1


@async_test
async def test_an_expired_certificate_is_replaced_by_whoever_leads():
    keeper = Keeper(Server())
    async with keeper.running():
        await until(lambda: keeper.server.done.count("publish") == 2)
    keeper.time += tls.CA_LIFETIME * 2  # nobody ran for two years
    standby, leader = Keeper(keeper.server), Keeper(keeper.server)
    standby.leads, standby.time, leader.time = False, keeper.time, keeper.time
    async with standby.running():
        await until(lambda: standby.loaded)
        async with leader.running():
            await until(lambda: standby.loaded[-1] != keeper.loaded[-1])
            await until(lambda: keeper.server.published() == {leader.bundle.ca_certificates})
            assert standby.loaded[-1] == leader.loaded[-1]


@async_test
async def test_missing_configurations_are_told_once(caplog: pytest.LogCaptureFixture):
    keeper = Keeper(Server())
    for path in CONFIGURATIONS:
        del keeper.server.objects[path]
    async with keeper.running():
        await until(lambda: "its webhooks are not called" in caplog.text)
        await asyncio.sleep(0.02)
    messages = [each.getMessage() for each in caplog.records]
    told = [each for each in messages if "its webhooks are not called" in each]
    assert len(told) == len(CONFIGURATIONS)  # each once
    assert keeper.loaded


@async_test
async def test_files_are_served_when_they_come_and_when_they_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    loaded: list[tuple[bytes, bytes]] = []

    def load(certificate: bytes, key: bytes) -> None:
        if certificate == b"bad":
            raise ValueError("bad")
        loaded.append((certificate, key))

    def put(name: str, certificate: bytes) -> None:
        """As the kubelet does: a folder beside, and a link that is exchanged."""
        (tmp_path / name).mkdir()
        (tmp_path / name / "tls.crt").write_bytes(certificate)
        (tmp_path / name / "tls.key").write_bytes(b"key of " + certificate)
        (tmp_path / "new").symlink_to(tmp_path / name)
        os.replace(tmp_path / "new", tmp_path / "now")  # noqa: PTH105 - a link, not what it points to

    task = asyncio.create_task(keep_from_files(tmp_path / "now", load))
    await asyncio.sleep(0.02)
    put("1", b"one")
    await until(lambda: loaded == [(b"one", b"key of one")])
    put("2", b"bad")
    await until(lambda: "bad" in caplog.text)
    put("3", b"three")
    await until(lambda: loaded[1:] == [(b"three", b"key of three")])
    await asyncio.sleep(0.02)
    assert len(loaded) == 2
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 2
    task.cancel()


@async_test
async def test_a_new_leader_looks_again_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving, "EAGER", 0.01)
    leads = False
    waiting = asyncio.create_task(serving._pause(60, lambda: leads))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    leads = True
    await asyncio.wait_for(waiting, 5)
    still_leading = asyncio.create_task(serving._pause(60, lambda: leads))
    await asyncio.sleep(0.05)
    assert not still_leading.done()
    still_leading.cancel()
