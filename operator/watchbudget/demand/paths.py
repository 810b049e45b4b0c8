"""From what is bound to one user or group to the grants it gets on one resource."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from watchbudget.demand.model import Grant
from watchbudget.demand.rules import ALL, covers_resource
from watchbudget.demand.scope import is_cluster_scoped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from watchbudget.api.resources import GroupResource
    from watchbudget.inventory.rbac import Binding, PolicyRule

__all__ = ["WATCHING", "Bound", "grants_from", "merged"]

WATCHING: tuple[str, ...] = ("list", "watch")
"""The verbs that can carry a whole resource to a client; `get` carries one object."""

_Scope = Literal["cluster", "namespaces", "named"]


class Bound(Struct, frozen=True):
    """A binding and the rules it grants: none where the role does not exist."""

    binding: Binding
    rules: tuple[PolicyRule, ...]

    @property
    def path(self) -> tuple[str, str]:
        """Titles of binding and role."""
        return self.binding.title, f"{self.binding.role_kind}/{self.binding.role_name}"


def grants_from(bound: Mapping[str | None, Iterable[Bound]], resource: GroupResource) -> tuple[Grant, ...]:
    """Return what these bindings (by namespace; None: ClusterRoleBindings) grant on the resource."""
    narrow = not is_cluster_scoped(resource)
    return merged(
        Grant(
            resource,
            verbs,
            "named" if names else "cluster" if namespace is None else "namespaces",
            entry.path,
            namespaces=() if namespace is None else (namespace,),
            names=names,
        )
        for namespace, entries in bound.items()
        if namespace is None or narrow
        for entry in entries
        for verbs, names in _granted(entry.rules, resource)
    )


def merged(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Make one grant of those that differ only in their namespaces."""
    alike: dict[tuple[object, ...], list[Grant]] = defaultdict(list)
    for grant in grants:
        alike[grant.path, grant.scope, grant.verbs, grant.names].append(grant)
    return tuple(_united(found) for found in alike.values())


def _united(grants: list[Grant]) -> Grant:
    first = grants[0]
    if len(grants) == 1:
        return first
    namespaces = tuple(sorted({namespace for grant in grants for namespace in grant.namespaces}))
    return Grant(first.resource, first.verbs, first.scope, first.path, namespaces, first.names)


def _granted(
    rules: Iterable[PolicyRule], resource: GroupResource
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield (verbs, names) of what the rules allow: first without names, then by name what that leaves."""
    everything: set[str] = set()
    by_name: dict[str, set[str]] = defaultdict(set)
    for rule in rules:
        if not covers_resource(rule, resource.group, resource.resource):
            continue
        verbs = {verb for verb in WATCHING if verb in rule.verbs or ALL in rule.verbs}
        # The empty name among others is that of a request without a name: see rules.rule_allows.
        if not rule.resource_names or "" in rule.resource_names:
            everything |= verbs
        else:
            for name in rule.resource_names:
                by_name[name] |= verbs
    if everything:
        yield _ordered(everything), ()
    names: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, verbs in by_name.items():
        if left := _ordered(verbs - everything):
            names[left].append(name)
    for left, found in names.items():
        yield left, tuple(sorted(found))


def _ordered(verbs: set[str]) -> tuple[str, ...]:
    return tuple(verb for verb in WATCHING if verb in verbs)
