"""Service accounts, ConfigMaps, LimitRanges and namespaces as values."""

from __future__ import annotations

import pytest

from watchbudget.inventory import parse
from watchbudget.inventory.fleet import ConfigMap, LimitRange, Problem, ServiceAccount, Source

HERE = Source("x.yaml", 1)
META = {"metadata": {"name": "x", "namespace": "n"}}


@pytest.mark.parametrize("automount", [True, False, None])
def test_service_accounts(automount: bool | None):
    raw = META | {"automountServiceAccountToken": automount}
    assert parse.service_account(raw, HERE, []) == ServiceAccount("n", "x", automount)


def test_config_maps_without_binary_data():
    raw = META | {"data": {"vector.yaml": "sources: {}"}, "binaryData": {"blob": "AAAA"}}
    assert parse.config_map(raw, HERE, []) == ConfigMap("n", "x", {"vector.yaml": "sources: {}"})


def test_a_value_of_a_config_map_that_is_no_string_is_named():
    problems: list[Problem] = []
    value = parse.config_map(META | {"data": {"good": "a", "port": 80, "list": [1]}}, HERE, problems)
    assert value == ConfigMap("n", "x", {"good": "a", "port": "80"})
    assert [p.field for p in problems] == ["data['port']", "data['list']"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([], None),
        ([{"type": "Container", "default": {"memory": "64Mi"}}], 64 * 2**20),
        ([{"type": "Container", "default": {"memory": "64Mi"}, "max": {"memory": "1Gi"}}], 64 * 2**20),
        ([{"type": "Container", "max": {"memory": "1Gi"}}], 2**30),
        ([{"type": "Container", "default": {"cpu": "1"}, "max": {"memory": "1Gi"}}], 2**30),
        ([{"type": "Pod", "max": {"memory": "1Gi"}}, {"type": "PersistentVolumeClaim"}], None),
        ([{"type": "Container", "defaultRequest": {"memory": "1Gi"}}], None),
        (
            [
                {"type": "Container", "max": {"memory": "1Gi"}},
                {"type": "Container", "max": {"memory": "2Gi"}},
            ],
            2**31,
        ),
    ],
)
def test_the_default_limit_of_a_limit_range(limits: object, expected: int | None):
    problems: list[Problem] = []
    value = parse.limit_range(META | {"spec": {"limits": limits}}, HERE, problems)
    assert (value, problems) == (LimitRange("n", "x", expected), [])


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ("x", "spec"),
        ({"limits": {}}, "spec.limits"),
        ({"limits": [5]}, "spec.limits[0]"),
        ({"limits": [{"type": "Container", "default": "64Mi"}]}, "spec.limits[0].default"),
        ({"limits": [{"type": "Container", "default": {"memory": "much"}}]}, "spec.limits[0].default.memory"),
    ],
)
def test_a_wrong_field_of_a_limit_range_is_named(spec: object, field: str):
    problems: list[Problem] = []
    assert parse.limit_range(META | {"spec": spec}, HERE, problems) == LimitRange("n", "x")
    assert [(p.object, p.field) for p in problems] == [("LimitRange n/x", field)]


def test_labels_of_a_namespace_with_the_one_every_namespace_has():
    raw = {"metadata": {"name": "tenant", "labels": {"team": "a", "kubernetes.io/metadata.name": "forged"}}}
    expected = {"team": "a", "kubernetes.io/metadata.name": "tenant"}
    assert parse.namespace_labels(raw, HERE, []) == ("tenant", expected)


@pytest.mark.parametrize("name", ["service_account", "config_map", "limit_range", "namespace_labels"])
def test_without_a_name_there_is_nothing(name: str):
    problems: list[Problem] = []
    assert getattr(parse, name)({"metadata": {}}, HERE, problems) is None
    assert [p.field for p in problems] == ["metadata.name"]
