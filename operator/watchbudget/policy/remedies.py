"""What to change: the agent's own option where one is known, else permissions or a declaration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache

from watchbudget.demand.builtin_roles import builtin_roles
from watchbudget.demand.images import parse_version
from watchbudget.demand.model import Demand, Grant, Narrowing, Watches
from watchbudget.policy.context import Context
from watchbudget.policy.model import Remedy

__all__ = ["watch_less"]


def watch_less(context: Context, demands: Iterable[Demand]) -> tuple[Remedy, int]:
    """How to end or narrow these watches, and how many bytes that frees on all nodes together.

    Bytes are claimed only where the option frees them: Calico's Typha moves the load elsewhere, and
    the copy on the node stays; and nobody will end the enforcement of network policies to save memory.
    """
    demands = tuple(demands)
    key = watch_less, *map(id, demands)
    if key not in context.worked_out:
        context.worked_out[key] = _watch_less(context, demands)
    found: tuple[Remedy, int] = context.worked_out[key]
    return found


def _watch_less(context: Context, demands: tuple[Demand, ...]) -> tuple[Remedy, int]:
    texts = dict.fromkeys(_advice(demand, context) for demand in demands)
    ended = [demand for demand in demands if demand.narrowing and _frees(demand.narrowing)]
    text = " ".join(texts)
    return Remedy(text, context.daemon_set.title), context.cache_of(ended) * context.bill.nodes


def _frees(narrowing: Narrowing) -> bool:
    return narrowing.frees_memory and not narrowing.ends_function


def _advice(demand: Demand, context: Context) -> str:
    if demand.narrowing:
        return _option(demand, demand.narrowing)
    if demand.watches is not Watches.YES:
        return _permission(demand, context)
    if demand.agent:
        return (
            f"{demand.agent.title} has no known option to watch fewer {demand.resource}: run it on fewer "
            "nodes, "
            "raise the budget, or accept it with an exemption and a reason."
        )
    return (
        f"Watch only the {demand.resource} it needs, by a selector that the API server applies, and "
        "declare that: "
        f"annotation watchbudget.io/watches: {_declaration(demand, 'LABEL SELECTOR')}."
    )


def _option(demand: Demand, narrowing: Narrowing) -> str:
    agent = f"{demand.agent.title}: " if demand.agent else ""
    if narrowing.ends_function:
        agent += f"only where {' and '.join(narrowing.lost_fields)} is not needed, "
    version = demand.agent.version if demand.agent else None
    lost = f"lost then: {', '.join(narrowing.lost_fields)}" if narrowing.lost_fields else "nothing is lost"
    if not narrowing.frees_memory:
        lost += "; it spares the API server, the pods go on holding their copies"
    if not narrowing.since:
        return f"{agent}set {narrowing.option} ({lost})."
    if version and _older(version, narrowing.since):
        upgrade = f"upgrade from {version} to {narrowing.since} or later"
        return f"{agent}{upgrade}, then set {narrowing.option} ({lost})."
    return f"{agent}set {narrowing.option} (since {narrowing.since}; {lost})."


def _older(version: str, since: str) -> bool:
    have, need = parse_version(version), parse_version(since)
    return have is not None and need is not None and have < need


def _permission(demand: Demand, context: Context) -> str:
    grant = next(
        (
            grant
            for grant in context.grants
            if grant.resource == demand.resource and grant.scope == "cluster" and grant.confirmed is not False
        ),
        None,
    )
    trusted = (
        ""
        if context.budget.spec.enforcement.trust_declarations
        else " (a budget with trustDeclarations heeds it)"
    )
    return (
        f"If it needs no {demand.resource}, {_revoke(demand, grant, context)}; if it may watch them and "
        "does not, "
        f"declare that: annotation watchbudget.io/watches: {_declaration(demand, 'none')}{trusted}."
    )


def _revoke(demand: Demand, grant: Grant | None, context: Context) -> str:
    verbs = " and ".join(grant.verbs) if grant else "list and watch"
    if grant is None or len(grant.path) < 2:
        account = f"{context.daemon_set.namespace}/{context.daemon_set.service_account}"
        return f"take {verbs} of {demand.resource} away from service account {account}"
    binding, role = grant.path[0], grant.path[-1]
    others = f", on which {', '.join(context.shared_with)} may rely too" if context.shared_with else ""
    if role in _builtin():  # whoever changes one changes it for all, and the API server puts it back
        return f"let {binding} bind a role without {verbs} of {demand.resource} instead of {role}{others}"
    return f"take {verbs} of {demand.resource} out of {role} (bound by {binding}{others})"


@cache
def _builtin() -> frozenset[str]:
    return frozenset(f"ClusterRole/{role.name}" for role in builtin_roles() if role.namespace is None)


def _declaration(demand: Demand, value: str) -> str:
    return json.dumps({str(demand.resource): value})
