"""The join of all evidence: what one DaemonSet watches of each resource, and how that is known.

Weakest to strongest: what RBAC grants, what the catalogue knows of the agent, what its owner
declares. What the API server observed will be the fourth: a function beside `_declared`,
applied after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from watchbudget.api.resources import GroupResource
from watchbudget.demand.catalogue import Catalogue
from watchbudget.demand.declared import Declaration, declarations_of
from watchbudget.demand.grants import effective_verbs
from watchbudget.demand.known_agent import KnownAgents, known_agents
from watchbudget.demand.model import Demand, Evidence, Grant, Identity, Watches
from watchbudget.inventory.fleet import DaemonSet, Fleet

__all__ = ["demands_of"]


def demands_of(
    daemon_set: DaemonSet,
    fleet: Fleet,
    grants: Sequence[Grant],
    identity: Identity,
    resources: Sequence[GroupResource],
    catalogue: Catalogue,
    *,
    rbac_known: bool,
    trust_declarations: bool = False,
) -> tuple[Demand, ...]:
    """What a DaemonSet's pods watch: one demand per resource. Pure; never raises on odd input.

    Args:
        daemon_set: the DaemonSet.
        fleet: where its ConfigMaps are looked up.
        grants: of its service account, from `grants_of`; those of other resources are passed over.
        identity: as whom its pods speak to the API server, from `identity_of`.
        resources: the watched resources, in the order of the answer.
        catalogue: known agents, from `load_catalogue`.
        rbac_known: whether no grant means that there is none, from `grants.rbac_known`.
        trust_declarations: whether the owner's annotation may weaken what the catalogue says.
            Budgets differ in this: ask once for each.
    """
    agents = known_agents(daemon_set, fleet, catalogue)
    declarations, _ = declarations_of(daemon_set, resources)
    demands = []
    for resource in resources:
        own = tuple(grant for grant in grants if grant.resource == resource)
        demand = _allowed(daemon_set, resource, own, identity, agents, rbac_known=rbac_known)
        said = declarations.get(resource)
        demands.append(_declared(demand, said, trusted=trust_declarations) if said else demand)
    return tuple(demands)


def _allowed(
    daemon_set: DaemonSet,
    resource: GroupResource,
    grants: tuple[Grant, ...],
    identity: Identity,
    agents: KnownAgents,
    *,
    rbac_known: bool,
) -> Demand:
    """What catalogue and RBAC say together: an agent cannot watch what the API server refuses it."""
    known = agents.demand(resource)
    if identity == "none":
        return _refused(
            resource, known, "its pods have no credentials for the API server: automounting is off"
        )
    verbs = effective_verbs(grants, resource)
    if identity == "kubeconfig":
        note = "it uses a kubeconfig, so what its service account is granted does not say what it may do"
        return _by_catalogue(resource, known, agents, note, granted=True) or _unknown(resource, agents, note)
    account = f"service account {daemon_set.namespace}/{daemon_set.service_account}"
    if verbs:
        may = f"{account} may {' and '.join(sorted(verbs))} every object"
        return _by_catalogue(resource, known, agents, may, granted=True) or _unknown(resource, agents, may)
    if rbac_known:
        return _refused(resource, known, _why_refused(account, grants))
    missing = f"no grant of {account} is among the input"
    if known is not None and known.watches is Watches.YES and daemon_set.service_account == "default":
        # Nobody grants anything to `default` by accident: charts without RBAC run so, and are refused.
        reason = f"{known.reason}; but {missing}, and a default account has none unless somebody bound it"
        return replace(known, watches=Watches.DEPENDS, reason=reason)
    assumed = f"{missing}; that there is one is assumed"
    return _by_catalogue(resource, known, agents, assumed, granted=False) or _unknown(
        resource, agents, missing
    )


def _by_catalogue(
    resource: GroupResource, known: Demand | None, agents: KnownAgents, note: str, *, granted: bool
) -> Demand | None:
    """The catalogue's word, unless a container that it does not know has the same rights."""
    if known is None:
        return None
    if known.watches is Watches.NO and agents.strangers and granted:
        names = ", ".join(agents.strangers[:5])
        reason = f"{known.reason}; but nothing is known of container {names}, and {note}"
        return _unknown(resource, agents, note, reason)
    if known.watches is Watches.NO:
        return known
    return known.because(f"{known.reason} ({note})")


def _unknown(resource: GroupResource, agents: KnownAgents, note: str, reason: str | None = None) -> Demand:
    names = ", ".join((*agents.strangers, *(found.container.name for found, _ in agents.found))[:5])
    return Demand(
        resource=resource,
        watches=Watches.UNKNOWN,
        evidence=Evidence.GRANTED,
        reason=reason
        or f"{note}; the catalogue does not say whether container {names or '(none)'} watches {resource}",
    )


def _refused(resource: GroupResource, known: Demand | None, why: str) -> Demand:
    wants = known is not None and known.watches in (Watches.YES, Watches.DEPENDS)
    reason = f"{why}; otherwise: {known.reason}" if known is not None and wants else why
    return Demand(
        resource=resource,
        watches=Watches.NO,
        evidence=Evidence.GRANTED,
        reason=reason,
        watchers_per_pod=0,
        agent=known.agent if known else None,
        sources=known.sources if known else (),
    )


def _why_refused(account: str, grants: tuple[Grant, ...]) -> str:
    if any(grant.confirmed is False for grant in grants):
        return f"the API server's own authorizers refuse {account} a list and a watch of every object"
    namespaces = sorted({namespace for grant in grants for namespace in grant.namespaces})
    if namespaces:
        shown = ", ".join(namespaces[:5]) + (", ..." if len(namespaces) > 5 else "")
        return f"{account} may list or watch it in namespace {shown} only, which is no cluster-wide copy"
    if any(grant.scope == "named" for grant in grants):
        return f"{account} may list or watch single objects by name only"
    return f"{account} may neither list nor watch it: the API server would refuse"


def _declared(demand: Demand, said: Declaration, *, trusted: bool) -> Demand:
    """Add the owner's word: it may always say that more is watched, and less only where it is trusted."""
    watching = demand.watches is Watches.YES
    word = {"none": "watches nothing of it", "all": "watches all of it"}.get(
        said.watches, f"watches what {said.selector} selects"
    )
    weaker = said.watches == "none" or (said.watches == "some" and watching)
    nothing_new = demand.watches is Watches.NO and said.watches == "none"
    if weaker and not trusted and not nothing_new:
        return replace(
            demand,
            reason=f"{demand.reason}; its owner declares that it {word}, which this budget does not trust",
        )
    reason = f"its owner declares that it {word}; otherwise: {demand.reason}"
    if said.watches == "none":
        return replace(
            demand,
            watches=Watches.NO,
            evidence=Evidence.DECLARED,
            reason=reason,
            watchers_per_pod=0,
            selector=None,
        )
    return replace(
        demand,
        watches=Watches.YES,
        evidence=Evidence.DECLARED,
        reason=reason,
        watchers_per_pod=max(1, demand.watchers_per_pod),
        selector=said.selector,
    )
