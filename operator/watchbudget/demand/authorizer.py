"""RBAC answered as the real authorizer answers it, without a server.

Mirrors `VisitRulesFor` and `appliesToUser` (k8s.io/kubernetes pkg/registry/rbac/validation/rule.go,
v1.36.3). Compared with a real API server in tests/cluster/test_authorizer_against_server.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchbudget.demand.aggregation import settled_rules
from watchbudget.demand.builtin_roles import BUILTIN_BINDINGS, builtin_roles
from watchbudget.demand.paths import Bound, grants_from
from watchbudget.demand.rules import Request, rule_allows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from watchbudget.api.resources import GroupResource
    from watchbudget.demand.model import Grant
    from watchbudget.inventory.fleet import Fleet
    from watchbudget.inventory.rbac import Binding, PolicyRule, Rbac, Role, Subject

__all__ = ["Authorizer", "SubjectKey", "groups_of", "subject_keys", "subjects_of", "username_of"]

SubjectKey = tuple[str, str]
"""`("User", name)` or `("Group", name)`: all that RBAC knows of who asks; an account is a user."""


def username_of(namespace: str, service_account: str) -> str:
    """Return the user name by which the API server knows a service account."""
    return f"system:serviceaccount:{namespace}:{service_account}"


def groups_of(namespace: str) -> tuple[str, ...]:
    """Return the groups of every service account of a namespace.

    The first two come with the token (k8s.io/apiserver pkg/authentication/serviceaccount/util.go), the
    last with any successful authentication.
    """
    return "system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"


def subject_keys(namespace: str, service_account: str) -> tuple[SubjectKey, ...]:
    """Return everything by which a binding may name a service account."""
    user = ("User", username_of(namespace, service_account))
    return user, *(("Group", group) for group in groups_of(namespace))


def subjects_of(binding: Binding) -> frozenset[SubjectKey]:
    """Return all whom the binding names."""
    keys = (_key(subject, binding.namespace) for subject in binding.subjects)
    return frozenset(key for key in keys if key is not None)


class Authorizer:
    """Answers what a user may do, from roles and bindings.

    Built once per fleet, then each question costs what binds that user, not all there is.

    Args:
        rbac: The roles and bindings. Two of one name count together: which one a cluster would
            have depends on the order they are applied in, and a grant too many is seen while one
            too few is not.
        builtins: Also know what the API server itself creates. Where the input defines a built-in
            role too, that adds to the built-in one and takes nothing away, because the API server
            puts missing rules back when it starts. False where `rbac` is all that a live cluster has.
    """

    def __init__(self, rbac: Rbac, *, builtins: bool = True) -> None:
        roles = (*rbac.roles, *builtin_roles()) if builtins else rbac.roles
        bindings = (*rbac.bindings, *BUILTIN_BINDINGS) if builtins else rbac.bindings
        self._cluster_rules = settled_rules(role for role in roles if role.namespace is None)
        self._role_rules = _rules_by_key(roles)
        self._grants: dict[tuple[SubjectKey, GroupResource], tuple[Grant, ...]] = {}
        self._bound: dict[SubjectKey, dict[str | None, list[Bound]]] = {}
        for binding in bindings:
            bound = self.bind(binding)
            for key in subjects_of(binding):
                self._bound.setdefault(key, {}).setdefault(binding.namespace, []).append(bound)

    @classmethod
    def of(cls, fleet: Fleet) -> Authorizer:
        """Build the authorizer of a fleet; manifests get the built-in roles, a live cluster has its own."""
        return cls(fleet.rbac, builtins=not fleet.complete_rbac)

    def allows(
        self,
        user: str,
        groups: Iterable[str],
        verb: str,
        group: str,
        resource: str,
        *,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str = "",
    ) -> bool:
        """Whether the user, by itself or by its groups, may make the request.

        Args:
            user: The user name; for service accounts see `username_of`.
            groups: The user's groups, see `groups_of`.
            verb: Such as `list`.
            group: API group of the resource, empty for the core group.
            resource: Plural name.
            namespace: None asks for the cluster scope, where RoleBindings do not count.
            name: The one object asked for; list and watch have a name when their field selector
                demands `metadata.name=NAME`.
            subresource: Such as `status`.
        """
        request = Request(verb, group, resource, subresource, namespace or "", name or "")
        keys: list[SubjectKey] = [("User", user), *(("Group", entry) for entry in groups)]
        return any(
            rule_allows(rule, request)
            for key in keys
            for bound in self._in_scope(key, request.namespace)
            for rule in bound.rules
        )

    def bind(self, binding: Binding) -> Bound:
        """Look up what a binding grants, known or not: nothing where its role does not exist."""
        if binding.role_kind == "ClusterRole":
            return Bound(binding, self._cluster_rules.get(binding.role_name, ()))
        return Bound(binding, self._role_rules.get((binding.namespace, binding.role_name), ()))

    def bound_to(self, key: SubjectKey) -> Mapping[str | None, list[Bound]]:
        """Return all bindings that name this user or group, by namespace (None: ClusterRoleBindings)."""
        return self._bound.get(key, {})

    def grants_to(self, key: SubjectKey, resource: GroupResource) -> tuple[Grant, ...]:
        """Return the grants to list or watch the resource that name this user or group itself.

        Remembered, because all service accounts share groups, and a group may be bound in every namespace.
        """
        if (key, resource) not in self._grants:
            self._grants[key, resource] = grants_from(self.bound_to(key), resource)
        return self._grants[key, resource]

    def _in_scope(self, key: SubjectKey, namespace: str) -> Iterator[Bound]:
        bound = self.bound_to(key)
        yield from bound.get(None, ())
        if namespace:
            yield from bound.get(namespace, ())


def _rules_by_key(roles: Iterable[Role]) -> dict[tuple[str | None, str], tuple[PolicyRule, ...]]:
    found: dict[tuple[str | None, str], list[PolicyRule]] = {}
    for role in roles:
        if role.namespace is not None:
            found.setdefault((role.namespace, role.name), []).extend(role.rules)
    return {key: tuple(rules) for key, rules in found.items()}


def _key(subject: Subject, binding_namespace: str | None) -> SubjectKey | None:
    """Return whom the subject names; None where it can name nobody, such as an unknown kind."""
    if subject.kind in ("User", "Group"):
        return subject.kind, subject.name
    if subject.kind == "ServiceAccount":
        # A RoleBinding's accounts are its neighbours unless it says otherwise; elsewhere one must say.
        namespace = subject.namespace or binding_namespace
        return ("User", username_of(namespace, subject.name)) if namespace else None
    return None
