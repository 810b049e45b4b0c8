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
    settled = {
        name: tuple(dict.fromkeys(rule for role in found for rule in role.rules))
        for name, found in definitions.items()
    }
    sources = _sources(definitions)
    return settled | _united(settled, sources)


def _sources(definitions: Mapping[str, list[Role]]) -> dict[str, tuple[str, ...]]:
    """Return the names of the roles that each aggregated role is made of, both in order."""
    by_labels: dict[frozenset[tuple[str, str]], set[str]] = {}
    selectors: dict[str, list[LabelSelector]] = {}
    for name, found in definitions.items():
        for role in found:
            by_labels.setdefault(frozenset(role.labels.items()), set()).add(name)
            if role.aggregation:
                selectors.setdefault(name, []).extend(role.aggregation)
    labelled = [(dict(labels), names) for labels, names in by_labels.items()]
    return {
        name: tuple(
            sorted(
                {
                    other
                    for labels, names in labelled
                    if any(selector.matches(labels) for selector in wanted)
                    for other in names
                    if other != name
                }
            )
        )
        for name, wanted in sorted(selectors.items())
    }


def _united(
    rules: Mapping[str, tuple[PolicyRule, ...]], sources: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[PolicyRule, ...]]:
    """Return the rules of the aggregated roles, going round until none changes, as the controller does."""
    involved = sorted({*sources, *(other for selected in sources.values() for other in selected)})
    ordered = tuple(dict.fromkeys(rule for name in involved for rule in rules[name]))
    numbers = {rule: number for number, rule in enumerate(ordered)}
    # A set of rules is a number with one bit for each: many roles that all select each other stay affordable.
    sets = {name: sum(1 << numbers[rule] for rule in rules[name]) for name in involved}
    for _ in range(min(len(sources) + 1, _MAX_ROUNDS)):
        before = [sets[name] for name in sources]
        for name, selected in sources.items():
            union = 0
            for other in selected:
                union |= sets[other]
            sets[name] = union or sets[name]
        if before == [sets[name] for name in sources]:
            break
    return {name: tuple(rule for rule in ordered if sets[name] >> numbers[rule] & 1) for name in sources}
