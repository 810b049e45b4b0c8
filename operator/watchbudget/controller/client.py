"""The controller's connection: each request sent once, each watch read as it comes.

`inventory.transport.Api` repeats requests and remembers that a server has gone, which is right for an audit.
Here the loops above repeat, because a write that is repeated blindly may land after another replica leads.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from watchbudget.controller.wire import JSON, Reply, WireError

__all__ = ["Client"]

CONNECT_SECONDS = 10.0
LONGEST_EVENT = 16 * 2**20
"""Bytes of one watch event. etcd stores 1.5 MiB, JSON is longer; what is longer than this is no event."""

_Failures = (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError)


class Client:
    """Implements `wire.Transport` over `kubernetes.aio`'s ApiClient, and watches."""

    def __init__(self, api_client: Any, *, fresh_connections: bool = False) -> None:  # noqa: ANN401 - not typed
        """Wrap an open client; whoever opened it closes it.

        Args:
            api_client: as `inventory.connection.open_client` gives it.
            fresh_connections: ask the server to close each connection after its answer, so that every
                request meets whichever server the load balancer offers, and pays for the handshake. The open
                client must then be used by nobody else: it gives out connections that others left open.
        """
        self._client = api_client
        self._headers = {"Connection": "close"} if fresh_connections else {}

    @property
    def tls(self) -> ssl.SSLContext:
        """By what its connections are opened: what is changed here holds for those that are opened later."""
        context: ssl.SSLContext = self._client.rest_client.ssl_context
        return context

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float,  # noqa: ASYNC109 - as the protocol has it
    ) -> Reply:
        """Send one request and return its answer; see `wire.Transport`."""
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, CONNECT_SECONDS))
        try:
            async with asyncio.timeout(timeout):  # renewing a credential counts too
                headers = {"Accept": accept, "Content-Type": content_type}
                response = await self._open(method, path, body, headers, limits)
                async with response:
                    value = _decoded(response.status, await response.read())
        except _Failures as error:
            raise WireError(f"{method} {path}: {_said(error)}") from error
        if not isinstance(value, dict):
            raise WireError(f"{method} {path}: an object was expected, not {type(value).__name__}")
        return Reply(response.status, value)

    async def watch(self, path: str, *, timeout: float) -> AsyncIterator[Mapping[str, Any]]:  # noqa: ASYNC109
        """Yield the events of a watch until the server ends it.

        Args:
            path: path and query, `watch=1` included.
            timeout: seconds of silence after which the connection counts as dead.

        Raises:
            WireError: it was refused, it broke, or something else than an event came. The text of a
                refusal holds its HTTP status.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=timeout)
        try:
            response = await self._open("GET", path, None, {"Accept": JSON}, limits)
            async with response:
                if response.status != 200:
                    said = (await response.content.read(4096)).decode(errors="replace")
                    raise WireError(f"GET {path}: {said.strip()[:300]} (HTTP {response.status})")
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if not isinstance(event, dict):
                        raise WireError(f"GET {path}: {type(event).__name__} came instead of an event")
                    yield event
        except _Failures as error:
            raise WireError(f"GET {path}: {_said(error)}") from error

    async def _open(
        self, method: str, path: str, body: object, headers: dict[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        request = await self._client.param_serialize(
            method,
            path,
            query_params=[],
            header_params=headers | self._headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(*request, _request_timeout=limits)
        response: aiohttp.ClientResponse = answer.response
        return response


def _decoded(status: int, body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """An answer's body. Refusals of priority and fairness (429) and of proxies are plain text."""
    try:
        return json.loads(body)
    except ValueError:
        if status < 400:
            raise
        return {"message": body[:300].decode(errors="replace").strip()}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to `LONGEST_EVENT`; the reader's own would end at its buffer."""
    rest = bytearray()
    async for chunk in content.iter_any():
        searched = len(rest)
        rest += chunk
        while (end := rest.find(b"\n", searched)) >= 0:
            line = bytes(rest[:end])
            del rest[: end + 1]
            searched = 0
            if line.strip():
                yield line
        if len(rest) > LONGEST_EVENT:
            raise WireError(f"an event of more than {LONGEST_EVENT} bytes came")


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
