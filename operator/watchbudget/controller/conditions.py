"""What the conditions of a WatchBudget say, each as a claim that stands alone. Pure.

A condition's time and generation are added where status is put together; here is only why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import force_setattr

from watchbudget.api.budget import BudgetError, WatchBudget
from watchbudget.api.quantity import parse_quantity
from watchbudget.api.resources import GroupResource
from watchbudget.controller.figures import figure
from watchbudget.inventory.fleet import Census
from watchbudget.policy.model import Ranked, Standing
from watchbudget.policy.phrases import counted, names

__all__ = [
    "NOT_JUDGED",
    "Claim",
    "accepted",
    "census_fresh",
    "compliant",
    "not_in_force",
    "refused",
    "within_budget",
]

_LONGEST = 1024
"""Characters of a message: some names of 253 characters and what is said of them."""


_SHOWN = 3
"""DaemonSets that a message names; the others are counted."""


def cut(text: str, longest: int = _LONGEST) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


class Claim(Struct, frozen=True):
    """A condition without its type and time: status, one CamelCase word, and a sentence for people."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str

    def __post_init__(self) -> None:
        force_setattr(self, "message", cut(self.message))


NOT_JUDGED = Claim("Unknown", "NotJudged", "The cluster has not been judged by this budget yet")


def accepted(problems: Sequence[str] = ()) -> Claim:
    """The budget can be followed; `problems` are what its judgement had to do without."""
    message = "; ".join(("The budget is in force", *problems))
    return Claim("True", "Valid", message)


def refused(error: BudgetError) -> Claim:
    """The budget cannot be followed. The field is named; what a newer version knows we must not ignore."""
    return Claim("False", "Invalid", f"The budget is not in force, nothing is enforced by it: {error}")


def not_in_force() -> Claim:
    """What the other conditions say while the budget is refused."""
    return Claim("Unknown", "NotAccepted", "The budget is not in force; see condition Accepted")


def compliant(standing: Standing, unread: int = 0) -> Claim:
    """Whether nothing violates the budget: no unexempted finding at Annotate or above.

    Args:
        standing: of the fleet under the budget.
        unread: objects of the cluster that could not be read, so that they were not judged.
    """
    rest = f"; {counted(unread, 'object')} could not be read and judged" if unread else ""
    governed = counted(standing.governed, "governed DaemonSet")
    if standing.violating:
        verb = "has findings" if standing.violating == 1 else "have findings"
        return Claim(
            "False",
            "Findings",
            f"{standing.violating:,} of {governed} {verb}: {_named(standing.violators, standing.violating)}"
            f"{rest}",
        )
    if not standing.governed:
        return Claim("True", "NothingGoverned", f"The budget's selectors match no DaemonSet{rest}")
    exempted = f"; {standing.exempted:,} with exempted findings" if standing.exempted else ""
    if standing.audited:
        verb = "has findings" if standing.audited == 1 else "have findings"
        return Claim(
            "True",
            "OnlyAudited",
            f"{standing.audited:,} of {governed} {verb} that are only reported, by action Audit of the "
            f"budget or of a rule{_dearest(standing)}{exempted}{rest}",
        )
    return Claim("True", "NoFindings", f"None of {governed} has a finding that counts{exempted}{rest}")


def _dearest(standing: Standing) -> str:
    """The first few of those with findings, where none is a violation."""
    found = [each for each in standing.worst if each.findings][:_SHOWN]
    return f": {_named(found, standing.audited)}" if found else ""


def _named(violators: Sequence[Ranked], number: int) -> str:
    shown = [f"{each.namespace}/{each.name} ({', '.join(each.findings)})" for each in violators]
    more = number - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def within_budget(budget: WatchBudget, standing: Standing) -> Claim:
    """Whether no limit is exceeded, exempted or not: an exemption accepts a fact, it does not change it."""
    limits = budget.spec.limits
    asked = (
        ("over-pod-limit", "OverPodLimit", "in a pod", standing.cache_per_pod, limits.cache_per_pod),
        ("over-node-limit", "OverNodeLimit", "on a node", standing.cache_per_node, limits.cache_per_node),
        ("over-total-limit", "OverTotalLimit", "on all nodes", standing.cache_total, limits.cache_total),
    )
    over, within, reasons = [], [], []
    for rule, reason, where, size, limit in asked:
        if limit is None:
            continue
        if rule in standing.over:
            over.append(_held_against(size, limit, where, over=True))
            reasons.append(reason)
        elif size > limit:
            within.append(f"{figure(size)} {where} (not held against {_exact(limit)}: {rule} is off)")
        else:
            within.append(_held_against(size, limit, where, over=False))
    if over:
        rest = f"; within the limit: {', '.join(within)}" if within else ""
        reason = reasons[0] if len(reasons) == 1 else "OverLimits"
        return Claim("False", reason, f"Caches of governed DaemonSets take {', '.join(over)}{rest}")
    if within:
        return Claim("True", "WithinLimits", f"Caches of governed DaemonSets take {', '.join(within)}")
    return Claim("True", "NoLimits", "The budget sets no limits (spec.limits)")


def _held_against(size: int, limit: int, where: str, *, over: bool) -> str:
    """`310Mi on a node (256Mi allowed)`; rounding must not turn the comparison round."""
    shown, allowed = figure(size), _exact(limit)
    if over and parse_quantity(shown) <= limit:
        shown = f"just over {allowed}"
    elif not over and parse_quantity(shown) > limit:
        shown = f"nearly {allowed}"
    return f"{shown} {where} ({allowed} allowed)"


def _exact(size: int) -> str:
    """A limit as it was written, or as could have been: `64Mi`, `1536Mi`."""
    units = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki")
    for power, unit in zip(range(60, 0, -10), units, strict=True):
        if size and size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return str(size)


def census_fresh(
    resources: Sequence[GroupResource], census: Census, age: float | None, stale_after: float
) -> Claim:
    """Whether the figures rest on a recent census. What is said changes only when that does.

    Args:
        resources: those that the budget prices.
        census: what is known of them.
        age: seconds since it was read, by the monotonic clock; None if it never was.
        stale_after: seconds.
    """
    entries = [entry for entry in map(census.of, resources) if entry is not None]
    missing = _without(resources, (entry.resource for entry in entries))
    if missing:
        what = names(missing)
        return Claim("False", "NotCounted", f"There is no count of {what}; watches of it are not priced")
    assumed = [entry.resource for entry in entries if entry.source == "assumed"]
    if assumed:
        return Claim("False", "Assumed", f"Nobody counted {names(assumed)}: the figures rest on assumptions")
    if age is None:
        return Claim("Unknown", "NotRead", "The census has not been read yet")
    if age > stale_after:
        when = min((entry.read_at or "" for entry in entries), default="")
        since = f" since {when}" if when else ""
        return Claim(
            "False", "Stale", f"The API server could not be asked for counts{since}; figures are old"
        )
    unknown = [entry.resource for entry in entries if not entry.served]
    if unknown:
        return Claim(
            "False",
            "NotServed",
            f"The API server serves no {names(unknown)} (spec.resources): nothing to watch, nothing priced",
        )
    sizes = [entry.resource for entry in entries if entry.bytes_assumed]
    if sizes:
        return Claim(
            "True", "SizeAssumed", f"The counts are recent, but the size of {names(sizes)} is assumed"
        )
    return Claim("True", "Read", f"The counts of {names(resources)} are recent")


def _without(resources: Iterable[GroupResource], known: Iterable[GroupResource]) -> list[GroupResource]:
    left = set(known)
    return [resource for resource in resources if resource not in left]
