"""From a catalogue entry to an answer: what one container of a DaemonSet watches of one resource."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from watchbudget.demand.catalogue_model import Case, Per, ResourceClaim
from watchbudget.demand.conditions import Facts, Possible, possible_cases
from watchbudget.demand.model import Watches
from watchbudget.demand.readers import READERS, Component

__all__ = ["Answer", "answer"]


class Answer(Struct, frozen=True):
    """What the catalogue says. `watchers` is 0 for `no`; `selector` one that the server applies."""

    watches: Watches
    watchers: int
    reason: str
    selector: str | None = None
    sources: tuple[str, ...] = ()


def answer(claim: ResourceClaim, facts: Facts) -> Answer:
    """Judge a claim by the configuration and release at hand. Pure; never raises."""
    if claim.per is None:
        return _of_possible(possible_cases(claim.cases, facts), claim)
    return _of_components(claim, claim.per, facts)


def _of_possible(possible: Possible, claim: ResourceClaim) -> Answer:
    """The one answer, or `depends` where several remain that differ."""
    first, *others = possible.cases
    if all(case.watches == first.watches for case in others):
        settled = possible.cases[-1]
        doubts = f" (not known: {'; '.join(possible.doubts)})" if others else ""
        return _answer(settled, claim, settled.reason + doubts)
    reason = f"{'; '.join(possible.doubts)}. Either " + ", or ".join(_clause(case) for case in possible.cases)
    most = max(case.watchers for case in possible.cases)
    sources = tuple(source for case in possible.cases for source in case.sources)
    return Answer(Watches.DEPENDS, most, reason, sources=_sources(claim, sources))


def _of_components(claim: ResourceClaim, per: Per, facts: Facts) -> Answer:
    found = READERS[per.reader](facts.configuration)
    components = [component for component in found.components if component.kind in per.component]
    gaps = f" (not read: {'; '.join(found.hidden[:3])})" if found.hidden else ""
    if not found.found and not components:
        if found.hidden:
            unseen = _of_possible(possible_cases(per.unseen, facts), claim)
            return unseen if unseen.watches is Watches.NO else replace(unseen, reason=unseen.reason + gaps)
        return _of_possible(possible_cases(per.bare, facts), claim)
    judged = [(component, _judge(component, claim, facts)) for component in components]
    total = _sum(judged, claim) if judged else _answer(per.none, claim, per.none.reason)
    if total.watches is Watches.NO and found.hidden:
        reason = f"{total.reason}; but more of its configuration could not be read{gaps}"
        return Answer(Watches.DEPENDS, 1, reason, sources=total.sources)
    return total


class _Judged(Struct, frozen=True):
    watches: Watches
    case: Case
    reason: str
    selector: str | None


def _judge(component: Component, claim: ResourceClaim, facts: Facts) -> _Judged:
    """One component by the cases; they may ask its options, and its `kind` where there are several."""
    possible = possible_cases(
        claim.cases, Facts(facts.version, facts.configuration, {**component.options, "kind": component.kind})
    )
    case = possible.cases[-1]
    single = _of_possible(possible, claim)
    selector = component.options.get(case.selector_option) if case.selector_option else None
    return _Judged(single.watches, case, single.reason, selector or None)


def _sum(judged: Sequence[tuple[Component, _Judged]], claim: ResourceClaim) -> Answer:
    """Components together: those that watch add up, those that only may are told."""
    for watches in (Watches.YES, Watches.DEPENDS, Watches.UNKNOWN, Watches.NO):
        kept = [(component, one) for component, one in judged if one.watches is watches]
        if kept:
            break
    names = ", ".join(dict.fromkeys(component.name for component, _ in kept[:5])) + (
        ", ..." if len(kept) > 5 else ""
    )
    count = f"{len(kept)} of {len(judged)}" if len(kept) < len(judged) else str(len(judged))
    reasons = "; ".join(dict.fromkeys(one.reason for _, one in kept))
    may = sum(one.watches is Watches.DEPENDS for _, one in judged) if watches is Watches.YES else 0
    more = f"; {may} more may, depending on what could not be read" if may else ""
    return Answer(
        watches,
        0 if watches is Watches.NO else _watchers([one.case for _, one in kept]),
        f"{count} configured ({names}): {reasons}{more}",
        _selector([one.selector for _, one in kept]) if watches is Watches.YES else None,
        _sources(claim, (source for _, one in kept for source in one.case.sources)),
    )


def _watchers(cases: Sequence[Case]) -> int:
    shared = [case.watchers for case in cases if case.shared]
    return sum(case.watchers for case in cases if not case.shared) + (max(shared) if shared else 0)


def _selector(selectors: Sequence[str | None]) -> str | None:
    """One unselective watch makes the whole unselective."""
    given = [selector for selector in selectors if selector]
    return " | ".join(dict.fromkeys(given)) if len(given) == len(selectors) else None


def _answer(case: Case, claim: ResourceClaim, reason: str) -> Answer:
    watchers = 0 if case.watches is Watches.NO else case.watchers
    return Answer(case.watches, watchers, reason, sources=_sources(claim, case.sources))


def _sources(claim: ResourceClaim, more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*more, *claim.sources)))


def _clause(case: Case) -> str:
    return f"{case.watches}: {case.reason}"
