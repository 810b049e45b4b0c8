"""Writes of the leader: each behind the fence, sent once, and its outcome as a value."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from msgspec import Struct, field

from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.wire import JSON, Transport, WireError, explain

__all__ = ["Answer", "Fence", "FencedWriter", "Outcome"]

TIMEOUT = 5.0
"""Seconds for one write, at most; the fence may ask for less."""


class Fence(Protocol):
    """What is asked of `lease.Elector`."""

    @property
    def grace(self) -> float:
        """Seconds within which a write must have ended, answered or given up."""

    def fence(self) -> None:
        """Raises NotLeading if nothing may be written."""


class Outcome(Enum):
    """What came of a write, by what there is to do about it."""

    DONE = "done"
    GONE = "gone"  # the object is not there, or not the one that was meant; the watches will tell
    REFUSED = "refused"  # trying again soon would not help
    UNAVAILABLE = "unavailable"  # overloaded, restarting, or the connection was lost: it may have been done


class Answer(Struct, frozen=True):
    """The outcome; the object where it was done, else the problem in words."""

    outcome: Outcome
    body: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


class FencedWriter:
    """Sends writes for the leader. Nothing is repeated here: what is still wanted is sent again later."""

    def __init__(self, transport: Transport, fence: Fence, metrics: OperatorMetrics) -> None:
        """Prepare; nothing is sent.

        Args:
            transport: to the API server.
            fence: asked right before each write.
            metrics: counts what is written, by target.
        """
        self._transport, self._fence, self._metrics = transport, fence, metrics

    async def send(
        self, target: str, method: str, path: str, body: object, *, content_type: str = JSON
    ) -> Answer:
        """Send one write.

        Args:
            target: what is written, for metrics: `status`, `annotations`, `events` or `flowschema`.
            method: HTTP method.
            path: path and query.
            body: sent as JSON.
            content_type: of the body.

        Raises:
            NotLeading: it was not sent.
        """
        self._fence.fence()
        answer = await self._send(method, path, body, content_type)
        if answer.outcome is Outcome.DONE:
            self._metrics.writes.labels(target).inc()
        else:
            self._metrics.write_failures.labels(target, answer.outcome.value).inc()
        return answer

    async def _send(self, method: str, path: str, body: object, content_type: str) -> Answer:
        try:
            reply = await self._transport.request(
                method, path, body, content_type=content_type, timeout=min(TIMEOUT, self._fence.grace)
            )
        except WireError as error:
            return Answer(Outcome.UNAVAILABLE, problem=str(error))
        if reply.status in (200, 201):
            return Answer(Outcome.DONE, reply.body)
        problem = explain(method, path, reply)
        if reply.status in (404, 409):
            return Answer(Outcome.GONE, problem=problem)
        if reply.status in (408, 429) or reply.status >= 500:
            return Answer(Outcome.UNAVAILABLE, problem=problem)
        return Answer(Outcome.REFUSED, problem=problem)
