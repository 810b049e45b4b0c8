"""Brings our annotations of stored DaemonSets to what the judgement wants; touches nothing else of them.

A merge patch of `metadata.annotations` can neither overwrite what others write there meanwhile nor change a
spec, so no rollout ever begins of it. Level-based, and at a bounded rate.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

from msgspec import Struct

from watchbudget.controller.annotations import OURS
from watchbudget.controller.fenced import FencedWriter, Outcome
from watchbudget.controller.figures import FIGURES
from watchbudget.controller.restraint import Backoff, TokenBucket
from watchbudget.controller.status_writer import MANAGER
from watchbudget.controller.store import Key, Meta, older
from watchbudget.controller.trouble import Trouble

__all__ = ["MERGE_PATCH", "AnnotationWriter", "Target"]

MERGE_PATCH = "application/merge-patch+json"

RATE = 20.0
"""Writes a second: each is an admission request to ourselves too."""

FIGURES_INTERVAL = 60.0
"""Seconds between two writes of a DaemonSet of which only figures are new."""

log = logging.getLogger(__name__)


class Target(Struct, frozen=True):
    """A stored DaemonSet as the watches know it, and our annotations as they shall be."""

    meta: Meta
    present: Mapping[str, str]
    wanted: Mapping[str, str]


class _Written(Struct, frozen=True):
    """What we know of a DaemonSet that the watches may not know yet: it carries this since our last write."""

    uid: str
    version: str
    annotations: Mapping[str, str]
    at: float


class _Job(Struct):
    """Annotations to set, and with None those to remove; not before `due`."""

    uid: str
    patch: Mapping[str, str | None]
    due: float


class AnnotationWriter:
    """Knows which annotations differ from what they shall be. Of one event loop."""

    def __init__(
        self, writer: FencedWriter, clock: Callable[[], float] = time.monotonic, rate: float = RATE
    ) -> None:
        """Begin with nothing wanted.

        Args:
            writer: sends.
            clock: seconds that only ever grow.
            rate: writes a second, and as many at once.
        """
        self._writer, self._clock = writer, clock
        self._bucket = TokenBucket(rate, rate, clock)
        self._jobs: dict[Key, _Job] = {}
        self._written: dict[Key, _Written] = {}
        self._refused: dict[Key, Backoff] = {}
        self._outage = Backoff(2.0, 60.0, clock)
        self._trouble = Trouble(log)

    def want(self, targets: Mapping[Key, Target]) -> None:
        """Set what all DaemonSets shall carry, in place of what was wanted before."""
        self._written = {
            key: known
            for key, known in self._written.items()
            if key in targets and targets[key].meta.uid == known.uid
        }
        jobs = ((key, self._job(key, target)) for key, target in targets.items())
        self._jobs = {key: job for key, job in jobs if job is not None}
        self._refused = {key: pause for key, pause in self._refused.items() if key in self._jobs}

    def forget(self) -> None:
        """Forget everything: another replica wrote meanwhile, or will."""
        self._jobs.clear()
        self._written.clear()
        self._refused.clear()

    @property
    def pending(self) -> tuple[Key, ...]:
        """DaemonSets whose annotations are not yet what they shall be."""
        return tuple(self._jobs)

    def due_in(self) -> float:
        """Seconds until there is something to do, or sooner; infinite if nothing is pending."""
        if not self._jobs:
            return float("inf")
        first = max(self._outage.until, min(job.due for job in self._jobs.values()))
        return max(0.0, first - self._clock(), self._bucket.wait())

    async def flush(self) -> None:
        """Write what is due, as far as the rate allows. What fails stays pending.

        Raises:
            NotLeading: the rest was not written.
        """
        for key, job in list(self._jobs.items()) if self._bucket.wait() == 0.0 else ():
            if self._outage.until > self._clock():
                return
            if job.due > self._clock() or self._jobs.get(key) is not job:
                continue
            if not self._bucket.take():
                return
            await self._write(key, job)

    def _job(self, key: Key, target: Target) -> _Job | None:
        if not target.meta.uid or target.meta.deleting:
            return None
        known = self._written.get(key)
        behind = known is not None and older(target.meta.resource_version, known.version)
        present = known.annotations if known is not None and behind else target.present
        patch = {
            name: target.wanted.get(name) for name in OURS if present.get(name) != target.wanted.get(name)
        }
        if not patch:
            return None
        due = self._refused[key].until if key in self._refused else float("-inf")
        if known is not None and patch.keys() <= set(FIGURES):
            due = max(due, known.at + FIGURES_INTERVAL)
        return _Job(target.meta.uid, patch, due)

    async def _write(self, key: Key, job: _Job) -> None:
        namespace, name = key
        place = f"{quote(namespace, safe='')}/daemonsets/{quote(name, safe='')}"
        path = f"/apis/apps/v1/namespaces/{place}?fieldManager={MANAGER}"
        # The uid cannot be changed, so the server refuses the patch for an object made anew under this name.
        body = {"metadata": {"uid": job.uid, "annotations": dict(job.patch)}}
        answer = await self._writer.send("annotations", "PATCH", path, body, content_type=MERGE_PATCH)
        if answer.outcome is Outcome.DONE:
            self._outage.succeeded()
            self._trouble.over()
            self._refused.pop(key, None)
            self._remember(key, job.uid, answer.body.get("metadata"))
            if self._jobs.get(key) is job:
                del self._jobs[key]
            return
        if answer.outcome is Outcome.UNAVAILABLE:
            self._outage.failed()
        else:
            pause = self._refused.setdefault(key, Backoff(5.0, 300.0, self._clock))
            pause.failed()
            job.due = pause.until
        if answer.outcome is not Outcome.GONE:
            where = "/".join(key)
            self._trouble.tell(f"Annotations of DaemonSet {where} will be written later", answer.problem)

    def _remember(self, key: Key, uid: str, metadata: object) -> None:
        after = metadata if isinstance(metadata, dict) else {}
        version, annotations = after.get("resourceVersion"), after.get("annotations")
        carried = annotations if isinstance(annotations, dict) else {}
        ours = {name: text for name, text in carried.items() if name in OURS}
        self._written[key] = _Written(uid, version if isinstance(version, str) else "", ours, self._clock())
