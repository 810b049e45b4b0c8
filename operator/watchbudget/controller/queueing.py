"""The FlowSchema of the agents, kept by the leader: whose lists the API server answers a few at a time.

Only its rules are ours to write (manifests/base/account-limits-objects.yaml); everything else about it, and
the priority level, is the administrator's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from watchbudget.controller.fenced import Answer, FencedWriter, Outcome
from watchbudget.controller.restraint import Backoff
from watchbudget.controller.status_writer import APPLY, MANAGER
from watchbudget.controller.trouble import Trouble
from watchbudget.rollout.model import Key
from watchbudget.rollout.queue import Queue, rules_of

__all__ = ["FLOW_SCHEMA", "Queueing"]

FLOW_SCHEMA = "watchbudget-agents"

_API = "flowcontrol.apiserver.k8s.io/v1"
_PATH = f"/apis/{_API}/flowschemas/{FLOW_SCHEMA}?fieldManager={MANAGER}&force=true"

AGAIN = 60.0
"""Seconds after which it is applied again though nothing has changed here: somebody else may have changed it.
What changes nothing is not stored."""

UNCONFIRMED = 5.0
"""The same while the API server has not said yet that it goes by it."""

log = logging.getLogger(__name__)


class Queueing:
    """Wants the rules of the newest judgement in the FlowSchema. Of one event loop; of the leader only."""

    def __init__(self, writer: FencedWriter, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare; nothing is sent.

        Args:
            writer: behind the leader's fence.
            clock: seconds that only ever grow.
        """
        self._writer, self._clock = writer, clock
        self._wanted: Queue | None = None
        self._applied: Queue | None = None
        self._confirmed = False
        self._next = float("-inf")
        self._backoff = Backoff(1.0, AGAIN, clock)
        self._trouble = Trouble(log)

    @property
    def in_force(self) -> frozenset[Key]:
        """The DaemonSets whose lists wait in the queue, as the API server has said."""
        return self._applied.daemon_sets if self._applied is not None and self._confirmed else frozenset()

    def want(self, queue: Queue) -> None:
        """Say what the rules shall be."""
        self._wanted = queue

    def forget(self) -> None:
        """Want nothing and know nothing: another replica leads, and writes."""
        self._wanted = self._applied = None
        self._confirmed = False
        self._next = float("-inf")
        self._backoff.succeeded()

    def due_in(self) -> float:
        """Seconds until there is something to write; infinite if nothing is wanted."""
        if self._wanted is None:
            return float("inf")
        due = self._next if self._wanted == self._applied else float("-inf")
        return max(0.0, max(due, self._backoff.until) - self._clock())

    async def flush(self) -> None:
        """Write it if it is due. What fails stays wanted.

        Raises:
            NotLeading: it was not written.
        """
        if self._wanted is None or self.due_in() > 0:
            return
        wanted = self._wanted
        answer = await self._writer.send("flowschema", "PATCH", _PATH, _applied(wanted), content_type=APPLY)
        if answer.outcome is Outcome.DONE:
            self._applied, self._confirmed = wanted, _goes_by_it(answer.body)
            self._next = self._clock() + (AGAIN if self._confirmed or not wanted.accounts else UNCONFIRMED)
            self._backoff.succeeded()
            self._trouble.over()
        else:
            self._failed(answer)

    def _failed(self, answer: Answer) -> None:
        self._backoff.failed()
        if answer.outcome is Outcome.UNAVAILABLE:
            return  # as everything else is then; the rules that are stored hold
        self._applied, self._confirmed = None, False
        self._trouble.tell(
            f"Lists of agents are not queued: FlowSchema {FLOW_SCHEMA} cannot be written; is it among the "
            "manifests that are applied?",
            answer.problem,
        )


def _applied(queue: Queue) -> Mapping[str, Any]:
    return {
        "apiVersion": _API,
        "kind": "FlowSchema",
        "metadata": {"name": FLOW_SCHEMA},
        "spec": {"rules": rules_of(queue)},
    }


def _goes_by_it(body: Mapping[str, Any]) -> bool:
    """Whether the priority level is there, and priority and fairness at work: it says so in the status."""
    status = body.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return isinstance(conditions, list) and any(
        isinstance(each, dict) and each.get("type") == "Dangling" and each.get("status") == "False"
        for each in conditions
    )
