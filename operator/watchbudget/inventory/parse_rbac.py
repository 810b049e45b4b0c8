"""Roles and bindings, of every version of rbac.authorization.k8s.io, read from raw objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchbudget.inventory.fields import Fields, object_fields
from watchbudget.inventory.fleet import Problem, Source
from watchbudget.inventory.found import describe, shown
from watchbudget.inventory.rbac import Binding, LabelSelector, PolicyRule, Requirement, Role, Subject

__all__ = ["binding", "role"]

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_SUBJECT_KINDS = ("ServiceAccount", "User", "Group")


def role(
    raw: Mapping[str, Any], source: Source, problems: list[Problem], *, namespace: str = "default"
) -> Role | None:
    """Read a ClusterRole or, with any other `kind`, a Role; None if it has no name."""
    cluster = _kind(raw) == "ClusterRole"
    kind = "ClusterRole" if cluster else "Role"
    begun = object_fields(raw, kind, source, problems, None if cluster else namespace)
    if begun is None:
        return None
    whole, own, name = begun
    return Role(
        namespace=None if cluster else own,
        name=name,
        rules=tuple(rule for fields in whole.children("rules") if (rule := _rule(fields)) is not None),
        labels=whole.child("metadata").text_map("labels"),
        aggregation=_aggregation(whole) if cluster and whole.has("aggregationRule") else None,
    )


def binding(
    raw: Mapping[str, Any], source: Source, problems: list[Problem], *, namespace: str = "default"
) -> Binding | None:
    """Read a ClusterRoleBinding or, with any other `kind`, a RoleBinding.

    None if it has no name or refers to no role that it could refer to: it grants nothing then.
    """
    cluster = _kind(raw) == "ClusterRoleBinding"
    kind = "ClusterRoleBinding" if cluster else "RoleBinding"
    begun = object_fields(raw, kind, source, problems, None if cluster else namespace)
    if begun is None:
        return None
    whole, own, name = begun
    reference = whole.child("roleRef")
    role_kind, role_name = reference.required_text("kind"), reference.required_text("name")
    subjects = tuple(
        found
        for fields in whole.children("subjects")
        if (found := _subject(fields, _version(raw), cluster=cluster)) is not None
    )
    if role_kind is None or role_name is None:
        return None
    if role_kind != "ClusterRole" and (cluster or role_kind != "Role"):
        expected = "ClusterRole" if cluster else "ClusterRole or Role"
        reference.problem("kind", f"expected {expected}, found {describe(role_kind)}")
        return None
    return Binding(
        namespace=None if cluster else own,
        name=name,
        role_kind="ClusterRole" if role_kind == "ClusterRole" else "Role",
        role_name=role_name,
        subjects=subjects,
    )


def _kind(raw: object) -> object:
    return raw.get("kind") if isinstance(raw, dict) else None


def _version(raw: Mapping[str, Any]) -> str:
    return str(raw.get("apiVersion")).rpartition("/")[2]


def _rule(fields: Fields) -> PolicyRule | None:
    """One rule; None where it is about non-resource URLs only, which nothing can be listed from."""
    verbs, resources = fields.texts("verbs"), fields.texts("resources")
    groups, names = fields.texts("apiGroups"), fields.texts("resourceNames")
    if fields.has("nonResourceURLs") and not resources:
        return None
    return PolicyRule(verbs, groups, resources, names)


def _aggregation(whole: Fields) -> tuple[LabelSelector, ...]:
    rule = whole.child("aggregationRule")
    if not rule.has("clusterRoleSelectors"):
        rule.missing("clusterRoleSelectors")
    return tuple(_selector(fields) for fields in rule.children("clusterRoleSelectors"))


def _selector(fields: Fields) -> LabelSelector:
    requirements = []
    for expression in fields.children("matchExpressions"):
        key, operator = expression.required_text("key"), expression.required_text("operator")
        values = expression.texts("values")
        if operator is not None and operator not in _OPERATORS:
            expression.problem("operator", f"expected {', '.join(_OPERATORS)}, found {describe(operator)}")
        # Kept even where it is wrong: an unknown operator matches nothing, a dropped one everything.
        requirements.append(Requirement(key or "", operator or "", values))
    # Likewise a selector of the wrong type altogether must not become the empty one.
    labels = fields.text_map("matchLabels")
    for part, expected in (("matchLabels", dict), ("matchExpressions", list)):
        if fields.has(part) and not isinstance(fields.raw(part), expected):
            requirements.append(Requirement("", ""))
    return LabelSelector(tuple(sorted(labels.items())), tuple(requirements))


def _subject(fields: Fields, version: str, *, cluster: bool) -> Subject | None:
    """One subject. `apiGroup` is not read: the authorizer does not look at it either.

    See plugin/pkg/auth/authorizer/rbac/rbac.go, appliesToUser.
    """
    kind, name = fields.required_text("kind"), fields.required_text("name")
    namespace = fields.text("namespace") or ""
    if kind is None or name is None:
        return None
    if kind not in _SUBJECT_KINDS:
        fields.problem("kind", f"expected {', '.join(_SUBJECT_KINDS)}, found {shown(kind)}")
        return None
    if version == "v1alpha1" and kind == "User" and name == "*":
        # pkg/apis/rbac/v1alpha1/conversion.go: the old spelling of "everyone who is authenticated"
        return Subject("Group", "system:authenticated")
    if kind == "ServiceAccount" and cluster and not namespace:
        message = "is missing: the API server refuses this binding, and it grants nothing to this subject"
        fields.problem("namespace", message)
    return Subject(kind, name, namespace)
