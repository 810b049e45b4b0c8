"""Innocent clients: what they wait for is what a storm costs everybody else.

Requests are sent at fixed times whether or not the last one was answered, each over a connection that is
free or new, and timed from the moment they were due. A client that waited for its last answer first would
ask seldom just when the server is slow, and count few of its bad moments.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp

from watchbudget.localcluster.play.child import serve

__all__ = ["BystanderSettings", "Client", "Sample", "run_bystanders"]

READS_PER_SECOND = 10.0
WRITES_PER_SECOND = 5.0
GIVEN_UP_AFTER = 60.0


@dataclass(frozen=True, kw_only=True)
class Client:
    """One bystander: reads and writes a small ConfigMap of its own.

    Attributes:
        name: In results.
        config_map: Path of the ConfigMap.
        token: Bearer token, or None with a certificate.
        pair: Client certificate and key, or None with a token.
    """

    name: str
    config_map: str
    token: str | None = None
    pair: tuple[Path, Path] | None = None


@dataclass(frozen=True, kw_only=True)
class BystanderSettings:
    """Who they are and whom they ask."""

    url: str
    ca_file: Path
    clients: tuple[Client, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One read or write: when it was due (monotonic), how long it took, its status (0: none in a minute)."""

    client: str
    kind: str
    due: float
    seconds: float
    status: int


class _Bystanders:
    def __init__(self, settings: BystanderSettings) -> None:
        self._settings = settings
        self._samples: list[Sample] = []
        self._requests: set[asyncio.Task[None]] = set()
        self._sessions: list[aiohttp.ClientSession] = []
        self._loops: list[asyncio.Task[None]] = []
        for client in settings.clients:
            tls = ssl.create_default_context(cafile=str(settings.ca_file))
            if client.pair:
                tls.load_cert_chain(*client.pair)
            headers = {"Authorization": f"Bearer {client.token}"} if client.token else {}
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=60),
                headers=headers | {"User-Agent": f"played-bystander/{client.name}"},
                timeout=aiohttp.ClientTimeout(total=GIVEN_UP_AFTER),
            )
            self._sessions.append(session)
            for kind, rate in (("read", READS_PER_SECOND), ("write", WRITES_PER_SECOND)):
                self._loops.append(asyncio.create_task(self._regularly(session, client, kind, rate)))

    async def close(self) -> None:
        for task in (*self._loops, *self._requests):
            task.cancel()
        for session in self._sessions:
            await session.close()

    async def finish(self) -> list[Sample]:
        """Stop asking, wait for the answers still due, and return everything."""
        for task in self._loops:
            task.cancel()
        if self._requests:
            await asyncio.wait(self._requests)
        return self._samples

    async def _regularly(
        self, session: aiohttp.ClientSession, client: Client, kind: str, rate: float
    ) -> None:
        due = time.monotonic()
        while True:
            task = asyncio.create_task(self._request(session, client, kind, due))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            due += 1 / rate
            await asyncio.sleep(due - time.monotonic())

    async def _request(self, session: aiohttp.ClientSession, client: Client, kind: str, due: float) -> None:
        url = self._settings.url + client.config_map
        try:
            if kind == "read":
                asked = session.get(url)
            else:
                body = json.dumps({"data": {"due": str(due)}})
                patch = {"Content-Type": "application/merge-patch+json"}
                asked = session.patch(url, data=body, headers=patch)
            async with asked as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        self._samples.append(Sample(client.name, kind, due, time.monotonic() - due, status))


def run_bystanders(connection: Connection, settings: BystanderSettings) -> None:
    """Ask until the other side is gone."""

    async def main() -> None:
        bystanders = _Bystanders(settings)
        try:
            await serve(connection, {"finish": bystanders.finish})
        finally:
            await bystanders.close()

    asyncio.run(main())
