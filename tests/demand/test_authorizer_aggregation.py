"""Aggregated roles; the same shapes are put before a real controller in tests/cluster."""

from __future__ import annotations

from watchbudget.demand.aggregation import settled_rules
from watchbudget.inventory.rbac import LabelSelector, PolicyRule, Requirement, Role


def rule(resource: str) -> PolicyRule:
    return PolicyRule(("list",), ("",), (resource,))


def role(name: str, *resources: str, labels: dict[str, str] | None = None) -> Role:
    return Role(None, name, tuple(rule(resource) for resource in resources), labels or {})


def summing(name: str, *selectors: LabelSelector, own: str = "", label: str = "") -> Role:
    rules = (rule(own),) if own else ()
    return Role(None, name, rules, {label: "true"} if label else {}, selectors)


def labelled(key: str, value: str = "true") -> LabelSelector:
    return LabelSelector(match_labels=((key, value),))


def resources(roles: list[Role], name: str) -> set[str]:
    return resources_of(settled_rules(roles)[name])


def resources_of(rules: tuple[PolicyRule, ...]) -> set[str]:
    return {resource for found in rules for resource in found.resources}


def test_rules_are_the_union_over_all_selectors_and_replace_the_roles_own():
    roles = [
        role("a", "pods", labels={"to-sum": "true"}),
        role("b", "nodes", labels={"also": "true"}),
        role("c", "secrets", labels={"to-sum": "false"}),
        summing("sum", labelled("to-sum"), labelled("also"), own="namespaces"),
    ]
    assert resources(roles, "sum") == {"pods", "nodes"}


def test_chain_of_aggregated_roles_comes_to_rest_whatever_the_order_of_names():
    down = [summing(f"r{9 - level}", labelled(f"l{level}"), label=f"l{level + 1}") for level in range(9)]
    up = [summing(f"r{level}", labelled(f"l{level}"), label=f"l{level + 1}") for level in range(9)]
    for chain in (down, up):
        assert resources([*chain, role("leaf", "namespaces", labels={"l0": "true"})], chain[-1].name) == {
            "namespaces"
        }


def test_role_that_selects_nothing_keeps_its_own_rules():
    # Seen on a real controller, which then applies a patch without `rules`.
    assert resources([summing("sum", labelled("nobody"), own="namespaces")], "sum") == {"namespaces"}
    assert resources([summing("sum", labelled("l"), own="namespaces", label="l")], "sum") == {"namespaces"}


def test_roles_with_nothing_to_give_do_not_replace_either():
    roles = [role("empty", labels={"l": "true"}), summing("sum", labelled("l"), own="namespaces")]
    assert resources(roles, "sum") == {"namespaces"}


def test_circle_ends():
    roles = [
        summing("a", labelled("from-c"), own="namespaces", label="from-a"),
        summing("b", labelled("from-a"), label="from-b"),
        summing("c", labelled("from-b"), label="from-c"),
    ]
    for name in "abc":
        assert resources(roles, name) == {"namespaces"}
    restless = [
        summing("a", labelled("from-b"), own="x", label="from-a"),
        summing("b", labelled("from-c"), own="y", label="from-b"),
        summing("c", labelled("from-a"), own="z", label="from-c"),
    ]
    assert resources(restless, "a") <= {"x", "y", "z"}


def test_empty_selector_takes_every_other_role():
    roles = [role("a", "pods"), role("b", "namespaces"), summing("sum", LabelSelector())]
    assert resources(roles, "sum") == {"pods", "namespaces"}


def test_expressions_and_labels_must_hold_together():
    selector = LabelSelector((("team", "net"),), (Requirement("stage", "NotIn", ("dev",)),))
    roles = [
        role("prod", "pods", labels={"team": "net", "stage": "prod"}),
        role("unset", "nodes", labels={"team": "net"}),
        role("dev", "secrets", labels={"team": "net", "stage": "dev"}),
        role("other", "namespaces", labels={"stage": "prod"}),
        summing("sum", selector),
    ]
    assert resources(roles, "sum") == {"pods", "nodes"}


def test_many_roles_that_all_select_each_other_come_to_rest():
    everything = [summing(f"r{index}", LabelSelector(), own=f"own-{index}") for index in range(500)]
    roles = [*everything, role("leaf", "namespaces")]
    assert all("namespaces" in resources_of(rules) for rules in settled_rules(roles).values())
