"""What holds for any roles and bindings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchbudget.api.resources import DEFAULT_WATCHED, NETWORK_POLICIES, GroupResource
from watchbudget.demand.after import After
from watchbudget.demand.authorizer import Authorizer, groups_of, username_of
from watchbudget.demand.grants import effective_verbs, grants_of
from watchbudget.demand.model import Grant
from watchbudget.inventory.fleet import DaemonSet, Fleet
from watchbudget.inventory.rbac import Binding, LabelSelector, PolicyRule, Rbac, Role, Subject

NAMESPACES = ("a", "b")
VERBS = ("get", "list", "watch")
GROUPS = ("", "networking.k8s.io", "crd.projectcalico.org")
RESOURCES = ("namespaces", "networkpolicies", "pods")
NAMES = ("x", "y")


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(tuple)


rules = st.builds(
    PolicyRule,
    verbs=some((*VERBS, "*")),
    api_groups=some((*GROUPS, "*")),
    resources=some((*RESOURCES, "*", "pods/log", "*/log")),
    resource_names=st.just(()) | some(NAMES),
)
rule_lists = st.lists(rules, max_size=3).map(tuple)
labels = st.dictionaries(st.sampled_from(("l", "m")), st.just("1"), max_size=2)
role_names = st.sampled_from(("r1", "r2", "r3", "r4"))
plain_roles = st.builds(Role, st.none(), role_names, rule_lists, labels) | st.builds(
    Role, st.sampled_from(NAMESPACES), role_names, rule_lists
)
selectors = st.builds(LabelSelector, match_labels=st.sampled_from(((("l", "1"),), (("m", "1"),))))
# Without rules of their own: those are replaced by the first role selected, so more may mean less.
aggregated_roles = st.builds(
    Role,
    st.none(),
    st.sampled_from(("s1", "s2")),
    st.just(()),
    labels,
    st.lists(selectors, min_size=1, max_size=2).map(tuple),
)
roles = st.lists(plain_roles | aggregated_roles, max_size=6)
subjects = st.sampled_from(
    (
        Subject("ServiceAccount", "agent", "a"),
        Subject("ServiceAccount", "agent"),
        Subject("User", "system:serviceaccount:a:agent"),
        Subject("Group", "system:serviceaccounts:a"),
        Subject("Group", "system:authenticated"),
        Subject("ServiceAccount", "other", "a"),
    )
)
bindings = st.lists(
    st.builds(
        Binding,
        st.sampled_from((None, *NAMESPACES)),
        st.sampled_from(("b1", "b2")),
        st.sampled_from(("ClusterRole", "Role")),
        st.sampled_from(("r1", "r2", "r3", "r4", "s1", "s2", "view", "absent")),
        st.lists(subjects, max_size=2).map(tuple),
    ),
    max_size=6,
)
QUESTIONS = [
    (verb, group, resource, namespace, name)
    for verb in VERBS
    for group in GROUPS
    for resource in RESOURCES
    for namespace in (None, *NAMESPACES)
    for name in (None, "x")
]
AGENT = DaemonSet("a", "agent", "agent")


PRICED = (*DEFAULT_WATCHED, GroupResource("", "pods"))

Question = tuple[str, str, str, str | None, str | None]


def allowed(authorizer: Authorizer, question: Question) -> bool:
    user, groups = username_of("a", "agent"), groups_of("a")
    return authorizer.allows(user, groups, *question[:3], namespace=question[3], name=question[4])


def answers(rbac: Rbac) -> set[Question]:
    authorizer = Authorizer(rbac)
    return {question for question in QUESTIONS if allowed(authorizer, question)}


def grants(rbac: Rbac) -> tuple[Grant, ...]:
    return grants_of(AGENT, Fleet((AGENT,), rbac), Authorizer(rbac), PRICED)


@given(roles, bindings, roles, bindings)
def test_more_roles_and_bindings_never_take_a_right_away(
    first_roles: list[Role],
    first_bindings: list[Binding],
    more_roles: list[Role],
    more_bindings: list[Binding],
):
    # New names only: a second definition of an aggregated role's name may turn a plain one into a sum.
    renamed = [
        Role(role.namespace, f"new-{role.name}", role.rules, role.labels, role.aggregation)
        for role in more_roles
    ]
    less = Rbac(tuple(first_roles), tuple(first_bindings))
    more = Rbac((*first_roles, *renamed), (*first_bindings, *more_bindings))
    assert answers(less) <= answers(more)


@given(st.data(), roles, bindings)
def test_order_does_not_matter(data: st.DataObject, some_roles: list[Role], some_bindings: list[Binding]):
    one = Rbac(tuple(some_roles), tuple(some_bindings))
    other = Rbac(
        tuple(data.draw(st.permutations(some_roles))), tuple(data.draw(st.permutations(some_bindings)))
    )
    assert answers(one) == answers(other)
    assert grants(one) == grants(other)


@given(
    st.lists(
        rules.map(lambda rule: PolicyRule(rule.verbs, rule.api_groups, rule.resources, ("x",))), max_size=4
    )
)
def test_rules_with_names_never_grant_the_cluster_scope(named: list[PolicyRule]):
    role = Role(None, "r", tuple(named))
    found = grants(
        Rbac((role,), (Binding(None, "b", "ClusterRole", "r", (Subject("ServiceAccount", "agent", "a"),)),))
    )
    assert all(grant.scope == "named" and grant.names == ("x",) for grant in found)
    assert not any(effective_verbs(found, resource) for resource in DEFAULT_WATCHED)


@given(bindings)
def test_bindings_to_missing_roles_grant_nothing(some_bindings: list[Binding]):
    kept = [
        binding for binding in some_bindings if binding.role_name != "view" or binding.role_kind == "Role"
    ]
    assert answers(Rbac(bindings=tuple(kept))) == set()
    assert grants(Rbac(bindings=tuple(kept))) == ()


@given(rules, st.sampled_from(("verbs", "api_groups", "resources")))
def test_a_wildcard_allows_all_that_a_listed_value_does(rule: PolicyRule, field: str):
    values = {"verbs": rule.verbs, "api_groups": rule.api_groups, "resources": rule.resources}
    wider = PolicyRule(**(values | {field: ("*",)}), resource_names=rule.resource_names)
    binding = Binding(None, "b", "ClusterRole", "r", (Subject("Group", "system:authenticated"),))
    narrow_answers, wide_answers = (
        answers(Rbac((Role(None, "r", (each,)),), (binding,))) for each in (rule, wider)
    )
    assert narrow_answers <= wide_answers


@given(st.lists(rules, max_size=4))
def test_network_policies_of_another_group_never_count(some_rules: list[PolicyRule]):
    foreign = tuple(
        PolicyRule(rule.verbs, ("crd.projectcalico.org", "extensions"), rule.resources) for rule in some_rules
    )
    binding = Binding(None, "b", "ClusterRole", "r", (Subject("ServiceAccount", "agent", "a"),))
    found = grants(Rbac((Role(None, "r", foreign),), (binding,)))
    assert not [grant for grant in found if grant.resource == NETWORK_POLICIES]


@given(roles, bindings)
def test_grants_and_single_answers_agree_in_every_scope(some_roles: list[Role], some_bindings: list[Binding]):
    rbac = Rbac(tuple(some_roles), tuple(some_bindings))
    allowed, found = answers(rbac), grants(rbac)
    for verb in ("list", "watch"):
        for resource in (*DEFAULT_WATCHED, GroupResource("", "pods")):
            everywhere = verb in effective_verbs(found, resource)
            assert everywhere == ((verb, resource.group, resource.resource, None, None) in allowed)
            if resource.resource == "namespaces":
                continue
            for namespace in NAMESPACES:
                there = everywhere or any(
                    namespace in grant.namespaces and verb in grant.verbs
                    for grant in found
                    if grant.resource == resource and grant.scope == "namespaces"
                )
                assert there == ((verb, resource.group, resource.resource, namespace, None) in allowed)


@given(roles, bindings, bindings.filter(bool))
def test_after_a_binding_is_an_authorizer_built_with_it(
    there: list[Role], bound: list[Binding], then: list[Binding]
):
    # In a cluster a binding's name is its own: of files both would count.
    named = {(each.namespace, each.name): each for each in bound}
    after = Authorizer(Rbac(tuple(there), tuple(named.values())))
    for binding in then:
        after = After(after, binding)
        named[binding.namespace, binding.name] = binding
        rbac = Rbac(tuple(there), tuple(named.values()))
        assert {question for question in QUESTIONS if allowed(after, question)} == answers(rbac)
        assert grants_of(AGENT, Fleet((AGENT,), rbac), after, PRICED) == grants(rbac)
