"""Roles and bindings of every API version as values, and what is said of broken ones."""

from __future__ import annotations

from typing import Any

import pytest

from watchbudget.inventory import parse
from watchbudget.inventory.fleet import Problem, Source
from watchbudget.inventory.rbac import Binding, LabelSelector, PolicyRule, Requirement, Role, Subject

HERE = Source("rbac.yaml", 1)
V1 = "rbac.authorization.k8s.io/v1"
REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"}


def role(**fields: object) -> tuple[Role | None, list[str]]:
    problems: list[Problem] = []
    raw = {"apiVersion": V1, "kind": "ClusterRole", "metadata": {"name": "reader"}} | fields
    return parse.role(raw, HERE, problems), [f"{p.field}: {p.message}" for p in problems]


def binding(**fields: object) -> tuple[Binding | None, list[str]]:
    problems: list[Problem] = []
    raw = {"apiVersion": V1, "kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "roleRef": REF} | fields
    return parse.binding(raw, HERE, problems), [f"{p.field}: {p.message}" for p in problems]


def subjects(*raw: object, **fields: object) -> tuple[tuple[Subject, ...], list[str]]:
    value, problems = binding(subjects=list(raw), **fields)
    assert value is not None
    return value.subjects, problems


def test_a_cluster_role():
    rules = [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"], "resourceNames": ["one"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ]
    value, problems = role(metadata={"name": "reader", "labels": {"a": "b"}}, rules=rules)
    assert problems == []
    assert value == Role(
        None,
        "reader",
        (
            PolicyRule(("list", "watch"), ("",), ("namespaces",)),
            PolicyRule(("get",), ("*",), ("*",), ("one",)),
        ),
        {"a": "b"},
    )


def test_a_role_has_a_namespace():
    assert role(kind="Role", metadata={"name": "r", "namespace": "n"})[0] == Role("n", "r", ())
    assert role(kind="Role", metadata={"name": "r"})[0] == Role("default", "r", ())


def test_a_cluster_role_has_none_even_if_it_names_one():
    assert role(metadata={"name": "r", "namespace": "n"})[0] == Role(None, "r", ())


def test_aggregation():
    selectors = [
        {"matchLabels": {"b": "2", "a": "1"}},
        {
            "matchExpressions": [
                {"key": "k", "operator": "In", "values": ["x"]},
                {"key": "k", "operator": "Exists"},
            ]
        },
        {},
    ]
    value, problems = role(aggregationRule={"clusterRoleSelectors": selectors}, rules=None)
    assert problems == []
    assert value is not None
    assert value.aggregation == (
        LabelSelector((("a", "1"), ("b", "2"))),
        LabelSelector((), (Requirement("k", "In", ("x",)), Requirement("k", "Exists"))),
        LabelSelector(),
    )


def test_an_ordinary_role_is_not_aggregated():
    value, _ = role(rules=[])
    assert value is not None
    assert value.aggregation is None


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": ["a"]},
        {"matchExpressions": {"key": "a"}},
        {"matchExpressions": [{"key": "a", "operator": "Matches"}]},
        {"matchExpressions": [{"operator": "Bogus"}]},
    ],
)
def test_a_broken_selector_matches_nothing_rather_than_everything(selector: object):
    value, problems = role(aggregationRule={"clusterRoleSelectors": [selector]})
    assert problems
    assert value is not None
    assert value.aggregation is not None
    assert not value.aggregation[0].matches({})
    assert not value.aggregation[0].matches({"a": "b"})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"rules": "x"}, "rules: expected a list, found a string ('x')"),
        ({"rules": ["x"]}, "rules[0]: expected a mapping, found a string ('x')"),
        ({"rules": [{"verbs": "list"}]}, "rules[0].verbs: expected a list, found a string ('list')"),
        ({"rules": [{"verbs": [{}]}]}, "rules[0].verbs[0]: expected a string, found a mapping"),
        ({"rules": [{"resources": {}}]}, "rules[0].resources: expected a list, found a mapping"),
        ({"rules": [{"apiGroups": [None]}]}, "rules[0].apiGroups[0]: expected a string, found null"),
        ({"rules": [{"resourceNames": 5}]}, "rules[0].resourceNames: expected a list, found a number (5)"),
        ({"aggregationRule": []}, "aggregationRule: expected a mapping, found a list"),
        ({"aggregationRule": {}}, "aggregationRule.clusterRoleSelectors: is missing"),
    ],
)
def test_a_wrong_field_of_a_role_is_one_problem(fields: dict[str, Any], problem: str):
    value, problems = role(**fields)
    assert value is not None
    assert problems == [problem]


def test_a_cluster_role_binding():
    account = {"kind": "ServiceAccount", "name": "vector", "namespace": "logging"}
    user = {"kind": "User", "name": "system:serviceaccount:a:b", "apiGroup": "rbac.authorization.k8s.io"}
    group = {"kind": "Group", "name": "system:serviceaccounts"}
    value, problems = binding(subjects=[account, user, group])
    assert problems == []
    assert value == Binding(
        None,
        "b",
        "ClusterRole",
        "reader",
        (
            Subject("ServiceAccount", "vector", "logging"),
            Subject("User", "system:serviceaccount:a:b"),
            Subject("Group", "system:serviceaccounts"),
        ),
    )


def test_a_role_binding_may_refer_to_both_kinds():
    for kind in ("ClusterRole", "Role"):
        value, problems = binding(
            kind="RoleBinding", roleRef={"kind": kind, "name": "r"}, metadata={"name": "b"}
        )
        assert (value, problems) == (Binding("default", "b", kind, "r", ()), [])


def test_the_account_of_a_role_binding_need_not_name_its_namespace():
    account = {"kind": "ServiceAccount", "name": "vector"}
    assert subjects(account, kind="RoleBinding") == ((Subject("ServiceAccount", "vector"),), [])
    _, problems = subjects(account)
    assert len(problems) == 1
    assert problems[0].startswith("subjects[0].namespace: is missing")


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1", "v1"])
def test_the_user_star_meant_everyone_in_v1alpha1_only(version: str):
    star = {"kind": "User", "name": "*", "apiVersion": "rbac.authorization.k8s.io/v1alpha1"}
    found, problems = subjects(star, apiVersion=f"rbac.authorization.k8s.io/{version}")
    everyone = Subject("Group", "system:authenticated") if version == "v1alpha1" else Subject("User", "*")
    assert (found, problems) == ((everyone,), [])


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        (None, "roleRef.kind: is missing"),
        ("reader", "roleRef: expected a mapping, found a string ('reader')"),
        ({"kind": "ClusterRole"}, "roleRef.name: is missing"),
        ({"kind": "Role", "name": "r"}, "roleRef.kind: expected ClusterRole, found a string ('Role')"),
        ({"kind": "Group", "name": "r"}, "roleRef.kind: expected ClusterRole, found a string ('Group')"),
        ({"kind": ["ClusterRole"], "name": "r"}, "roleRef.kind: expected a string, found a list"),
    ],
)
def test_a_binding_without_usable_role_is_none(reference: object, problem: str):
    value, problems = binding(roleRef=reference)
    assert value is None
    assert problems[0] == problem


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        ("x", "subjects[1]: expected a mapping, found a string ('x')"),
        ({"name": "x"}, "subjects[1].kind: is missing"),
        ({"kind": "Group"}, "subjects[1].name: is missing"),
        (
            {"kind": "Robot", "name": "x"},
            "subjects[1].kind: expected ServiceAccount, User, Group, found 'Robot'",
        ),
        ({"kind": "Group", "name": {}}, "subjects[1].name: expected a string, found a mapping"),
    ],
)
def test_a_broken_subject_leaves_the_others(subject: object, problem: str):
    good = {"kind": "Group", "name": "g"}
    assert subjects(good, subject) == ((Subject("Group", "g"),), [problem])


def test_the_object_is_named_with_its_namespace():
    problems: list[Problem] = []
    raw = {"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "n"}, "roleRef": REF, "subjects": 5}
    parse.binding(raw, HERE, problems)
    assert str(problems[0]).startswith("rbac.yaml, document 1: RoleBinding n/b: subjects: ")
