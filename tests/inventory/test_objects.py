"""Objects into a Fleet: which kinds count, lists, objects that are there twice, and what forgot its kind."""

from __future__ import annotations

from typing import Any

import pytest

from watchbudget.inventory.fleet import Fleet, Problem, Source
from watchbudget.inventory.objects import Objects, is_object

RBAC = "rbac.authorization.k8s.io"


def obj(
    version: str, kind: str, name: str = "x", namespace: str | None = None, **rest: object
) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def daemon_set(name: str = "x", version: str = "apps/v1", image: str = "i:1") -> dict[str, Any]:
    pod = {"containers": [{"name": "c", "image": image}]}
    return obj(version, "DaemonSet", name, spec={"template": {"spec": pod}})


def fleet_of(*raws: object, default: str = "default") -> tuple[Fleet, list[str]]:
    problems: list[Problem] = []
    objects = Objects(default, problems)
    for number, raw in enumerate(raws, 1):
        assert isinstance(raw, dict)
        objects.add(raw, Source("a.yaml", number))
    return objects.fleet(), [str(problem) for problem in problems]


def test_everything_the_fleet_is_made_of():
    reference = {"kind": "ClusterRole", "name": "x"}
    template = {"spec": {"template": {"spec": {"serviceAccountName": "typha"}}}}
    fleet, problems = fleet_of(
        daemon_set(),
        obj(f"{RBAC}/v1", "ClusterRole"),
        obj(f"{RBAC}/v1beta1", "Role"),
        obj(f"{RBAC}/v1alpha1", "ClusterRoleBinding", roleRef=reference),
        obj(f"{RBAC}/v1", "RoleBinding", roleRef=reference),
        obj("v1", "ServiceAccount"),
        obj("v1", "ConfigMap"),
        obj("v1", "LimitRange"),
        obj("v1", "Namespace", "tenant"),
        obj("apps/v1", "Deployment", "a", **template),
        obj("batch/v1", "Job", "b", **template),
        obj("watchbudget.io/v1alpha1", "WatchBudget"),
        default="agents",
    )
    assert problems == []
    assert [item.key for item in fleet.daemon_sets] == [("agents", "x")]
    assert [(role.title, role.namespace) for role in fleet.rbac.roles] == [
        ("ClusterRole/x", None),
        ("Role/x", "agents"),
    ]
    assert [(b.title, b.namespace) for b in fleet.rbac.bindings] == [
        ("ClusterRoleBinding/x", None),
        ("RoleBinding/x", "agents"),
    ]
    assert [item.namespace for item in fleet.service_accounts] == ["agents"]
    assert [item.namespace for item in fleet.config_maps] == ["agents"]
    assert [item.namespace for item in fleet.limit_ranges] == ["agents"]
    assert fleet.namespace_labels == {"tenant": {"kubernetes.io/metadata.name": "tenant"}}
    assert fleet.shared_accounts == {("agents", "typha"): ("Deployment a", "Job b")}
    assert [(source.document, raw["kind"]) for source, raw in fleet.budget_documents] == [(12, "WatchBudget")]
    assert not fleet.complete_rbac


@pytest.mark.parametrize("version", ["apps/v1", "apps/v1beta2", "extensions/v1beta1"])
def test_every_version_of_daemon_sets_counts(version: str):
    fleet, problems = fleet_of(daemon_set(version=version))
    assert (len(fleet.daemon_sets), problems) == (1, [])


def test_kinds_of_other_groups_are_not_ours():
    others = [
        obj("authorization.openshift.io/v1", "ClusterRole"),
        obj("iam.example.com/v1", "RoleBinding"),
        obj("example.com/v1", "WatchBudget"),
        obj("v1", "Secret"),
        obj("example.com/v1", "AllowList"),
    ]
    fleet, problems = fleet_of(*others)
    assert problems == []
    assert fleet == Fleet(daemon_sets=())


def test_a_daemon_set_of_another_group_is_named():
    fleet, problems = fleet_of(daemon_set(version="apps.kruise.io/v1alpha1"))
    assert fleet.daemon_sets == ()
    [problem] = problems
    assert problem.endswith("apiVersion: is of apps.kruise.io: only the DaemonSets of apps are judged")


def test_without_api_version_it_is_a_problem_and_judged_all_the_same():
    raw = daemon_set()
    del raw["apiVersion"]
    fleet, problems = fleet_of(raw)
    assert len(fleet.daemon_sets) == 1
    assert problems == ["a.yaml, document 1: object: apiVersion: is missing"]


@pytest.mark.parametrize(("kind", "message"), [(None, "is missing"), ([], "expected a string, found a list")])
def test_without_kind_it_is_a_problem(kind: object, message: str):
    fleet, problems = fleet_of(daemon_set() | {"kind": kind})
    assert fleet.daemon_sets == ()
    assert problems == [f"a.yaml, document 1: object: kind: {message}"]


def test_lists():
    whole = {"apiVersion": "v1", "kind": "List", "items": [daemon_set("a"), daemon_set("b")]}
    typed = {"apiVersion": "apps/v1", "kind": "DaemonSetList", "items": [{"metadata": {"name": "c"}}]}
    nested = {"apiVersion": "v1", "kind": "List", "items": [whole]}
    fleet, _ = fleet_of(nested, typed)
    assert [item.name for item in fleet.daemon_sets] == ["a", "b", "c"]


@pytest.mark.parametrize("items", [None, []])
def test_an_empty_list_is_no_problem(items: object):
    assert fleet_of({"apiVersion": "v1", "kind": "List", "items": items})[1] == []


def test_problems_of_list_items_have_the_whole_path():
    broken = daemon_set()
    broken["spec"]["template"]["spec"]["containers"] = "x"
    _, problems = fleet_of({"apiVersion": "v1", "kind": "List", "items": [daemon_set("a"), broken, 5]})
    assert [problem.partition(": expected")[0] for problem in problems] == [
        "a.yaml, document 1: DaemonSet default/x: items[1].spec.template.spec.containers",
        "a.yaml, document 1: List: items[2]",
    ]


def test_items_that_are_no_list():
    assert fleet_of({"apiVersion": "v1", "kind": "List", "items": "x"})[1] == [
        "a.yaml, document 1: List: items: expected a list, found a string ('x')"
    ]


def test_lists_do_not_nest_for_ever():
    raw: dict[str, Any] = daemon_set()
    for _ in range(90):
        raw = {"apiVersion": "v1", "kind": "List", "items": [raw]}
    fleet, problems = fleet_of(raw)
    assert fleet.daemon_sets == ()
    assert len(problems) == 1
    assert problems[0].endswith("lists inside 5 lists are not read")


def test_the_last_of_two_counts_and_both_places_are_named():
    fleet, problems = fleet_of(daemon_set(image="i:1"), daemon_set(image="i:2"))
    assert [item.containers[0].image for item in fleet.daemon_sets] == ["i:2"]
    [problem] = problems
    assert problem.startswith(
        "a.yaml, document 2: DaemonSet default/x: is also in a.yaml, document 1, and differs"
    )
    assert {problem.severity for problem in fleet.problems} == {"warning"}


def test_the_same_object_twice_is_no_problem():
    account = obj("v1", "ServiceAccount")
    fleet, problems = fleet_of(daemon_set(), account, daemon_set(), account)
    assert (len(fleet.daemon_sets), len(fleet.service_accounts), problems) == (1, 1, [])


def test_namespaces_and_kinds_tell_objects_apart():
    fleet, problems = fleet_of(
        obj(f"{RBAC}/v1", "ClusterRole"),
        obj(f"{RBAC}/v1", "Role", rules=[{"verbs": ["get"]}]),
        obj(f"{RBAC}/v1", "Role", namespace="other"),
        obj("apps/v1", "Deployment"),
        obj("apps/v1", "StatefulSet"),
        obj("v1", "Pod", namespace="other"),
    )
    assert problems == []
    assert len(fleet.rbac.roles) == 3
    assert sum(map(len, fleet.shared_accounts.values())) == 3


def test_budgets_without_name_do_not_replace_each_other():
    fleet, _ = fleet_of(
        {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget", "metadata": []},
        {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget"},
    )
    assert len(fleet.budget_documents) == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"apiVersion": "v1", "kind": "X"}, True),
        ({"kind": "X", "metadata": {}}, True),
        ({"apiVersion": "v2", "name": "a-chart"}, False),
        ({"kind": "cluster", "spec": {}}, False),
        ({"replicas": 1}, False),
        (["apiVersion", "kind"], False),
        ("text", False),
    ],
)
def test_what_means_to_be_an_object(value: object, expected: bool):
    assert is_object(value) is expected
