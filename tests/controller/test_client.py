"""The controller's connection against a server that answers oddly, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fake_apiserver import FakeApiServer, Handler, async_test, fake_apiserver, json_answer, write_kubeconfig
from watchbudget.controller import client as module
from watchbudget.controller.client import Client
from watchbudget.controller.wire import JSON_PATCH, WireError
from watchbudget.inventory.connection import open_client

PATH = "/api/v1/pods"


@asynccontextmanager
async def connected(tmp_path: Path, handler: Handler) -> AsyncIterator[tuple[Client, FakeApiServer]]:
    async with fake_apiserver(handler) as fake:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", fake.url, token="secret-token")
        async with open_client(str(kubeconfig)) as (api_client, _):
            yield Client(api_client), fake


@async_test
async def test_a_request_carries_what_it_should_and_gives_the_answer(tmp_path: Path):
    seen: dict[str, Any] = {}

    async def handler(request: web.BaseRequest) -> web.Response:
        seen.update(request.headers)
        seen["body"] = await request.json()
        return json_answer({"kind": "Pod"}, 201)

    async with connected(tmp_path, handler) as (client, fake):
        reply = await client.request(
            "PATCH",
            f"{PATH}?x=1",
            [{"op": "test"}],
            content_type=JSON_PATCH,
            accept="application/x",
            timeout=5,
        )
        assert (reply.status, reply.body) == (201, {"kind": "Pod"})
        assert fake.requests == [f"PATCH {PATH}?x=1"]
    assert seen["body"] == [{"op": "test"}]
    assert (seen["Content-Type"], seen["Accept"]) == (JSON_PATCH, "application/x")
    assert seen["Authorization"] == "Bearer secret-token"
    assert seen["User-Agent"].startswith("watchbudget/")


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422, 429, 500, 503])
def test_a_refusal_is_an_answer_and_is_not_repeated(status: int, tmp_path: Path):
    @async_test
    async def run():
        async with connected(tmp_path, lambda _: json_answer({"message": "no"}, status)) as (client, fake):
            reply = await client.request("GET", PATH, timeout=5)
            assert (reply.status, reply.body["message"]) == (status, "no")
            assert len(fake.requests) == 1

    run()


@pytest.mark.parametrize("text", ["Too many requests, please try again later.\n", "", "<html>" + "x" * 5000])
def test_a_refusal_in_plain_text(text: str, tmp_path: Path):
    """As priority and fairness sends it, and proxies."""

    @async_test
    async def run():
        async with connected(tmp_path, lambda _: web.Response(status=429, text=text)) as (client, _):
            reply = await client.request("GET", PATH, timeout=5)
            assert (reply.status, reply.body["message"]) == (429, text.strip()[:300])

    run()


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b"null", b"7", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_success_that_is_no_object_is_none(body: bytes, tmp_path: Path):
    @async_test
    async def run():
        async with connected(tmp_path, lambda _: web.Response(body=body)) as (client, _):
            with pytest.raises(WireError, match=f"^GET {PATH}: "):
                await client.request("GET", PATH, timeout=5)

    run()


@async_test
async def test_a_connection_that_breaks_is_not_tried_again(tmp_path: Path):
    def handler(_: web.BaseRequest) -> web.Response:
        raise ConnectionResetError

    async with connected(tmp_path, handler) as (client, fake):
        with pytest.raises(WireError):
            await client.request("POST", PATH, {}, timeout=5)
        assert fake.requests == [f"POST {PATH}"]


@async_test
async def test_nobody_answers(tmp_path: Path):
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", token="t")
    async with open_client(str(kubeconfig)) as (api_client, _):
        with pytest.raises(WireError, match=r"127\.0\.0\.1"):
            await Client(api_client).request("GET", PATH, timeout=5)


@async_test
async def test_an_answer_that_takes_too_long_is_given_up_and_its_connection_cut(tmp_path: Path):
    gone, end = asyncio.Event(), asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while not end.is_set():
                await response.write(b" ")  # it is alive all the time
                await asyncio.sleep(0.01)
        except ConnectionError:
            gone.set()
        return response

    async with connected(tmp_path, handler) as (client, _):
        with pytest.raises(WireError, match="TimeoutError"):
            await client.request("GET", PATH, timeout=0.2)
        async with asyncio.timeout(10):
            await gone.wait()
        end.set()


class Streamed:
    """A watch that sends what it is given, piece by piece."""

    def __init__(self, *pieces: bytes, status: int = 200, cut: bool = False, hang: bool = False) -> None:
        self.pieces, self.status, self.cut, self.hang = pieces, status, cut, hang
        self.end = asyncio.Event()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        for piece in self.pieces:
            await response.write(piece)
            await asyncio.sleep(0.01)
        if self.hang:
            await self.end.wait()
        if self.cut:
            raise ConnectionResetError
        return response


async def watched(tmp_path: Path, stream: Streamed, silence: float = 5) -> tuple[list[Any], str]:
    """The events of a watch, and how it ended: empty for politely."""
    events: list[Any] = []
    async with connected(tmp_path, stream) as (client, _):
        try:
            async for event in client.watch(f"{PATH}?watch=true", timeout=silence):
                events.append(event)  # noqa: PERF401 - those before it breaks count
        except WireError as error:
            return events, str(error)
        finally:
            stream.end.set()
    return events, ""


def line(**event: object) -> bytes:
    return json.dumps(event).encode() + b"\n"


@async_test
async def test_events_come_however_they_are_cut_into_pieces(tmp_path: Path):
    whole = line(n=1) + b"\n" + '{"n": 2, "name": "é"}\n'.encode() + line(n=3)
    for size in (1, 7, len(whole)):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        events, end = await watched(tmp_path, Streamed(*pieces))
        assert [event["n"] for event in events] == [1, 2, 3]
        assert events[1]["name"] == "é"
        assert end == ""


@async_test
async def test_a_large_event_comes_whole_and_an_endless_one_ends_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    large = line(pad="x" * 2_000_000)
    events, end = await watched(tmp_path, Streamed(line(n=1), large, line(n=2)))
    assert [len(event.get("pad", "")) for event in events] == [0, 2_000_000, 0]
    monkeypatch.setattr(module, "LONGEST_EVENT", 1_000_000)
    events, end = await watched(tmp_path, Streamed(line(n=1), *[b"x" * 100_000] * 30))
    assert [event["n"] for event in events] == [1]
    assert "an event of more than 1000000 bytes" in end


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (Streamed(line(n=1), cut=True), ""),
        (Streamed(line(n=1), b'{"half": ', cut=True), ""),
        (Streamed(line(n=1), b"no json\n"), "Expecting value"),
        (Streamed(line(n=1), b"[1]\n"), "list came instead of an event"),
        (Streamed(line(n=1), b"[" * 50_000 + b"\n"), ""),
        (Streamed(line(n=1), b"\xff\n"), ""),
    ],
    ids=range(6),
)
def test_what_breaks_a_watch_ends_it_after_the_events_before(stream: Streamed, said: str, tmp_path: Path):
    @async_test
    async def run():
        events, end = await watched(tmp_path, stream)
        assert events == [{"n": 1}]
        assert end.startswith(f"GET {PATH}?watch=true: ")
        assert said in end

    run()


@async_test
async def test_a_silent_watch_ends(tmp_path: Path):
    events, end = await watched(tmp_path, Streamed(line(n=1), hang=True), silence=0.2)
    assert events == [{"n": 1}]
    assert "imeout" in end


@pytest.mark.parametrize(("status", "body"), [(410, line(message="too old")), (429, b"Too many"), (500, b"")])
def test_a_refused_watch_says_why(status: int, body: bytes, tmp_path: Path):
    @async_test
    async def run():
        events, end = await watched(tmp_path, Streamed(body, status=status))
        assert events == []
        assert end.endswith(f"(HTTP {status})")

    run()


@async_test
async def test_a_watch_that_is_left_early_closes_its_connection(tmp_path: Path):
    gone = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(line(n=1))
                await asyncio.sleep(0.01)
        except ConnectionError:
            gone.set()
        return response

    async with connected(tmp_path, handler) as (client, _):
        events = client.watch(PATH, timeout=5)
        assert await anext(events) == {"n": 1}
        await events.aclose()
        async with asyncio.timeout(10):
            await gone.wait()
