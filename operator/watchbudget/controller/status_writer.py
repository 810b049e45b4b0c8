"""Brings the status of WatchBudgets to what it shall be, by server-side apply.

Level-based: what is wanted and not yet written stays wanted, whatever comes of a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from watchbudget.api.budget import API_VERSION, KIND
from watchbudget.api.status import WatchBudgetStatus, read_status
from watchbudget.controller.fenced import Answer, FencedWriter, Outcome
from watchbudget.controller.restraint import Backoff
from watchbudget.controller.status_change import Change, change
from watchbudget.controller.store import Meta, older

__all__ = ["APPLY", "MANAGER", "StatusWriter"]

APPLY = "application/apply-patch+yaml"
"""Server-side apply; JSON is YAML. https://kubernetes.io/docs/reference/using-api/server-side-apply/"""

MANAGER = "watchbudget"

INTERVAL = {Change.VERDICT: 1.0, Change.STARTS: 2.0, Change.FIGURES: 60.0}
"""Seconds between two writes of one budget, by what is new: a verdict is told at once, whoever looks on sees
starts move, and no storm of changes becomes a storm of writes."""

log = logging.getLogger(__name__)


@dataclass
class _Budget:
    """What is known and wanted of one budget.

    Attributes:
        sent: the status that was last applied, or found when nothing was.
        stored: what the server made of it: others may own fields beside ours.
        version: the newest resourceVersion of the object that we know of.
    """

    uid: str
    wanted: WatchBudgetStatus | None
    sent: WatchBudgetStatus | None
    stored: WatchBudgetStatus | None
    backoff: Backoff
    version: str = ""
    written: float = float("-inf")
    problem: str = field(default="", compare=False)


class StatusWriter:
    """Keeps, for each budget, what its status is and shall be. Of one event loop."""

    def __init__(self, writer: FencedWriter, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing wanted; `clock` gives seconds that only ever grow."""
        self._writer, self._clock = writer, clock
        self._budgets: dict[str, _Budget] = {}

    def previous(self, name: str, meta: Meta, stored: WatchBudgetStatus | None) -> WatchBudgetStatus | None:
        """The status before the next one: ours where we wrote last, else the stored one.

        Args:
            name: the budget's.
            meta: of the budget as the watches know it; they may be behind what we wrote.
            stored: its status there.
        """
        known = self._budgets.get(name)
        if known is None or known.uid != meta.uid:
            self._budgets[name] = _Budget(
                meta.uid, stored, stored, stored, Backoff(2.0, 60.0, self._clock), meta.resource_version
            )
            return stored
        if meta.resource_version == known.version or older(meta.resource_version, known.version):
            return known.wanted
        known.version = meta.resource_version
        known.backoff.succeeded()
        if stored == known.stored:
            return known.wanted
        known.sent = known.stored = stored  # someone else wrote: a replica before us, or a person
        return stored or known.wanted

    def want(self, name: str, status: WatchBudgetStatus) -> None:
        """Set what the status shall be; `previous` must have been asked before."""
        self._budgets[name].wanted = status

    def keep(self, names: Collection[str]) -> None:
        """Forget all other budgets: they are deleted."""
        self._budgets = {name: known for name, known in self._budgets.items() if name in names}

    def forget(self) -> None:
        """Forget everything: another replica wrote meanwhile, or will."""
        self._budgets.clear()

    @property
    def pending(self) -> tuple[str, ...]:
        """Budgets whose status is not yet what it shall be."""
        return tuple(name for name, known in self._budgets.items() if known.wanted != known.sent)

    def due_in(self) -> float:
        """Seconds until there is something to do; infinite if nothing is pending."""
        times = (self._due(known) for known in self._budgets.values())
        return max(0.0, min(times, default=float("inf")) - self._clock())

    async def flush(self) -> None:
        """Write what is due. What fails stays pending.

        Raises:
            NotLeading: the rest was not written.
        """
        for name, known in list(self._budgets.items()):
            if known.wanted is not None and self._due(known) <= self._clock():
                await self._write(name, known, known.wanted)

    def _due(self, known: _Budget) -> float:
        if known.wanted is None:
            return float("inf")
        news = change(known.sent, known.wanted)
        if news is Change.NONE:
            return float("inf")
        return max(known.written + INTERVAL[news], known.backoff.until)

    async def _write(self, name: str, known: _Budget, status: WatchBudgetStatus) -> None:
        place = f"/apis/{API_VERSION}/watchbudgets/{quote(name, safe='')}/status"
        path = f"{place}?fieldManager={MANAGER}&force=true"
        answer = await self._writer.send(
            "status", "PATCH", path, _applied(name, known.version, status), content_type=APPLY
        )
        if answer.outcome is not Outcome.DONE:
            known.backoff.failed()
            _tell(name, known, answer)
            return
        known.backoff.succeeded()
        known.problem = ""
        known.written = self._clock()
        known.sent, known.stored = status, read_status(answer.body.get("status"))
        metadata = answer.body.get("metadata")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        known.version = version if isinstance(version, str) else known.version


def _applied(name: str, version: str, status: WatchBudgetStatus) -> dict[str, Any]:
    """What is applied: all fields that we manage, so that a field left out is removed. Never spec.

    The version is a condition: a budget that was changed or made anew since it was judged is not written,
    but judged again. (The uid would be none: for a status the server takes the stored object's metadata.)
    """
    metadata = {"name": name} | ({"resourceVersion": version} if version else {})
    fields = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    # An empty list says no more than none, and would be ours.
    fields = {key: value for key, value in fields.items() if value != []}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": fields}


def _tell(name: str, known: _Budget, answer: Answer) -> None:
    """Log a problem once, not at every attempt of an outage; a budget that was changed meanwhile is none."""
    if answer.problem != known.problem and answer.outcome is not Outcome.GONE:
        log.warning("The status of WatchBudget %s will be written later: %s", name, answer.problem)
    known.problem = answer.problem
