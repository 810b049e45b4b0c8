"""Grants with their paths and scopes, and what the server's own word does to them."""

from __future__ import annotations

import pytest

from watchbudget.api.resources import DEFAULT_WATCHED, NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.demand.authorizer import Authorizer
from watchbudget.demand.grants import (
    REVIEW_PATH,
    accounts_by_key,
    effective_verbs,
    grants_of,
    may_list,
    may_watch,
    rbac_known,
)
from watchbudget.demand.model import Grant
from watchbudget.inventory.fleet import AccessReviews, DaemonSet, Fleet, ServiceAccount
from watchbudget.inventory.rbac import Binding, PolicyRule, Rbac, Role, Subject

AGENT = DaemonSet("logging", "shipper", "agent")
ACCOUNT = Subject("ServiceAccount", "agent", "logging")
PODS = GroupResource("", "pods")
READ = ("get", "list", "watch")


def role(*rules: PolicyRule, name: str = "r", namespace: str | None = None) -> Role:
    return Role(namespace, name, rules)


def bind(
    role_name: str = "r", name: str = "b", namespace: str | None = None, kind: str = "ClusterRole"
) -> Binding:
    return Binding(namespace, name, kind, role_name, (ACCOUNT,))  # type: ignore[arg-type]


def rule(resource: GroupResource, *verbs: str, names: tuple[str, ...] = ()) -> PolicyRule:
    return PolicyRule(verbs, (resource.group,), (resource.resource,), names)


def found(
    roles: tuple[Role, ...],
    bindings: tuple[Binding, ...],
    resources: tuple[GroupResource, ...] = DEFAULT_WATCHED,
    access: AccessReviews = AccessReviews(),
) -> tuple[Grant, ...]:
    fleet = Fleet((AGENT,), Rbac(roles, bindings), access)
    return grants_of(AGENT, fleet, Authorizer.of(fleet), resources)


def test_path_names_binding_and_role_and_verbs_are_list_and_watch_only():
    grants = found((role(rule(NAMESPACES, *READ, "delete")),), (bind(),))
    assert grants == (
        Grant(NAMESPACES, ("list", "watch"), "cluster", ("ClusterRoleBinding/b", "ClusterRole/r")),
    )


def test_get_alone_is_no_grant():
    assert found((role(rule(NAMESPACES, "get")),), (bind(),)) == ()


def test_every_path_is_a_grant_of_its_own():
    roles = (role(rule(NAMESPACES, "list")), role(rule(NAMESPACES, "watch"), name="s"))
    grants = found(roles, (bind(), bind("s", "c")))
    assert [(grant.verbs, grant.path[1]) for grant in grants] == [
        (("list",), "ClusterRole/r"),
        (("watch",), "ClusterRole/s"),
    ]
    assert effective_verbs(grants, NAMESPACES) == {"list", "watch"}


def test_binding_that_names_the_account_twice_is_one_grant():
    subjects = (ACCOUNT, ACCOUNT, Subject("Group", "system:serviceaccounts"))
    twice = Binding(None, "b", "ClusterRole", "r", subjects)
    assert len(found((role(rule(NAMESPACES, *READ)),), (twice,))) == 1


def test_role_binding_lists_no_namespaces_however_wide_its_role():
    for name in ("r", "cluster-admin"):
        assert (
            found((role(rule(NAMESPACES, *READ)),), (bind(name, namespace="logging"),), (NAMESPACES,)) == ()
        )


def test_role_bindings_of_one_name_are_one_grant_with_their_namespaces():
    roles = (role(rule(NETWORK_POLICIES, *READ)),)
    bindings = tuple(bind(namespace=namespace) for namespace in ("logging", "apps"))
    (grant,) = found(roles, bindings)
    assert (grant.scope, grant.namespaces) == ("namespaces", ("apps", "logging"))
    assert grant.path == ("RoleBinding/b", "ClusterRole/r")
    assert effective_verbs((grant,), NETWORK_POLICIES) == frozenset()


def test_roles_that_share_a_name_in_two_namespaces_keep_their_own_verbs():
    roles = (
        role(rule(NETWORK_POLICIES, "list"), namespace="a"),
        role(rule(NETWORK_POLICIES, "watch"), namespace="b"),
    )
    grants = found(roles, tuple(bind(namespace=namespace, kind="Role") for namespace in "ab"))
    assert {(grant.namespaces, grant.verbs) for grant in grants} == {
        (("a",), ("list",)),
        (("b",), ("watch",)),
    }
    assert {grant.path for grant in grants} == {("RoleBinding/b", "Role/r")}


def test_names_narrow_and_only_what_is_not_granted_for_all_is_shown_by_name():
    rules = (
        rule(NAMESPACES, "list"),
        rule(NAMESPACES, *READ, names=("two", "one")),
        rule(NAMESPACES, "list", names=("three",)),
    )
    everything, named = found((role(*rules),), (bind(),))
    assert (everything.scope, everything.verbs) == ("cluster", ("list",))
    assert (named.scope, named.verbs, named.names) == ("named", ("watch",), ("one", "two"))
    assert effective_verbs((everything, named), NAMESPACES) == {"list"}


def test_named_grant_in_a_namespace_says_both():
    (grant,) = found((role(rule(NETWORK_POLICIES, "watch", names=("one",))),), (bind(namespace="logging"),))
    assert (grant.scope, grant.names, grant.namespaces) == ("named", ("one",), ("logging",))


def test_network_policies_of_another_group_are_another_resource():
    calico = GroupResource("crd.projectcalico.org", "networkpolicies")
    assert found((role(rule(calico, *READ)),), (bind(),)) == ()
    assert found((role(rule(calico, *READ)),), (bind(),), (calico,)) != ()


def test_builtin_role_is_a_path_like_any_other():
    grants = found((), (bind("view"),))
    assert {(grant.resource, grant.path[1]) for grant in grants} == {
        (NAMESPACES, "ClusterRole/view"),
        (NETWORK_POLICIES, "ClusterRole/view"),
    }


def answers(state: str = "asked", **by_verb: bool) -> AccessReviews:
    allowed = {("logging", "agent", NAMESPACES, verb): answer for verb, answer in by_verb.items()}
    return AccessReviews(state, allowed)  # type: ignore[arg-type]


def test_server_confirms_verb_by_verb():
    roles, bindings = (role(rule(NAMESPACES, *READ)),), (bind(),)
    (both,) = found(roles, bindings, (NAMESPACES,), answers(list=True, watch=True))
    assert (both.verbs, both.confirmed) == (("list", "watch"), True)
    split = found(roles, bindings, (NAMESPACES,), answers(list=True, watch=False))
    assert {(grant.verbs, grant.confirmed) for grant in split} == {(("list",), True), (("watch",), False)}
    assert effective_verbs(split, NAMESPACES) == {"list"}


def test_server_denies_what_rbac_grants():
    grants = found(
        (role(rule(NAMESPACES, *READ)),), (bind(),), (NAMESPACES,), answers(list=False, watch=False)
    )
    assert [grant.confirmed for grant in grants] == [False]  # shown all the same: the path is there
    assert not may_list(grants, NAMESPACES)
    assert not may_watch(grants, NAMESPACES)


def test_server_allows_what_no_binding_explains():
    grants = found(
        (role(rule(NAMESPACES, "list")),), (bind(),), (NAMESPACES,), answers(list=True, watch=True)
    )
    assert [(grant.verbs, grant.path, grant.confirmed) for grant in grants] == [
        (("list",), ("ClusterRoleBinding/b", "ClusterRole/r"), True),
        (("watch",), REVIEW_PATH, True),
    ]
    assert effective_verbs(grants, NAMESPACES) == {"list", "watch"}


def test_server_was_asked_of_the_cluster_scope_only():
    roles, bindings = (role(rule(PODS, *READ)),), (bind(namespace="logging"),)
    denied = AccessReviews("asked", {("logging", "agent", PODS, verb): False for verb in READ})
    (grant,) = found(roles, bindings, (PODS,), denied)
    assert (grant.scope, grant.confirmed) == ("namespaces", None)


@pytest.mark.parametrize("state", ["asked", "partial"])
def test_what_was_not_answered_rests_on_rbac(state: str):
    grants = found((role(rule(NAMESPACES, *READ)),), (bind(),), (NAMESPACES,), answers(state, list=False))
    assert {(grant.verbs, grant.confirmed) for grant in grants} == {(("list",), False), (("watch",), None)}
    assert effective_verbs(grants, NAMESPACES) == {"watch"}


@pytest.mark.parametrize("state", ["forbidden", "offline"])
def test_nothing_is_read_into_answers_that_were_not_asked_for(state: str):
    grants = found((role(rule(NAMESPACES, *READ)),), (bind(),), (NAMESPACES,), answers(state, list=False))
    assert [(grant.verbs, grant.confirmed) for grant in grants] == [(("list", "watch"), None)]


def test_answers_about_another_account_do_not_count():
    other = AccessReviews("asked", {("logging", "other", NAMESPACES, "list"): True})
    assert found((), (), (NAMESPACES,), other) == ()


def test_watch_alone_brings_everything_and_list_alone_only_polls():
    watch = found((role(rule(NAMESPACES, "watch")),), (bind(),))
    assert (may_watch(watch, NAMESPACES), may_list(watch, NAMESPACES)) == (True, False)
    poll = found((role(rule(NAMESPACES, "list")),), (bind(),))
    assert (may_watch(poll, NAMESPACES), may_list(poll, NAMESPACES)) == (False, True)


@pytest.mark.parametrize(
    ("fleet", "known"),
    [
        (Fleet((AGENT,)), False),
        (Fleet((AGENT,), complete_rbac=True), True),
        (Fleet((AGENT,), service_accounts=(ServiceAccount("logging", "agent"),)), True),
        (Fleet((AGENT,), service_accounts=(ServiceAccount("other", "agent"),)), False),
        (Fleet((AGENT,), Rbac(bindings=(bind("absent"),))), True),
        (Fleet((AGENT,), Rbac(bindings=(Binding(None, "b", "ClusterRole", "r", ()),))), False),
        # A binding to a group is about everybody; it does not show that this agent's own roles are here.
        (
            Fleet(
                (AGENT,),
                Rbac(
                    bindings=(
                        Binding(None, "b", "ClusterRole", "r", (Subject("Group", "system:serviceaccounts"),)),
                    )
                ),
            ),
            False,
        ),
    ],
)
def test_rbac_is_known_if_the_account_is_there_or_is_named(fleet: Fleet, known: bool):
    assert rbac_known(AGENT, fleet, Authorizer.of(fleet), accounts_by_key(fleet)) is known


def test_group_bound_in_every_namespace_costs_each_agent_no_walk_through_them():
    everywhere = tuple(
        Binding(f"ns-{index}", "everyone", "ClusterRole", "r", (Subject("Group", "system:serviceaccounts"),))
        for index in range(2000)
    )
    agents = tuple(DaemonSet("logging", f"a{index}", f"a{index}") for index in range(2000))
    fleet = Fleet(agents, Rbac((role(rule(NETWORK_POLICIES, *READ)),), everywhere))
    authorizer = Authorizer.of(fleet)
    (first,) = grants_of(agents[0], fleet, authorizer, DEFAULT_WATCHED)
    assert len(first.namespaces) == 2000
    for agent in agents:
        (grant,) = grants_of(agent, fleet, authorizer, DEFAULT_WATCHED)
        # The same tuple, not one like it: 2,000 of 2,000 names each would be four million.
        assert grant.namespaces is first.namespaces
