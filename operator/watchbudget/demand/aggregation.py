"""Aggregated ClusterRoles, as the controller would leave them.

Mirrors k8s.io/kubernetes pkg/controller/clusterroleaggregation (v1.36.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from watchbudget.inventory.rbac import LabelSelector, PolicyRule, Role

__all__ = ["settled_rules"]

_MAX_ROUNDS = 100
"""Rounds after which aggregation is taken as it stands.

Real chains have three levels (admin, edit, view). Roles that aggregate each other in a circle and
bring rules of their own may change for ever, in a cluster too.
"""


def settled_rules(roles: Iterable[Role]) -> dict[str, tuple[PolicyRule, ...]]:
    """Return the rules of every ClusterRole by name, once aggregation has come to rest.

    A role with an aggregation rule gets the union of the rules of all ClusterRoles that any of
    its selectors matches, itself excepted, and those may be aggregated in turn. What the role
    itself lists is replaced by that union, except where the union is empty: the controller then
    applies a patch that does not mention `rules`, and leaves those it found.

    Several definitions of one name count together: their rules, labels and selectors are united,
    so that the result does not depend on the order of files.
    """
    definitions: dict[str, list[Role]] = {}
    for role in roles:
        definitions.setdefault(role.name, []).append(role)
    rules = {name: _union(role.rules for role in found) for name, found in definitions.items()}
    sources = _sources(definitions)
    for _ in range(min(len(sources) + 1, _MAX_ROUNDS)):
        changed = False
        for name, selected in sources.items():
            united = _union(rules[other] for other in selected)
            if united and united != rules[name]:
                rules[name] = united
                changed = True
        if not changed:
            break
    return rules


def _sources(definitions: Mapping[str, list[Role]]) -> dict[str, tuple[str, ...]]:
    """Return the names that each aggregated role is made of; names in order, as the controller sorts."""
    ordered = sorted(definitions.items())
    sources: dict[str, tuple[str, ...]] = {}
    for name, found in ordered:
        selectors = [selector for role in found for selector in role.aggregation or ()]
        if selectors:
            sources[name] = tuple(
                other for other, roles in ordered if other != name and _selected(selectors, roles)
            )
    return sources


def _selected(selectors: list[LabelSelector], roles: list[Role]) -> bool:
    return any(selector.matches(role.labels) for selector in selectors for role in roles)


def _union(rule_lists: Iterable[tuple[PolicyRule, ...]]) -> tuple[PolicyRule, ...]:
    return tuple(dict.fromkeys(rule for rules in rule_lists for rule in rules))
