"""Stands between one replica and the API server, and does to their connection what networks do."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp import web

from watchbudget.localcluster import LocalCluster

Matches = Callable[[str, str], bool]
"""Whether a request, given by method and path with query, is meant."""

_PASSED_ON = ("Authorization", "Accept", "Content-Type", "User-Agent")


@dataclass(frozen=True)
class Seen:
    """One request that came: when, by the monotonic clock, and what."""

    at: float
    method: str
    path: str


class ApiProxy:
    """Plain HTTP on loopback, in a thread of its own; use it as a context manager.

    Attributes:
        url: what the replica takes for the API server.
        seen: the requests that came.
    """

    def __init__(self, cluster: LocalCluster) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self._cluster = cluster
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._transports: set[asyncio.Transport] = set()
        self._watches: set[web.StreamResponse] = set()
        self._refused: Matches = _none
        self._answer: tuple[int, bytes, Mapping[str, str]] = (500, b"", {})

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def refuse(
        self, status: int, text: str = "", matching: Matches = lambda *_: True, **headers: str
    ) -> None:
        """Answer requests so, instead of passing them on, until `restore`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answer, self._refused = (status, text.encode(), named), matching

    def cut_off(self) -> None:
        """Pass nothing on, in neither direction, and close nothing, until `restore`: a parted network."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def restore(self) -> None:
        """Pass everything on."""
        self._refused = _none
        self._loop.call_soon_threadsafe(self._passing.set)

    def break_connections(self) -> None:
        """Break every connection that is open."""
        self._run(self._break())

    def tell_watches(self, event: object) -> int:
        """Put an event into every watch that is open; how many there were."""
        return self._run(self._tell(json.dumps(event).encode() + b"\n"))

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _start(self) -> None:
        self._passing = asyncio.Event()
        self._passing.set()
        trust = ssl.create_default_context(cafile=self._cluster.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=0), auto_decompress=False
        )
        self._runner = web.ServerRunner(
            web.Server(self._serve, handler_cancellation=True, access_log=None), shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._break()
        await self._runner.cleanup()
        await self._session.close()

    async def _break(self) -> None:
        for transport in list(self._transports):
            transport.abort()

    async def _tell(self, line: bytes) -> int:
        watches = list(self._watches)
        for response in watches:
            await response.write(line)
        return len(watches)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(Seen(time.monotonic(), request.method, request.path_qs))
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        self._transports.add(transport)
        try:
            body = await request.read()
            await self._passing.wait()
            if self._refused(request.method, request.path_qs):
                status, text, headers = self._answer
                return web.Response(status=status, body=text, headers=dict(headers))
            return await self._pass_on(request, body)
        except (aiohttp.ClientError, ConnectionError):
            transport.abort()
            return web.Response(status=502)
        finally:
            self._transports.discard(transport)

    async def _pass_on(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        url = f"{self._cluster.url}{request.path_qs}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, timeout=timeout
        ) as answer:
            kept = {
                name: answer.headers[name]
                for name in ("Content-Type", "Content-Encoding", "Date", "Retry-After")
                if name in answer.headers
            }
            await self._passing.wait()
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            watching = "watch=" in request.path_qs
            if watching:
                self._watches.add(response)
            try:
                async for chunk in answer.content.iter_any():
                    await self._passing.wait()
                    await response.write(chunk)
                await response.write_eof()
            finally:
                self._watches.discard(response)
            return response


def _none(_method: str, _path: str) -> bool:
    return False
