"""What kopf asks of an API server, answered by a test: discovery, lists, and watches that the test feeds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from fake_apiserver import FakeApiServer, fake_apiserver, json_answer, status_answer
from watchbudget.controller.store import Kind

Raw = dict[str, Any]


@dataclass
class ScriptedWatches:
    """Lists and watches by kind. Of one event loop.

    Attributes:
        listed: what a list of a kind shows.
        served: kinds that discovery tells of.
        refusals: statuses that requests get, one after the other, before they are answered again.
        streams: the watches that are open, by kind.
        token: what clients are to send from now on.
        tokens: what they sent.
        fake: the server.
    """

    listed: dict[Kind, list[Raw]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    served: set[Kind] = field(default_factory=lambda: set(Kind))
    refusals: list[int] = field(default_factory=list)
    streams: dict[Kind, asyncio.Queue[Raw | None]] = field(default_factory=dict)
    token: str = "t"
    tokens: list[str | None] = field(default_factory=list)
    fake: FakeApiServer = field(default_factory=FakeApiServer)
    queues: list[asyncio.Queue[Raw | None]] = field(default_factory=list)

    @property
    def configuration(self) -> SimpleNamespace:
        """As `kubernetes.aio` has it."""

        async def auth_settings() -> Raw:
            return {"BearerToken": {"value": f"bearer {self.token}"}}

        return SimpleNamespace(
            host=self.fake.url,
            auth_settings=auth_settings,
            ssl_ca_cert=None,
            ca_cert_data=None,
            verify_ssl=True,
            cert_file=None,
            key_file=None,
        )

    def say(self, kind: Kind, type_: str, raw: Raw) -> None:
        """Put an event into the open watch of a kind."""
        self.streams[kind].put_nowait({"type": type_, "object": raw})

    def cut(self, kind: Kind) -> None:
        """Break the watch of a kind."""
        self.streams.pop(kind).put_nowait(None)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization"))
        if self.refusals:
            return status_answer(self.refusals.pop(0))
        path = request.path
        if path == "/api":
            return json_answer({"versions": ["v1"]})
        if path == "/api/v1":
            return json_answer({"resources": [_resource("Namespace", "namespaces", "list")]})
        if path == "/apis":
            return json_answer({"groups": self._groups()})
        kind = next((kind for kind in self.served if kind.path == path), None)
        if kind is not None:
            return await self._list_or_watch(request, kind)
        resources = [
            _resource(each.value[1], each.value[2], "list", "watch")
            for each in self.served
            if path == f"/apis/{each.value[0]}"
        ]
        return json_answer({"resources": resources}) if resources else status_answer(404)

    def _groups(self) -> list[Raw]:
        versions = dict.fromkeys(kind.value[0] for kind in self.served)
        return [
            {"name": group, "versions": [{"version": number}], "preferredVersion": {"version": number}}
            for group, _, number in (version.rpartition("/") for version in versions)
        ]

    async def _list_or_watch(self, request: web.BaseRequest, kind: Kind) -> web.StreamResponse:
        if "watch" not in request.query:
            items = {"kind": f"{kind.value[1]}List", "apiVersion": kind.value[0], "items": self.listed[kind]}
            return json_answer({"metadata": {"resourceVersion": "100"}, **items})
        queue = self.streams[kind] = asyncio.Queue()
        self.queues.append(queue)
        response = web.StreamResponse()
        await response.prepare(request)
        while (event := await queue.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        raise ConnectionResetError


@asynccontextmanager
async def scripted_watches() -> AsyncIterator[ScriptedWatches]:
    """A server; its watches are broken at the end."""
    script = ScriptedWatches()
    async with fake_apiserver(script.answer) as script.fake:
        try:
            yield script
        finally:
            for queue in script.queues:
                queue.put_nowait(None)


def _resource(kind: str, plural: str, *verbs: str) -> Raw:
    return {
        "kind": kind,
        "name": plural,
        "singularName": kind.lower(),
        "namespaced": kind == "DaemonSet",
        "verbs": list(verbs),
    }
