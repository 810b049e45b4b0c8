"""What a change of a DaemonSet may be denied for: only what the change itself makes worse.

Nobody is kept from shipping a security fix of an agent that is in violation already. Both the old and the
new object are judged on the same census, so that a cluster that grew meanwhile is not held against
whoever comes next.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchbudget.policy.findings import verdict_of, worst_first
from watchbudget.policy.model import Action, Finding, Judgement

__all__ = ["judged_as_change"]

_SUMS = frozenset({"over-node-limit", "over-total-limit"})
"""Rules about everybody's sum: an update that does not raise its own bill is never denied for it."""


def judged_as_change(old: Judgement, new: Judgement) -> Judgement:
    """The new object's judgement, with Deny turned to Warn wherever the change is not to blame.

    Args:
        old: the judgement of the object as it is stored.
        new: that of the object as it would be stored, on the same fleet, budgets and day.
    """
    before = {(finding.rule, finding.budget): finding for finding in old.findings}
    dearer = _dearer(old, new)
    findings = [
        replace(finding, action=Action.WARN)
        if finding.action is Action.DENY
        and not _to_blame(finding, before.get((finding.rule, finding.budget)), dearer=dearer)
        else finding
        for finding in new.findings
    ]
    return replace(new, findings=worst_first(findings), verdict=verdict_of(findings))


def _to_blame(finding: Finding, before: Finding | None, *, dearer: bool) -> bool:
    if finding.rule in _SUMS and not dearer:
        return False
    if before is None:
        return True
    if len(before.weight) != len(finding.weight):
        return True
    return any(now > then for then, now in zip(before.weight, finding.weight, strict=True))


def _dearer(old: Judgement, new: Judgement) -> bool:
    """Whether the change raises the DaemonSet's own bill under any reading of the evidence."""
    return any(
        getattr(new.bill, figure) > getattr(old.bill, figure)
        for figure in ("cache_per_pod", "cache_per_pod_up_to", "cache_total", "cache_total_up_to")
    )
