"""What of a judgement is worth an Event: what was not so before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from watchbudget.api.budget import API_VERSION, KIND
from watchbudget.api.status import Condition, WatchBudgetStatus
from watchbudget.controller.annotations import FINDINGS
from watchbudget.controller.events import EventType, ObjectRef
from watchbudget.controller.recorder import Recorder
from watchbudget.controller.store import Key, Stored
from watchbudget.policy.model import Action, Audit, Finding

__all__ = ["Found", "News", "budget_ref", "daemon_set_ref", "found_in"]

_LONGEST_PART = 600
"""Characters of a finding's message or remedy; an event holds 1,024 bytes."""

_BELOW_ANNOTATE = (Action.OFF, Action.AUDIT)

_CONDITIONS = ("Accepted", "Compliant", "WithinBudget")


def daemon_set_ref(key: Key, uid: str) -> ObjectRef:
    """A DaemonSet, for events."""
    return ObjectRef("apps/v1", "DaemonSet", key[1], uid, key[0])


def budget_ref(name: str, uid: str) -> ObjectRef:
    """A WatchBudget, for events."""
    return ObjectRef(API_VERSION, KIND, name, uid)


class Found(Struct, frozen=True):
    """What counts against one DaemonSet, strictest first, and whether it was annotated for it already."""

    regarding: ObjectRef
    counting: tuple[Finding, ...]
    annotated: bool


def found_in(audit: Audit, stored: Mapping[Key, Stored]) -> list[Found]:
    """What a judgement found at Annotate or above, of each DaemonSet that is not being deleted. Pure."""
    found = []
    for judgement in audit.judgements:
        key = judgement.daemon_set.key
        known = stored.get(key)
        if known is not None and known.meta.uid and not known.meta.deleting:
            regarding = daemon_set_ref(key, known.meta.uid)
            counting = tuple(each for each in judgement.findings if _counts(each))
            found.append(Found(regarding, counting, FINDINGS in judgement.daemon_set.annotations))
    return found


class News:
    """Remembers which findings each DaemonSet had, and tells a recorder of those that are new."""

    def __init__(self, recorder: Recorder) -> None:
        """Begin with nothing known: the first judgement goes by what DaemonSets are annotated with."""
        self._recorder = recorder
        self._findings: dict[str, frozenset[tuple[str, str]]] = {}  # by uid: budget and rule
        self._begun = False

    def forget(self) -> None:
        """Forget everything: another replica told the news meanwhile, or will."""
        self._findings.clear()
        self._begun = False

    def daemon_sets(self, found: Iterable[Found]) -> None:
        """Tell which DaemonSets newly violate a budget, and which do no more.

        Args:
            found: all that were judged, as `found_in` gives them.
        """
        findings: dict[str, frozenset[tuple[str, str]]] = {}
        shared: dict[frozenset[tuple[str, str]], frozenset[tuple[str, str]]] = {}
        for each in found:
            uid = each.regarding.uid
            now = frozenset(map(_pair, each.counting))
            now = shared.setdefault(now, now)  # thousands of DaemonSets have the same few
            before = self._findings.get(uid)
            if before is None:
                # Before the first judgement someone else may have told: what is annotated was known.
                before = now if not self._begun and each.annotated else frozenset()
            self._tell(each.regarding, [finding for finding in each.counting if _pair(finding) not in before])
            if before and not now:
                self._recorder.event(
                    each.regarding,
                    "Normal",
                    "WatchBudgetCompliant",
                    "No WatchBudget finds fault with this DaemonSet any more",
                    "Judge",
                )
            if now:
                findings[uid] = now
        self._findings = findings
        self._begun = True

    def budget(self, name: str, uid: str, before: WatchBudgetStatus | None, after: WatchBudgetStatus) -> None:
        """Tell of conditions of a budget that changed between yes and no, and of a budget not accepted."""
        known = {each.type: each for each in before.conditions} if before else {}
        for condition in after.conditions:
            if condition.type in _CONDITIONS and _worth_telling(known.get(condition.type), condition):
                good = condition.status == "True"
                reason = condition.type if good else f"Not{condition.type}"
                kind: EventType = "Normal" if good else "Warning"
                self._recorder.event(budget_ref(name, uid), kind, reason, condition.message, "Judge")

    def _tell(self, regarding: ObjectRef, new: list[Finding]) -> None:
        if not new:
            return
        first = new[0]  # they are sorted, strictest first
        more = f" And {len(new) - 1} more: {_rules(new[1:])}." if len(new) > 1 else ""
        note = (
            f"WatchBudget {first.budget}, {first.rule}: {first.message[:_LONGEST_PART]}.{more} "
            f"To fix: {first.remedy.text[:_LONGEST_PART]}"
        )
        self._recorder.event(regarding, "Warning", "WatchBudgetViolation", note, "Judge")


def _worth_telling(before: Condition | None, after: Condition) -> bool:
    """A change from yes to no or back; and a no where nothing was known. A yes from the start is no news."""
    if after.status == "Unknown":
        return False
    if before is None or before.status == "Unknown":
        return after.status == "False"
    return before.status != after.status


def _counts(finding: Finding) -> bool:
    # By identity: comparing steps of the ladder costs a second where thousands have dozens of findings.
    return finding.exempted is None and finding.action not in _BELOW_ANNOTATE


def _pair(finding: Finding) -> tuple[str, str]:
    return finding.budget, finding.rule


def _rules(findings: list[Finding]) -> str:
    return ", ".join(sorted({finding.rule for finding in findings}))
