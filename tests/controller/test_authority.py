"""The authority that the API server is known by is rotated while the process runs."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from fake_apiserver import async_test
from watchbudget.controller import authority
from watchbudget.controller.authority import keep_trusting
from watchbudget.controller.tls import Bundle, create


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "INTERVAL", 0.01)


def bundle() -> Bundle:
    return create(("127.0.0.1",), dt.datetime.now(dt.UTC))


@asynccontextmanager
async def server(folder: Path, vouched: Bundle) -> AsyncIterator[str]:
    """An HTTPS server with a certificate of the bundle's authority."""
    chain, key = folder / "tls.crt", folder / "tls.key"
    chain.write_bytes(vouched.certificate)
    key.write_bytes(vouched.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text="ok")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def trusted(url: str, context: ssl.SSLContext) -> bool:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        try:
            async with session.get(url) as answer:
                return await answer.text() == "ok"
        except aiohttp.ClientConnectorCertificateError:
            return False


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await check():  # noqa: ASYNC110 - of what is looked at now and then
            await asyncio.sleep(0.01)


@asynccontextmanager
async def kept(file: Path, *contexts: ssl.SSLContext) -> AsyncIterator[list[str]]:
    """Gives what was told of changes: one entry each."""
    told: list[str] = []
    task = asyncio.create_task(keep_trusting(file, contexts, lambda: told.append("changed")))
    try:
        await asyncio.sleep(0.05)  # it has read what is trusted by now
        yield told
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@async_test
async def test_a_new_authority_in_the_file_is_trusted_and_the_old_one_still(tmp_path: Path) -> None:
    old, new, file = bundle(), bundle(), tmp_path / "ca.crt"
    file.write_bytes(old.ca_certificates)
    contexts = [ssl.create_default_context(cafile=str(file)) for _ in range(2)]
    async with server(tmp_path, old) as before, server(tmp_path, new) as after, kept(file, *contexts) as told:
        assert [await trusted(url, contexts[0]) for url in (before, after)] == [True, False]
        file.write_bytes(new.ca_certificates)
        for context in contexts:
            await until(partial(trusted, after, context))
            assert await trusted(before, context)
        await asyncio.sleep(0.05)
        assert told == ["changed"]


@pytest.mark.parametrize("trouble", [None, b"", b"garbage", b"\xff\xfe"])
@async_test
async def test_a_file_that_is_away_or_spoilt_for_a_while_changes_nothing(
    tmp_path: Path, trouble: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    old, new, file = bundle(), bundle(), tmp_path / "ca.crt"
    file.write_bytes(old.ca_certificates)
    context = ssl.create_default_context(cafile=str(file))

    async def told() -> bool:
        return str(file) in caplog.text

    async with server(tmp_path, old) as before, server(tmp_path, new) as after, kept(file, context):
        file.unlink()
        if trouble is not None:
            file.write_bytes(trouble)
        await until(told)
        assert await trusted(before, context)
        file.write_bytes(new.ca_certificates)
        await until(partial(trusted, after, context))
    levels = [record.levelname for record in caplog.records if record.name == authority.__name__]
    assert levels[0] == "WARNING"
