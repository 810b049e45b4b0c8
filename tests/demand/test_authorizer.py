"""The authorizer on the rules that matter here; the comparison with a real one is in tests/cluster."""

from __future__ import annotations

import pytest

from watchbudget.demand.authorizer import Authorizer, groups_of, username_of
from watchbudget.inventory.fleet import Fleet
from watchbudget.inventory.rbac import Binding, PolicyRule, Rbac, Role, Subject

AGENT = Subject("ServiceAccount", "agent", "logging")


def bound(rule: PolicyRule, subject: Subject = AGENT, namespace: str | None = None) -> Authorizer:
    binding = Binding(namespace, "b", "ClusterRole", "r", (subject,))
    return Authorizer(Rbac((Role(None, "r", (rule,)),), (binding,)))


def may(authorizer: Authorizer, verb: str, group: str, resource: str, **where: str) -> bool:
    return authorizer.allows(
        username_of("logging", "agent"), groups_of("logging"), verb, group, resource, **where
    )


@pytest.mark.parametrize(
    ("rule", "request_", "allowed"),
    [
        (PolicyRule(("list",), ("",), ("namespaces",)), ("list", "", "namespaces"), True),
        (PolicyRule(("list",), ("",), ("namespaces",)), ("watch", "", "namespaces"), False),
        (PolicyRule(("*",), ("",), ("namespaces",)), ("watch", "", "namespaces"), True),
        (PolicyRule(("list",), ("*",), ("*",)), ("list", "any.example.com", "things"), True),
        (PolicyRule(("list",), ("",), ("*",)), ("list", "networking.k8s.io", "networkpolicies"), False),
        (
            PolicyRule(("list",), ("crd.projectcalico.org",), ("networkpolicies",)),
            ("list", "networking.k8s.io", "networkpolicies"),
            False,
        ),
        # Rules are exact: no prefix, no case folding, no singular.
        (PolicyRule(("list",), ("",), ("namespace",)), ("list", "", "namespaces"), False),
        (PolicyRule(("List",), ("",), ("namespaces",)), ("list", "", "namespaces"), False),
        (PolicyRule(("list",), ("",), ("name*",)), ("list", "", "namespaces"), False),
        (PolicyRule((), ("",), ("namespaces",)), ("list", "", "namespaces"), False),
        (PolicyRule(("list",), (), ("namespaces",)), ("list", "", "namespaces"), False),
    ],
)
def test_verbs_groups_and_resources_match_exactly_or_by_star(
    rule: PolicyRule, request_: tuple[str, str, str], allowed: bool
):
    assert may(bound(rule), *request_) is allowed


@pytest.mark.parametrize(
    ("resources", "subresource", "allowed"),
    [
        (("pods",), "log", False),
        (("pods/log",), "log", True),
        (("pods/log",), "", False),
        (("*/log",), "log", True),
        (("*/log",), "status", False),
        (("*/log",), "", False),
        (("pods/*",), "log", False),
        (("*",), "log", True),
    ],
)
def test_subresources_need_their_own_rule(resources: tuple[str, ...], subresource: str, allowed: bool):
    authorizer = bound(PolicyRule(("get",), ("",), resources))
    assert may(authorizer, "get", "", "pods", name="a", subresource=subresource) is allowed


def test_named_rule_allows_only_requests_with_one_of_its_names():
    authorizer = bound(PolicyRule(("list",), ("",), ("namespaces",), ("one", "two")))
    assert may(authorizer, "list", "", "namespaces", name="two")
    assert not may(authorizer, "list", "", "namespaces", name="three")
    assert not may(authorizer, "list", "", "namespaces")


@pytest.mark.parametrize(
    "subject",
    [
        Subject("ServiceAccount", "agent", "logging"),
        Subject("User", "system:serviceaccount:logging:agent"),
        Subject("User", "system:serviceaccount:logging:agent", "ignored"),
        Subject("Group", "system:serviceaccounts"),
        Subject("Group", "system:serviceaccounts:logging"),
        Subject("Group", "system:authenticated"),
    ],
)
def test_every_way_of_naming_an_account(subject: Subject):
    assert may(bound(PolicyRule(("list",), ("",), ("namespaces",)), subject), "list", "", "namespaces")


@pytest.mark.parametrize(
    "subject",
    [
        Subject("ServiceAccount", "agent", "other"),
        Subject("ServiceAccount", "agent"),  # a ClusterRoleBinding has no namespace to fill in
        Subject("User", "agent"),
        Subject("Group", "system:serviceaccounts:other"),
        Subject("Group", "system:unauthenticated"),
        Subject("serviceaccount", "agent", "logging"),
        Subject("Robot", "system:serviceaccount:logging:agent"),
    ],
)
def test_subjects_that_name_somebody_else_or_nobody(subject: Subject):
    assert not may(bound(PolicyRule(("list",), ("",), ("namespaces",)), subject), "list", "", "namespaces")


def test_role_binding_counts_in_its_namespace_only_and_fills_in_its_accounts():
    rule = PolicyRule(("list",), ("networking.k8s.io",), ("networkpolicies",))
    authorizer = bound(rule, Subject("ServiceAccount", "agent"), namespace="logging")
    question = ("list", "networking.k8s.io", "networkpolicies")
    assert may(authorizer, *question, namespace="logging")
    assert not may(authorizer, *question, namespace="other")
    assert not may(authorizer, *question)


def test_role_of_another_namespace_or_none_grants_nothing():
    rule = PolicyRule(("list",), ("",), ("pods",))
    roles = (Role("other", "r", (rule,)),)
    bindings = (
        Binding("logging", "elsewhere", "Role", "r", (AGENT,)),
        Binding(None, "cluster-wide", "Role", "r", (AGENT,)),
        Binding(None, "missing", "ClusterRole", "r", (AGENT,)),
    )
    authorizer = Authorizer(Rbac(roles, bindings))
    assert not may(authorizer, "list", "", "pods")
    assert not may(authorizer, "list", "", "pods", namespace="logging")
    assert not may(authorizer, "list", "", "pods", namespace="other")


@pytest.mark.parametrize(
    ("role", "namespaces", "policies", "secrets"),
    [
        ("cluster-admin", True, True, True),
        ("admin", True, True, True),
        ("edit", True, True, True),
        ("view", True, True, False),
        ("system:heapster", True, False, False),
        ("system:node-problem-detector", False, False, False),
    ],
)
def test_builtin_roles_exist_without_a_file(role: str, namespaces: bool, policies: bool, secrets: bool):
    binding = Binding(None, "b", "ClusterRole", role, (AGENT,))
    authorizer = Authorizer(Rbac(bindings=(binding,)))
    assert may(authorizer, "list", "", "namespaces") is namespaces
    assert may(authorizer, "watch", "networking.k8s.io", "networkpolicies") is policies
    assert may(authorizer, "watch", "", "secrets") is secrets
    # A live cluster that was read whole has the built-in roles itself, or somebody took them away.
    alone = Authorizer.of(Fleet((), Rbac(bindings=(binding,)), complete_rbac=True))
    assert not may(alone, "list", "", "namespaces")


def test_file_adds_to_a_builtin_role_and_takes_nothing_away():
    pods = Role(None, "view", (PolicyRule(("list",), ("",), ("pods",)),))
    binding = Binding(None, "b", "ClusterRole", "view", (AGENT,))
    crd = PolicyRule(("list",), ("example.com",), ("things",))
    more = Role(None, "more", (crd,), labels={"rbac.authorization.k8s.io/aggregate-to-view": "true"})
    authorizer = Authorizer(Rbac((pods, more), (binding,)))
    assert may(authorizer, "list", "", "namespaces")
    assert may(authorizer, "list", "example.com", "things")


def test_nobody_gets_a_watched_resource_by_default():
    authorizer = Authorizer(Rbac())
    assert may(authorizer, "create", "authorization.k8s.io", "selfsubjectaccessreviews")
    for verb in ("get", "list", "watch"):
        assert not may(authorizer, verb, "", "namespaces", namespace="logging")
        assert not may(authorizer, verb, "networking.k8s.io", "networkpolicies", namespace="logging")
