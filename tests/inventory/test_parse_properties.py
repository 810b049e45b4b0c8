"""Whatever stands in whichever field: no exception, and never nothing without a word."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchbudget.inventory import parse
from watchbudget.inventory.fleet import Problem, Source

HERE = Source("x.yaml", 1)

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)

CONTAINER = {
    "name": "c",
    "image": "i",
    "command": ["x"],
    "args": ["y"],
    "env": [
        {"name": "A", "value": "b"},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "n", "key": "k"}}},
    ],
    "envFrom": [{"configMapRef": {"name": "m"}}],
    "resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Mi"}},
    "volumeMounts": [{"name": "v", "mountPath": "/p"}],
}
POD = {
    "serviceAccountName": "s",
    "automountServiceAccountToken": True,
    "hostNetwork": False,
    "priorityClassName": "p",
    "nodeSelector": {"a": "b"},
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}},
    "resources": {"limits": {"memory": "1Gi"}},
    "containers": [CONTAINER],
    "initContainers": [CONTAINER | {"restartPolicy": "Always"}],
    "volumes": [
        {"name": "v", "configMap": {"name": "m"}, "hostPath": {"path": "/"}, "secret": {"secretName": "s"}},
        {"name": "w", "projected": {"sources": [{"configMap": {"name": "m"}, "secret": {"name": "s"}}]}},
    ],
}
METADATA = {"name": "x", "namespace": "n", "labels": {"a": "b"}, "annotations": {"c": "d"}}
EXAMPLES: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
    "DaemonSet": (
        parse.daemon_set,
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": METADATA,
            "spec": {
                "updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
                },
                "template": {"spec": POD},
            },
            "status": {"desiredNumberScheduled": 3, "observedGeneration": 1},
        },
    ),
    "ClusterRole": (
        parse.role,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": METADATA,
            "rules": [{"apiGroups": [""], "resources": ["r"], "verbs": ["v"], "resourceNames": ["n"]}],
            "aggregationRule": {
                "clusterRoleSelectors": [
                    {
                        "matchLabels": {"a": "b"},
                        "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}],
                    }
                ]
            },
        },
    ),
    "RoleBinding": (
        parse.binding,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": METADATA,
            "roleRef": {"kind": "ClusterRole", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}],
        },
    ),
    "ServiceAccount": (
        parse.service_account,
        {"kind": "ServiceAccount", "metadata": METADATA, "automountServiceAccountToken": False},
    ),
    "ConfigMap": (parse.config_map, {"kind": "ConfigMap", "metadata": METADATA, "data": {"k": "v"}}),
    "LimitRange": (
        parse.limit_range,
        {
            "kind": "LimitRange",
            "metadata": METADATA,
            "spec": {"limits": [{"type": "Container", "default": {"memory": "1"}, "max": {"memory": "2"}}]},
        },
    ),
    "Deployment": (
        parse.workload_account,
        {
            "kind": "Deployment",
            "metadata": METADATA | {"ownerReferences": []},
            "spec": {"template": {"spec": POD}},
        },
    ),
}


def places(node: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every field and list item."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def replaced(raw: object, path: tuple[str | int, ...], value: object) -> object:
    result = copy.deepcopy(raw)
    target = result
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return result


PATHS = {kind: sorted(places(raw), key=str) for kind, (_, raw) in EXAMPLES.items()}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_examples_are_good(kind: str):
    parser, raw = EXAMPLES[kind]
    problems: list[Problem] = []
    assert parser(raw, HERE, problems) is not None
    assert problems == []


@pytest.mark.parametrize("kind", EXAMPLES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_junk_in_any_field_never_raises_and_never_vanishes(kind: str, data: st.DataObject):
    parser, raw = EXAMPLES[kind]
    path = data.draw(st.sampled_from(PATHS[kind]))
    problems: list[Problem] = []
    value = parser(replaced(raw, path, data.draw(JUNK)), HERE, problems)
    ours = "kind" in path  # without its kind it is not this parser's object
    assert value is not None or problems or ours
    for problem in problems:
        assert problem.source == HERE
        assert problem.message
        str(problem).encode()


WRONG_TYPES: list[Any] = ["text", 5, 2.5, True, [], [[]], {}, {"a": 1}]
"""One of every type that a field may wrongly have."""

UNREAD: dict[str, set[str]] = {
    "DaemonSet": {
        "kind",
        "apiVersion",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "observedGeneration",
    },
    "ClusterRole": {"kind", "apiVersion", "namespace", "annotations"},
    "RoleBinding": {"kind", "apiVersion", "apiGroup", "labels", "annotations"},
    "ServiceAccount": {"kind", "labels", "annotations"},
    "ConfigMap": {"kind", "labels", "annotations"},
    "LimitRange": {"kind", "labels", "annotations"},
    "Deployment": {"kind", "labels", "annotations", "containers", "initContainers", "volumes"}
    | POD.keys() - {"serviceAccountName"},
}
"""Fields of no meaning here, of which at most the presence counts."""


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_field_that_is_read_reports_every_wrong_type(kind: str):
    parser, raw = EXAMPLES[kind]
    silent = []
    for path in PATHS[kind]:
        is_read = path[0] in ("roleRef", "subjects") and path[-1] == "kind"
        if UNREAD[kind] & set(path) and not is_read:
            continue
        good = raw
        for key in path:
            good = good[key]  # type: ignore[index]
        for wrong in WRONG_TYPES:
            is_size = path[-1] == "memory" and isinstance(wrong, (int, float)) and wrong is not True
            problems: list[Problem] = []
            parser(replaced(raw, path, wrong), HERE, problems)
            if not problems and type(wrong) is not type(good) and not is_size:
                silent.append((path, wrong))
    assert not silent


@pytest.mark.parametrize("kind", EXAMPLES)
@settings(max_examples=100, deadline=None)
@given(raw=JUNK)
def test_junk_for_a_whole_object_is_reported(kind: str, raw: object):
    problems: list[Problem] = []
    junk = raw | {"kind": kind} if isinstance(raw, dict) else raw
    value = EXAMPLES[kind][0](junk, HERE, problems)
    assert value is not None or problems or kind == "Deployment"
    json.dumps([str(problem) for problem in problems]).encode()
