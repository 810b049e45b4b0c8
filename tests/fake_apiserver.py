"""An HTTP server on loopback that answers as a test says, for what a real API server does rarely."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec

import yaml
from aiohttp import web

from watchbudget.inventory.connection import connect
from watchbudget.inventory.transport import Api

Handler = Callable[[web.BaseRequest], web.StreamResponse | Awaitable[web.StreamResponse]]


_P = ParamSpec("_P")


def async_test(function: Callable[_P, Coroutine[object, object, None]]) -> Callable[_P, None]:
    """Run an async test in an event loop of its own."""

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        asyncio.run(function(*args, **kwargs))

    return run


@dataclass
class FakeApiServer:
    """A running server, and what came of it.

    Attributes:
        url: its address.
        requests: those it got, as `METHOD path?query`.
        api: with `fake_api`, a client of it.
        pauses: with `fake_api`, seconds that the client would have waited.
    """

    url: str = ""
    requests: list[str] = field(default_factory=list)
    api: Api = field(init=False)
    pauses: list[float] = field(default_factory=list)


@asynccontextmanager
async def fake_apiserver(handler: Handler) -> AsyncIterator[FakeApiServer]:
    """Serve every request with `handler`; raise ConnectionResetError in it to cut the connection."""
    fake = FakeApiServer()

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        fake.requests.append(f"{request.method} {request.path_qs}")
        try:
            answer = handler(request)
            return await answer if asyncio.iscoroutine(answer) else answer
        except ConnectionResetError:
            if request.transport is not None:  # else the client was faster
                request.transport.abort()
            return web.Response()

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


def write_kubeconfig(path: Path, server: str, *, context: str = "test", **user: object) -> Path:
    """A kubeconfig of one context; further arguments are the user's fields, `_` for `-`."""
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {key.replace("_", "-"): value for key, value in user.items()}}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "current-context": context,
    }
    path.write_text(yaml.safe_dump(document))
    return path


@asynccontextmanager
async def fake_api(tmp_path: Path, handler: Handler) -> AsyncIterator[FakeApiServer]:
    """A fake server with a client, which does not really wait."""

    async def sleep(seconds: float) -> None:
        fake.pauses.append(seconds)

    async with fake_apiserver(handler) as fake:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", fake.url, token="t")
        async with connect(str(kubeconfig)) as fake.api:
            fake.api._sleep = sleep
            yield fake


def json_answer(body: object, status: int = 200, **headers: str) -> web.Response:
    """An answer with a JSON body."""
    return web.Response(
        body=json.dumps(body), status=status, content_type="application/json", headers=headers
    )


def status_answer(code: int, message: str = "no", **fields: object) -> web.Response:
    """A refusal as the API server sends it."""
    return json_answer({"kind": "Status", "code": code, "message": message, **fields}, code)
