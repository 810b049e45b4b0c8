"""What lease and certificates ask of a connection to the API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

__all__ = ["JSON", "JSON_PATCH", "Reply", "Transport", "WireError", "explain"]

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"


class WireError(Exception):
    """A request was not answered, or not with what was needed. It may have been carried out all the same."""


class Reply(Struct, frozen=True):
    """An answer, whatever its status.

    Attributes:
        status: HTTP status code.
        body: the object; for a refusal the server's `Status`.
    """

    status: int
    body: Mapping[str, Any]


class Transport(Protocol):
    """Sends each request once.

    Nothing here may be repeated underneath: a write that is repeated blindly can land after another
    replica has taken over.
    """

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        timeout: float,  # noqa: ASYNC109 - the connection has to be cut, not only the waiting ended
    ) -> Reply:
        """Send one request and return its answer.

        Args:
            method: HTTP method.
            path: path and query.
            body: sent as JSON.
            content_type: of the body.
            timeout: seconds for everything, from connecting to the answer's end.

        Raises:
            WireError: there was no answer, or one that is no JSON object.
        """
        ...


def explain(method: str, path: str, reply: Reply) -> str:
    """A refusal in words."""
    return f"{method} {path}: {reply.body.get('message') or 'no message'} (HTTP {reply.status})"
