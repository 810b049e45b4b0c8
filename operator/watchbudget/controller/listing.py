"""Lists in pages, and what lists and watches ask of a connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

from watchbudget.controller.wire import JSON, Reply, Transport, WireError, explain

__all__ = ["TABLE", "WatchTransport", "list_pages"]

PAGE = 250
"""Objects in a page. A page is decoded in one go, and nothing else runs meanwhile: 250 pods are some 2 MB."""

LIST_SECONDS = 60.0
"""For one page; the server gives up after that time by itself (`--request-timeout`)."""


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
"""A list as kubectl gets it, its columns made by the server: a fraction of the objects. Of pods it has nodes
and readiness, which metadata alone has not."""


class WatchTransport(Transport, Protocol):
    """A `Transport` that can also watch, and ask for other forms of an answer: `client.Client`."""

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float,  # noqa: ASYNC109 - as in `Transport`
    ) -> Reply:
        """See `Transport`; `accept` is the form asked for, JSON of some kind."""
        ...

    def watch(self, path: str, *, timeout: float) -> AsyncIterator[Mapping[str, Any]]:
        """Watch events, decoded, until the server ends the watch.

        Args:
            path: path and query, with `watch=true`.
            timeout: seconds of silence after which the connection counts as dead.

        Raises:
            WireError: it was refused, whatever the status, or broke.
        """
        ...


async def list_pages(
    transport: WatchTransport,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    accept: str = JSON,
) -> AsyncIterator[Mapping[str, Any]]:
    """The pages of a list, as the server answers them.

    The list is consistent (no `resourceVersion`): who takes over must see everything that was written before.

    Raises:
        WireError: a page was not answered, or was refused, as it is when its token expired.
    """
    token = ""
    while True:
        parameters = {**(query or {}), "limit": str(PAGE)} | ({"continue": token} if token else {})
        target = f"{path}?{urlencode(parameters)}"
        reply = await transport.request("GET", target, accept=accept, timeout=LIST_SECONDS)
        if reply.status != 200:
            raise WireError(explain("GET", path, reply))
        yield reply.body
        metadata = reply.body.get("metadata")
        following = metadata.get("continue") if isinstance(metadata, Mapping) else None
        if not following:
            return
        if following == token:
            raise WireError(f"GET {path}: the list does not advance")
        token = str(following)
