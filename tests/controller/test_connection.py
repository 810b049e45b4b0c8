"""HTTP as clients of all kinds send it: cut anywhere, in chunks, too long, too slow, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_apiserver import async_test
from watchbudget.controller import connection
from watchbudget.controller.connection import MAX_BODY, MAX_HEAD, Connection, Reply, Request, refusal

HEAD = b"POST /p?timeout=3s HTTP/1.1\r\nHost: x\r\n"


def echo(request: Request) -> Reply:
    return Reply(200, f"{request.method} {request.path} {request.body.decode()}".encode())


class Server:
    """Connections without TLS, at a free port."""

    def __init__(self, answer=echo) -> None:
        self.connections: set[Connection] = set()
        self.ending = False
        self._answer = answer

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Connection(self._answer, self.connections, lambda: self.ending), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            server.close()


async def answered(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], str]:
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers["Content-Length"]))
    return int(status.split()[1]), headers, body.decode()


def sized(body: bytes, *more: bytes) -> bytes:
    return HEAD + b"".join(more) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*parts: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize("sent", [sized(b"hello"), chunked(b"he", b"l", b"lo")])
def test_a_request_is_read_wherever_it_is_cut(sent: bytes):
    @settings(max_examples=30, deadline=None)
    @given(st.sets(st.integers(1, len(sent) - 1), max_size=4))
    def cut(places: set[int]) -> None:
        @async_test
        async def run() -> None:
            async with Server().client() as (reader, writer):
                edges = [0, *sorted(places), len(sent)]
                for start, end in itertools.pairwise(edges):
                    writer.write(sent[start:end])
                    await asyncio.sleep(0)
                status, headers, body = await answered(reader)
                assert (status, body) == (200, "POST /p hello")
                assert "Connection" not in headers
                writer.write(sized(b"again"))
                assert (await answered(reader))[2] == "POST /p again"

        run()

    cut()


@async_test
async def test_requests_that_were_sent_ahead_are_answered_in_order():
    release = asyncio.Event()

    def answer(request: Request) -> Reply | Awaitable[Reply]:
        async def later() -> Reply:
            await release.wait()
            return echo(request)

        return later() if request.body == b"1" else echo(request)

    async with Server(answer).client() as (reader, writer):
        writer.write(sized(b"0") + sized(b"1") + sized(b"2"))
        assert (await answered(reader))[2].endswith("0")
        await asyncio.sleep(0.05)
        release.set()
        assert [(await answered(reader))[2][-1] for _ in range(2)] == ["1", "2"]


@async_test
async def test_http_1_0_and_connection_close_end_it():
    for sent in (sized(b"x", b"Connection: close\r\n"), sized(b"x").replace(b"HTTP/1.1", b"HTTP/1.0")):
        async with Server().client() as (reader, writer):
            writer.write(sent)
            status, headers, _ = await answered(reader)
            assert (status, headers["Connection"]) == (200, "close")
            assert await reader.read() == b""


@async_test
async def test_a_client_that_asks_first_is_told_to_go_on():
    async with Server().client() as (reader, writer):
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await answered(reader))[2] == "POST /p ok"


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"\x16\x03\x01 this is no HTTP\r\n\r\n"),
        (400, HEAD + b"Content-Length: two\r\n\r\n"),
        (400, HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
        (400, HEAD + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
        (400, b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
        (413, HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1)),
        (413, chunked(b"x" * MAX_BODY, b"x")),
        (415, sized(b"x", b"Content-Encoding: gzip\r\n")),
        (431, HEAD + b"X: " + b"x" * (MAX_HEAD + 300_000)),
    ],
)
def test_what_cannot_be_read_is_refused_and_closed(status: int, sent: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.05)
    asked: list[Request] = []

    def note(request: Request) -> Reply:
        asked.append(request)
        return echo(request)

    @async_test
    async def run() -> None:
        server = Server(note)
        async with server.client() as (reader, writer):
            writer.write(sent)
            found, headers, body = await answered(reader)
            assert (found, headers["Connection"]) == (status, "close")
            assert body.startswith('{"message": "watchbudget: ')
            assert await reader.read() == b""
            assert not server.connections
        assert not asked

    run()


@pytest.mark.parametrize("sent", [HEAD, HEAD + b"Content-Length: 5\r\n\r\nab", b"P"])
def test_a_request_that_never_ends_is_given_up(sent: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.05)

    @async_test
    async def run() -> None:
        server = Server()
        async with server.client() as (reader, writer):
            writer.write(sized(b"x"))
            assert (await answered(reader))[0] == 200
            await asyncio.sleep(0.2)  # an idle connection is not given up
            writer.write(sent)
            assert (await answered(reader))[0] == 408
            assert await reader.read() == b""
            assert not server.connections

    run()


def test_trailers_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "MAX_WIRE", 400_000)

    @async_test
    async def run() -> None:
        async with Server().client() as (reader, writer):
            writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
            for _ in range(12):
                await asyncio.sleep(0.01)
                writer.write(b"T: " + b"x" * 65_536 + b"\r\n")
            assert (await answered(reader))[0] == 413

    run()


@async_test
async def test_the_end_waits_for_what_has_begun():
    server = Server()
    async with server.client() as (reader, writer):
        writer.write(sized(b"1") + HEAD)
        assert (await answered(reader))[0] == 200
        (open_one,) = server.connections
        assert open_one.busy
        server.ending = True
        open_one.end_soon()
        writer.write(b"Content-Length: 1\r\n\r\n2")
        status, headers, body = await answered(reader)
        assert (status, headers["Connection"], body[-1]) == (200, "close", "2")
        assert await reader.read() == b""


@async_test
async def test_an_idle_connection_ends_at_once():
    server = Server()
    async with server.client() as (reader, writer):
        writer.write(sized(b"1"))
        await answered(reader)
        for each in [*server.connections]:
            each.end_soon()
        async with asyncio.timeout(5):
            assert await reader.read() == b""


@async_test
async def test_an_answer_to_somebody_who_is_gone_is_noted_all_the_same():
    noted = asyncio.Event()
    release = asyncio.Event()

    async def later() -> Reply:
        await release.wait()
        return Reply(200, b"{}", sent=noted.set)

    server = Server(lambda _: later())
    async with server.client() as (_, writer):
        writer.write(sized(b"1"))
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.05)
        release.set()
        async with asyncio.timeout(5):
            await noted.wait()
            while server.connections:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


class Choked:
    """A transport whose other side reads nothing, until it is told so."""

    def __init__(self) -> None:
        self.reading = True
        self.written: list[bytes] = []

    def get_extra_info(self, _: str) -> Choked:
        return self

    def setsockopt(self, *_: object) -> None: ...

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@async_test
async def test_nothing_more_is_read_of_who_does_not_read_answers():
    async def later(request: Request) -> Reply:
        return echo(request)

    transport, its = Choked(), Connection(later, set())
    its.connection_made(transport)  # type: ignore[arg-type]
    its.data_received(sized(b"1"))
    assert not transport.reading  # one answer at a time
    its.pause_writing()
    await asyncio.sleep(0.01)
    assert (len(transport.written), transport.reading) == (1, False)
    its.resume_writing()
    assert transport.reading
    its.data_received(sized(b"2"))
    its.resume_writing()
    assert not transport.reading  # it is being answered
    await asyncio.sleep(0.01)
    assert (len(transport.written), transport.reading) == (2, True)


def test_refusals_name_the_product_and_carry_headers():
    assert refusal(405, "no", Allow="POST") == Reply(
        405, b'{"message": "watchbudget: no"}', (("Allow", "POST"),)
    )
