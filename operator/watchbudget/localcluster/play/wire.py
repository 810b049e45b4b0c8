"""HTTP/1.1 over TLS for very many clients in one process: answers are counted and dropped, not kept.

A storm moves gigabytes. A client library that decodes or even only frames them would be the bottleneck on the
machine it shares with the API server, and would measure itself. So a body is read into one buffer that all
connections share, its end recognised by its last bytes, and nothing of it is kept but its first kilobyte.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Reply", "Wire"]

_BUFFER = bytearray(256 * 1024)
"""Shared: it is filled and dealt with in one go, and the event loop is one thread."""

_VIEW = memoryview(_BUFFER)
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_KEPT = 1024
_EDGE = 12
"""Bytes between two chunks, at most: two line ends and a size of up to eight digits."""

_BETWEEN = re.compile(rb"\r\n[0-9a-fA-F]{1,8}\r\n")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the status, the headers in lower case, the body's first bytes and its size on the wire.

    A chunked body's size includes the chunks' own few bytes.
    """

    status: int
    headers: dict[str, str]
    start: bytes
    size: int


class Wire(asyncio.BufferedProtocol):
    """One TLS connection to the API server, for one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._mark: bytes | None = None
        self._reset()

    @classmethod
    async def connect(cls, url: str, tls: ssl.SSLContext) -> Wire:
        """Open a connection of its own.

        Raises:
            OSError: The server cannot be reached.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(cls, host, port, ssl=tls)
        return wire

    @property
    def open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, path: str, headers: dict[str, str], *, until: bytes | None = None) -> Reply:
        """Send a GET and wait for the end of its answer.

        With ``until`` a successful answer is returned as soon as these bytes went by (none: as soon as it
        begins); what follows is counted and dropped, and `ended` tells of its end.

        Raises:
            ConnectionError: The connection was closed first.
        """
        if self._transport is None or self._waiter is not None:
            raise ConnectionError("this connection is closed or busy")
        self._reset()
        self._mark = until
        self._waiter = asyncio.get_running_loop().create_future()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"GET {path} HTTP/1.1\r\nHost: kubernetes\r\n{lines}\r\n".encode())
        try:
            return await self._waiter
        finally:
            self._waiter = None

    async def ended(self) -> None:
        """Wait until a stream that was left running ends, or the connection is closed."""
        if self.open and not self._complete:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except ConnectionError:
                pass
            finally:
                self._waiter = None

    def close(self) -> None:
        """Close at once, as a killed process does."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """See `asyncio.BufferedProtocol`."""
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        start = 0
        if self._status == 0:
            self._head += _BUFFER[:nbytes]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            start = nbytes - (len(self._head) - end - 4)
            self._read_head(bytes(self._head[:end]))
        self._read_body(start, nbytes)

    def eof_received(self) -> bool:
        """See `asyncio.BufferedProtocol`."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError(f"closed by the server: {exc or 'end of file'}"))

    def _reset(self) -> None:
        self._head = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._start = b""
        self._size = 0
        self._length: int | None = None
        self._tail = b""
        self._complete = False

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self._status = int(first.split(" ", 2)[1])
        pairs = (line.partition(":") for line in lines)
        self._headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = self._headers.get("content-length")
        self._length = int(length) if length is not None else None

    def _read_body(self, start: int, end: int) -> None:
        count = end - start
        if len(self._start) < _KEPT:
            self._start += bytes(_BUFFER[start : min(end, start + _KEPT)])
        self._size += count
        marked = False
        if self._mark is not None and self._status < 300:
            # A mark may lie across two reads; with its chunk's edge it is shorter than the tail that is kept.
            seam = self._tail + bytes(_BUFFER[start : min(end, start + len(self._mark) + _EDGE)])
            marked = _holds(seam, self._mark, 0, len(seam)) or _holds(_BUFFER, self._mark, start, end)
        kept = max(len(_LAST_CHUNK), len(self._mark or b"") + _EDGE)
        self._tail = (self._tail + bytes(_BUFFER[max(start, end - kept) : end]))[-kept:]
        if self._length is not None:
            self._complete = self._size >= self._length
        else:
            self._complete = self._tail.endswith(_LAST_CHUNK)
        if marked:
            self._mark = None
        if (marked or self._complete) and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Reply(self._status, self._headers, self._start[:_KEPT], self._size))


def _holds(data: bytes | bytearray, mark: bytes, start: int, end: int) -> bool:
    """Whether the mark is in it; the server may end a chunk in the middle of it."""
    if data.find(mark, start, end) >= 0:
        return True
    middle = len(mark) // 2  # one half is whole wherever it is cut
    for half, before in ((mark[:middle], 0), (mark[middle:], middle + _EDGE)):
        at = data.find(half, start, end)
        while at >= 0:
            around = bytes(data[max(start, at - before) : min(end, at + len(mark) + _EDGE)])
            if mark in _BETWEEN.sub(b"", around):
                return True
            at = data.find(half, at + 1, end)
    return False
