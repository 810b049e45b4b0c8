"""The last few DaemonSets that were judged at admission.

Where maxUnavailable may be capped two webhooks ask within milliseconds, the mutating one and then the
validating one, mostly about the same object but for what we put there: judged once, answered twice.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchbudget.api.budget import GROUP
from watchbudget.controller.annotations import OURS
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.policy.appraisal import Appraisal
from watchbudget.policy.model import Judgement
from watchbudget.rollout.cap import MAX_UNAVAILABLE

__all__ = ["LARGEST", "MOST", "Recent"]

MOST = 32
"""DaemonSets that are kept. More are hardly between their two questions at once."""

LARGEST = 64 * 1024
"""Bytes of a question. Larger ones are rare, and are judged twice rather than kept."""

_OUTCOME = frozenset({*OURS, MAX_UNAVAILABLE})
"""Annotations that a judgement leads to. It rests on others of our group, and on nobody else's: the API
server itself counts up `deprecated.daemonset.template.generation` between the two questions."""


class Recent:
    """What was made of them, under one snapshot. For one thread only."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[Appraisal, Judgement]] = {}

    def keep(self, appraisal: Appraisal, judgement: Judgement, size: int) -> None:
        """Remember what was made of a DaemonSet as it will be stored.

        Args:
            appraisal: of it.
            judgement: of the same.
            size: bytes of the question.
        """
        if size > LARGEST:
            return
        if len(self._kept) >= MOST:
            del self._kept[next(iter(self._kept))]  # the oldest
        self._kept[appraisal.daemon_set.key] = appraisal, judgement

    def of(self, item: DaemonSet) -> tuple[Appraisal, Judgement] | None:
        """What was made of this DaemonSet, if it was judged just now and is still the same."""
        kept = self._kept.get(item.key)
        return kept if kept is not None and _judged(kept[0].daemon_set) == _judged(item) else None


def _judged(item: DaemonSet) -> DaemonSet:
    """The DaemonSet as far as a judgement rests on it."""
    said = {
        name: text
        for name, text in item.annotations.items()
        if name.startswith(f"{GROUP}/") and name not in _OUTCOME
    }
    return replace(item, annotations=said)
