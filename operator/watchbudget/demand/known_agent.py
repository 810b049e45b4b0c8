"""What the catalogue says of a DaemonSet as a whole: its containers recognised, asked and added up."""

from __future__ import annotations

from msgspec import Struct

from watchbudget.api.resources import GroupResource
from watchbudget.demand.answer import Answer, answer
from watchbudget.demand.catalogue import Catalogue, Recognised
from watchbudget.demand.catalogue_model import ResourceClaim
from watchbudget.demand.conditions import Facts
from watchbudget.demand.configuration import Configuration, configuration_of
from watchbudget.demand.images import parse_version
from watchbudget.demand.model import AgentMatch, Demand, Evidence, Watches
from watchbudget.inventory.fleet import DaemonSet, Fleet

__all__ = ["KnownAgents", "known_agents"]

_MAY_WATCH = (Watches.YES, Watches.DEPENDS)
_ORDER = (Watches.YES, Watches.DEPENDS, Watches.UNKNOWN, Watches.NO)


class KnownAgents(Struct, frozen=True):
    """The recognised containers of a DaemonSet with their configuration, and the names of the others."""

    found: tuple[tuple[Recognised, Configuration], ...]
    strangers: tuple[str, ...]

    def demand(self, resource: GroupResource) -> Demand | None:
        """What they watch of a resource together; None where no entry says anything of it."""
        asked: dict[tuple[str, frozenset[str]], tuple[Recognised, ResourceClaim, Answer]] = {}
        for recognised, configuration in self.found:
            claim = recognised.entry.claim(resource)
            if claim is None:
                continue
            # One agent in several containers counts once, unless each has a configuration of its own.
            texts = frozenset(text.title for text in configuration.texts) if claim.per else frozenset[str]()
            key = recognised.entry.agent, texts
            if key not in asked:
                asked[key] = recognised, claim, answer(claim, Facts(recognised.version, configuration))
        if not asked:
            return None
        answers = sorted(asked.values(), key=lambda one: _ORDER.index(one[2].watches))
        watches = answers[0][2].watches
        return _demand(resource, [one for one in answers if one[2].watches is watches])


def known_agents(daemon_set: DaemonSet, fleet: Fleet, catalogue: Catalogue) -> KnownAgents:
    """Recognise the containers that run as long as the pod does. Pure; never raises."""
    found: list[tuple[Recognised, Configuration]] = []
    strangers: list[str] = []
    for container in daemon_set.containers:
        if not container.long_running:
            continue
        recognised = catalogue.recognise(container)
        if recognised is None:
            strangers.append(container.name)
            continue
        config_maps = recognised.entry.config_maps
        found.append((recognised, configuration_of(daemon_set, container, fleet, config_maps)))
    return KnownAgents(tuple(found), tuple(strangers))


def _demand(resource: GroupResource, answers: list[tuple[Recognised, ResourceClaim, Answer]]) -> Demand:
    recognised, claim, first = answers[0]
    selectors = [one.selector for _, _, one in answers]
    stack = recognised.entry.stack(parse_version(recognised.version or ""))
    return Demand(
        resource=resource,
        watches=first.watches,
        evidence=Evidence.CATALOGUE,
        reason="; ".join(f"{_who(who)}: {one.reason}" for who, _, one in answers),
        watchers_per_pod=sum(one.watchers for _, _, one in answers),
        selector=" | ".join(filter(None, selectors)) if all(selectors) else None,
        stack=stack.stack if stack and stack.stack != "unknown" else None,
        stack_assumed=stack.assumed if stack else None,
        agent=AgentMatch(
            recognised.entry.agent, recognised.entry.title, recognised.container.name, recognised.version
        ),
        narrowing=claim.narrowing.told if claim.narrowing and first.watches in _MAY_WATCH else None,
        sources=tuple(dict.fromkeys(source for _, _, one in answers for source in one.sources)),
    )


def _who(recognised: Recognised) -> str:
    version = f" {recognised.version}" if recognised.version else ""
    by = "" if recognised.by.startswith("image") else f" (recognised by {recognised.by})"
    return f"{recognised.entry.title}{version}{by}"
