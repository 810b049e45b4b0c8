"""Roles and bindings as values, as both sources of a Fleet give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

__all__ = ["Binding", "LabelSelector", "PolicyRule", "Rbac", "Requirement", "Role", "Subject"]


class Requirement(Struct, frozen=True):
    """One `matchExpressions` entry of a label selector."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class LabelSelector(Struct, frozen=True):
    """A Kubernetes label selector; empty selects everything."""

    match_labels: tuple[tuple[str, str], ...] = ()
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy every requirement (labels.Selector of apimachinery)."""
        return all(labels.get(key) == value for key, value in self.match_labels) and all(
            _satisfied(requirement, labels) for requirement in self.match_expressions
        )


def _satisfied(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":  # an absent key satisfies NotIn: labels.Requirement.Matches
            return value not in requirement.values
        case "Exists":
            return requirement.key in labels
        case "DoesNotExist":
            return requirement.key not in labels
        case _:
            return False


class PolicyRule(Struct, frozen=True):
    """One rule of a role; rules for non-resource URLs are not kept, they grant no watch."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    resource_names: tuple[str, ...] = ()


class Role(Struct, frozen=True):
    """A ClusterRole (namespace None) or a Role.

    `aggregation` is None for an ordinary role; otherwise the controller fills `rules` from
    the ClusterRoles that any of the selectors matches.
    """

    namespace: str | None
    name: str
    rules: tuple[PolicyRule, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    aggregation: tuple[LabelSelector, ...] | None = None

    @property
    def title(self) -> str:
        """Kind and name as a person would look it up: `ClusterRole/x`, `Role/x`."""
        return f"{'Role' if self.namespace else 'ClusterRole'}/{self.name}"


class Subject(Struct, frozen=True):
    """Whom a binding grants to; `namespace` only counts for ServiceAccount."""

    kind: str
    name: str
    namespace: str = ""


class Binding(Struct, frozen=True):
    """A ClusterRoleBinding (namespace None) or a RoleBinding."""

    namespace: str | None
    name: str
    role_kind: Literal["ClusterRole", "Role"]
    role_name: str
    subjects: tuple[Subject, ...]

    @property
    def title(self) -> str:
        """Kind and name: `ClusterRoleBinding/x`, `RoleBinding/x`."""
        return f"{'RoleBinding' if self.namespace else 'ClusterRoleBinding'}/{self.name}"


class Rbac(Struct, frozen=True):
    """All roles and bindings of a fleet, in the order they were read."""

    roles: tuple[Role, ...] = ()
    bindings: tuple[Binding, ...] = ()
