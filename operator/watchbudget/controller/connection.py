"""One HTTP/1.1 connection to the admission server: questions in, answers out, one at a time.

The parser is httptools' (that of Node.js). What an HTTP framework does around it for everybody, no API server
asks for, and every creation of a DaemonSet waits for it: docs/decisions/0012.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

import httptools
from msgspec import Struct

__all__ = ["MAX_BODY", "Answerer", "Connection", "Reply", "Request", "refusal"]

MAX_BODY = 7 * 1024 * 1024
"""Bytes. The API server decodes objects of up to 3 MB, twice what etcd stores, as JSON is longer than what
is stored (`MaxRequestBodyBytes` in k8s.io/apiserver/pkg/server/config.go). An UPDATE carries two of them,
old and new, and less than 1 MB beside: `maxRequestSize` in controller-runtime's
pkg/webhook/admission/http.go."""

MAX_HEAD = 64 * 1024
"""Bytes of a request line and its headers, not counted what came along with its first; an API server sends
some 300 in all."""

MAX_WIRE = MAX_HEAD + 2 * MAX_BODY
"""Bytes of a request as it is sent: what a body in chunks has around these is kept in memory, too."""

REQUEST_SECONDS = 30.0
"""From a request's first byte to its last. No webhook's timeout is longer (`timeoutSeconds`): who sends
slower has no one waiting for the answer."""

LINGER_SECONDS = 1.0
"""How long what still arrives is read and dropped after a refusal in the middle of a request, so that its
sender sees our refusal rather than a broken connection."""


class Request(Struct):
    """What was asked; `began` is the clock (`time.perf_counter`) when its headers had arrived."""

    method: str
    path: str
    body: bytes
    began: float
    keep_alive: bool


class Reply(Struct, frozen=True):
    """What is answered; the body is JSON. `sent` never raises."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    sent: Callable[[], None] | None = None  # what can wait until it is on its way


Answerer = Callable[[Request], Reply | Awaitable[Reply]]
"""Never raises, and neither does what it may give to await."""


def refusal(status: int, message: str, **headers: str) -> Reply:
    """An answer that no API server takes for an admission."""
    return Reply(status, json.dumps({"message": f"watchbudget: {message}"}).encode(), tuple(headers.items()))


class Connection(asyncio.Protocol):
    """Reads requests and has them answered in their order."""

    def __init__(
        self,
        answer: Answerer,
        connections: set[Connection],
        ending: Callable[[], bool] = lambda: False,
        refused: Callable[[str, Reply], object] = lambda *_: None,
    ) -> None:
        """Begin.

        Args:
            answer: answers a request.
            connections: those that are open; it enters and leaves by itself.
            ending: whether to close it with the next answer.
            refused: told the path, as far as it is known, of a request that cannot be read, and the answer.
        """
        self._answer = answer
        self._connections = connections
        self._ending, self._tell_refused = ending, refused
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._complete: deque[Request] = deque()
        self._answering: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._refused: Reply | None = None  # of the request that is arriving
        self._feeding = self._arrived = 0  # bytes
        self._choked = False  # the other side reads no answers
        self._begin()

    def _begin(self) -> None:
        self._arriving = False
        self._head_done = False
        self._size = 0
        self._url = b""
        self._began = 0.0
        self._body: list[bytes] = []

    @property
    def busy(self) -> bool:
        """Whether a request is arriving or being answered."""
        return self._arriving or self._answering is not None or bool(self._complete)

    @property
    def _path(self) -> str:
        return self._url.split(b"?", 1)[0].decode("latin-1")

    def end_soon(self) -> None:
        """Close it if it is idle; else `ending` does."""
        if not self.busy and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open, and TLS is agreed on."""
        self._transport = cast("asyncio.Transport", transport)
        # An API server that went without a word leaves nothing behind; an idle connection may stay.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """It is closed; an answer that is being worked out goes nowhere."""
        self._connections.discard(self)
        self._transport = None
        self._complete.clear()
        self._stop_timer()

    def pause_writing(self) -> None:
        """The other side reads no answers: nothing more is taken from it until it does."""
        self._choked = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._choked = False
        self._read_on()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then answer what is complete."""
        if self._refused is not None:
            return  # dropped, until the connection is closed
        self._feeding = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._complete.clear()
            self._refuse(refusal(400, "no other protocol is spoken here"))
        except httptools.HttpParserError as error:
            if self._refused is None:  # else a callback below has stopped the parser
                self._refuse(refusal(400, f"the request cannot be read: {error}"))
        if self._arriving and self._refused is None:
            self._arrived += len(data)
            self._bound()
        self._go_on()

    # What the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._begin()
        self._arriving = True
        self._arrived = -self._feeding  # what came along with its beginning is not counted

    def on_url(self, url: bytes) -> None:
        """A part of what is asked for."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        name = name.lower()
        if name not in _HEEDED:
            return
        if name == b"content-length" and int(value) > MAX_BODY:
            self._refused = _too_large()
        elif name == b"content-encoding" and value.lower() != b"identity":
            self._refused = refusal(415, "send the body as it is, not compressed")
        elif name == b"expect" and value.lower() == b"100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._began = time.perf_counter()
        self._head_done = True
        if self._refused is not None:
            raise _RefusedError

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._size += len(body)
        if self._size > MAX_BODY:
            self._refused = _too_large()
            raise _RefusedError
        self._body.append(body)

    def on_message_complete(self) -> None:
        """All of a request has arrived."""
        method = self._parser.get_method().decode("ascii")
        keep = self._parser.should_keep_alive()
        self._complete.append(Request(method, self._path, b"".join(self._body), self._began, keep))
        self._stop_timer()
        self._begin()

    # Answers

    def _go_on(self) -> None:
        """Answer what waits, in order, as far as that needs no waiting."""
        while self._complete and self._answering is None:
            request = self._complete.popleft()
            found = self._answer(request)
            if isinstance(found, Reply):
                self._send(found, keep_alive=request.keep_alive)
            else:
                if self._transport is not None:
                    self._transport.pause_reading()  # whoever sends ahead of our answers has to wait
                self._answering = asyncio.ensure_future(self._send_later(found, request))
        if self._refused is not None and self._answering is None:
            self._say_refused()

    async def _send_later(self, answer: Awaitable[Reply], request: Request) -> None:
        reply = await answer
        self._answering = None
        self._send(reply, keep_alive=request.keep_alive)
        self._go_on()
        self._read_on()

    def _read_on(self) -> None:
        if self._transport is not None and self._answering is None and not self._choked:
            self._transport.resume_reading()

    def _send(self, reply: Reply, *, keep_alive: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            close = self._ending() or not keep_alive
            self._transport.write(_encoded(reply, close=close))
            if close:
                self._complete.clear()
                self._transport.close()
        if reply.sent is not None:
            reply.sent()

    def _refuse(self, reply: Reply) -> None:
        self._refused = reply

    def _bound(self) -> None:
        """What a request that is still arriving may take of time and memory."""
        if self._arrived > MAX_HEAD and not self._head_done:
            self._refuse(refusal(431, f"the headers are longer than {MAX_HEAD} bytes"))
        elif self._arrived > MAX_WIRE:
            self._refuse(_too_large())
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REQUEST_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        self._refuse(refusal(408, f"the request did not arrive within {REQUEST_SECONDS:.0f} s"))
        self._go_on()

    def _say_refused(self) -> None:
        """Answer in the middle of a request: the parser has lost its place, so this is the end."""
        if self._transport is None or self._refused is None or self._transport.is_closing():
            return
        self._stop_timer()
        self._arriving = False
        self._transport.write(_encoded(self._refused, close=True))
        self._tell_refused(self._path, self._refused)
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_HEEDED = frozenset({b"content-length", b"content-encoding", b"expect"})

_USUAL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
"""The head of nearly every answer, made once."""


class _RefusedError(Exception):
    """Stops the parser."""


def _too_large() -> Reply:
    return refusal(413, f"the body is longer than {MAX_BODY} bytes")


def _encoded(reply: Reply, *, close: bool) -> bytes:
    if reply.status == 200 and not close and not reply.headers:
        return _USUAL % len(reply.body) + reply.body
    head = [
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(reply.body)}",
        *(f"{name}: {value}" for name, value in reply.headers),
        *(["Connection: close"] if close else []),
    ]
    return "\r\n".join([*head, "\r\n"]).encode("latin-1") + reply.body
