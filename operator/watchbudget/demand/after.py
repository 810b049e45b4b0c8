"""What may be done once a binding is there that is only being created or changed.

The rules are looked up by the same authorizer; only what the binding touches is looked at again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from watchbudget.demand.authorizer import Authorizer, subject_keys, subjects_of
from watchbudget.demand.paths import grants_from
from watchbudget.inventory.rbac import Rbac

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from watchbudget.api.resources import GroupResource
    from watchbudget.demand.authorizer import SubjectKey
    from watchbudget.demand.paths import Bound
    from watchbudget.inventory.fleet import AccessReviews, Fleet
    from watchbudget.inventory.rbac import Binding

__all__ = ["After", "fleet_after", "handed_out"]


class After(Authorizer):
    """The authorizer once a binding is there, in the place of the one of its namespace and name.

    Args:
        before: The authorizer without it.
        binding: The binding as it would be stored.
    """

    def __init__(self, before: Authorizer, binding: Binding) -> None:
        super().__init__(Rbac(), builtins=False)
        self._before = before
        self._new = before.bind(binding)
        self._subjects = subjects_of(binding)

    def bind(self, binding: Binding) -> Bound:
        """Look up what a binding grants; the roles are those of before."""
        return self._before.bind(binding)

    def bound_to(self, key: SubjectKey) -> Mapping[str | None, list[Bound]]:
        """Return all bindings that name this user or group, by namespace (None: ClusterRoleBindings)."""
        binding = self._new.binding
        bound = self._before.bound_to(key)
        there = [each for each in bound.get(binding.namespace, ()) if each.binding.name != binding.name]
        if key in self._subjects:
            there.append(self._new)
        return {**bound, binding.namespace: there}


def handed_out(
    binding: Binding, authorizer: Authorizer, resources: Iterable[GroupResource]
) -> dict[GroupResource, frozenset[str]]:
    """Return which of list and watch the binding itself grants cluster-wide, where it grants any.

    Args:
        binding: The binding.
        authorizer: Knows its role; a role that does not exist grants nothing.
        resources: The resources in question.
    """
    found = {
        resource: frozenset(
            verb
            for grant in grants_from({binding.namespace: [authorizer.bind(binding)]}, resource)
            if grant.scope == "cluster"
            for verb in grant.verbs
        )
        for resource in resources
    }
    return {resource: verbs for resource, verbs in found.items() if verbs}


def fleet_after(fleet: Fleet, binding: Binding, verbs: Mapping[GroupResource, frozenset[str]]) -> Fleet:
    """Return the fleet with the binding, without the server's answers that it makes void.

    The server said no when it was asked before; what the binding grants nobody has asked it yet.

    Args:
        fleet: The fleet without it.
        binding: The binding.
        verbs: What it grants, from `handed_out`.
    """
    others = (
        each
        for each in fleet.rbac.bindings
        if (each.namespace, each.name) != (binding.namespace, binding.name)
    )
    rbac = replace(fleet.rbac, bindings=(*others, binding))
    return replace(fleet, rbac=rbac, access=_still_true(fleet.access, subjects_of(binding), verbs))


def _still_true(
    access: AccessReviews, subjects: frozenset[SubjectKey], verbs: Mapping[GroupResource, frozenset[str]]
) -> AccessReviews:
    def void(namespace: str, account: str, resource: GroupResource, verb: str) -> bool:
        return verb in verbs.get(resource, ()) and not subjects.isdisjoint(subject_keys(namespace, account))

    allowed = {
        question: answer for question, answer in access.allowed.items() if answer or not void(*question)
    }
    return replace(access, allowed=allowed)
