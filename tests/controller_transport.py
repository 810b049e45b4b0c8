"""A Transport over aiohttp with a bearer token, for tests against a real API server."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

from watchbudget.controller.wire import JSON, Reply, WireError


class TokenTransport:
    """One session; use it as a context manager."""

    def __init__(self, url: str, ca_file: Path, token: str, user_agent: str = "watchbudget-test") -> None:
        self._url, self._token, self._agent = url, token, user_agent
        self._tls = ssl.create_default_context(cafile=ca_file)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            headers={"Authorization": f"Bearer {self._token}", "User-Agent": self._agent},
            read_bufsize=2**21,  # a line is an event
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

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
        try:
            async with self._session.request(
                method,
                self._url + path,
                json=body,
                headers={"Content-Type": content_type, "Accept": accept},
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as answer:
                return Reply(answer.status, await answer.json())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise WireError(f"{method} {path}: {error!r}") from error

    async def watch(self, path: str, *, timeout: float) -> AsyncIterator[Mapping[str, Any]]:  # noqa: ASYNC109
        limits = aiohttp.ClientTimeout(total=None, sock_read=timeout)
        try:
            async with self._session.get(self._url + path, timeout=limits) as answer:
                if answer.status != 200:
                    raise WireError(f"GET {path}: HTTP {answer.status}")
                async for line in answer.content:
                    yield json.loads(line)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise WireError(f"GET {path}: {error!r}") from error
