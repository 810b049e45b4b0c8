"""DaemonSets and other workloads as values, and what is said of fields with something else in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from watchbudget.inventory import parse
from watchbudget.inventory.fleet import Container, DaemonSet, EnvVar, Problem, Source, UpdateStrategy, Volume

HERE = Source("agents.yaml", 3)

VECTOR: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {
        "name": "vector",
        "namespace": "logging",
        "labels": {"app": "vector"},
        "annotations": {"watchbudget.io/watches": "{}"},
    },
    "spec": {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "template": {
            "metadata": {"labels": {"pod": "vector"}},
            "spec": {
                "serviceAccountName": "vector",
                "automountServiceAccountToken": True,
                "hostNetwork": True,
                "priorityClassName": "system-node-critical",
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}},
                "resources": {"limits": {"memory": "1Gi"}},
                "containers": [
                    {
                        "name": "vector",
                        "image": "timberio/vector:0.50.0",
                        "command": ["/usr/bin/vector"],
                        "args": ["--config-dir", "/etc/vector"],
                        "env": [
                            {"name": "PLAIN", "value": "x"},
                            {"name": "EMPTY"},
                            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                            {
                                "name": "KEY",
                                "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a.b"}},
                            },
                            {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}},
                            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
                        ],
                        "envFrom": [
                            {"configMapRef": {"name": "all"}},
                            {"secretRef": {"name": "none-of-ours"}},
                        ],
                        "resources": {"limits": {"memory": "256Mi"}, "requests": {"memory": 1000}},
                        "volumeMounts": [{"name": "config", "mountPath": "/etc/vector"}],
                    }
                ],
                "initContainers": [
                    {"name": "setup", "image": "busybox"},
                    {"name": "proxy", "image": "envoy", "restartPolicy": "Always"},
                ],
                "volumes": [
                    {"name": "config", "configMap": {"name": "vector"}},
                    {"name": "logs", "hostPath": {"path": "/var/log"}},
                    {"name": "creds", "secret": {"secretName": "creds"}},
                    {
                        "name": "all",
                        "projected": {
                            "sources": [
                                {"configMap": {"name": "one"}},
                                {"secret": {"name": "two"}},
                                {"serviceAccountToken": {"path": "token"}},
                            ]
                        },
                    },
                ],
            },
        },
    },
}


def read(raw: object) -> tuple[DaemonSet | None, list[Problem]]:
    problems: list[Problem] = []
    return parse.daemon_set(raw, HERE, problems), problems


def with_field(path: str, value: object) -> dict[str, Any]:
    """VECTOR with another value at a path like `spec.template.spec.containers.0.env`."""
    raw = copy.deepcopy(VECTOR)
    *parents, last = path.split(".")
    target: Any = raw
    for step in parents:
        target = target[int(step)] if isinstance(target, list) else target.setdefault(step, {})
    if isinstance(target, list):
        target[int(last)] = value
    else:
        target[last] = value
    return raw


def test_a_whole_daemon_set():
    item, problems = read(VECTOR)
    assert problems == []
    assert item == DaemonSet(
        namespace="logging",
        name="vector",
        service_account="vector",
        automount=True,
        labels={"app": "vector"},
        annotations={"watchbudget.io/watches": "{}"},
        containers=(
            Container(
                "vector",
                "timberio/vector:0.50.0",
                command=("/usr/bin/vector",),
                args=("--config-dir", "/etc/vector"),
                env=(
                    EnvVar("PLAIN", "x"),
                    EnvVar("EMPTY", ""),
                    EnvVar("NODE", None, "field/spec.nodeName"),
                    EnvVar("KEY", None, "configMap/settings/a.b"),
                    EnvVar("PASS", None, "secret/s/p"),
                    EnvVar("MEM", None, "resource/limits.memory"),
                ),
                env_from=("all",),
                memory_limit=256 * 2**20,
                memory_request=1000,
                resource_parts=("limits", "requests"),
                mounts=(("config", "/etc/vector"),),
            ),
            Container("setup", "busybox", init=True),
            Container("proxy", "envoy", init=True, sidecar=True),
        ),
        volumes=(
            Volume("config", config_maps=("vector",)),
            Volume("logs", host_path="/var/log"),
            Volume("creds", secrets=("creds",)),
            Volume("all", config_maps=("one",), secrets=("two",), service_account_token=True),
        ),
        pod_memory_limit=2**30,
        node_selector=(("kubernetes.io/os", "linux"),),
        has_node_affinity=True,
        host_network=True,
        priority_class="system-node-critical",
        update_strategy=UpdateStrategy("RollingUpdate", "10%", "0"),
        source=HERE,
    )


POD = "spec.template.spec"
FIRST = f"{POD}.containers.0"

WRONG = [
    ("metadata.labels", "x", "expected a mapping, found a string ('x')"),
    ("metadata.annotations", [], "expected a mapping, found a list"),
    ("spec", 7, "expected a mapping, found a number (7)"),
    ("spec.template", True, "expected a mapping, found a boolean (true)"),
    (POD, "x", "expected a mapping, found a string ('x')"),
    (f"{POD}.serviceAccountName", ["x"], "expected a string, found a list"),
    (f"{POD}.automountServiceAccountToken", "no", "expected true or false, found a string ('no')"),
    (f"{POD}.hostNetwork", "true", "expected true or false, found a string ('true')"),
    (f"{POD}.priorityClassName", {}, "expected a string, found a mapping"),
    (f"{POD}.nodeSelector", [1], "expected a mapping, found a list"),
    (f"{POD}.affinity", "x", "expected a mapping, found a string ('x')"),
    (f"{POD}.affinity.nodeAffinity", [], "expected a mapping, found a list"),
    (f"{POD}.resources.limits.memory", "64Mb", "'64Mb' is not a quantity; write 64Mi"),
    (f"{POD}.containers", "x", "expected a list, found a string ('x')"),
    (f"{POD}.containers.0", "x", "expected a mapping, found a string ('x')"),
    (f"{POD}.containers.0", None, "expected a mapping, found null"),
    (f"{POD}.initContainers", {"name": "x"}, "expected a list, found a mapping"),
    (f"{POD}.volumes", 1.5, "expected a list, found a number (1.5)"),
    (f"{POD}.volumes.0.configMap", "x", "expected a mapping, found a string ('x')"),
    (f"{POD}.volumes.0.configMap.name", 5, "expected a string, found a number (5), so put it in quotes"),
    (f"{POD}.volumes.3.projected.sources", {}, "expected a list, found a mapping"),
    (f"{FIRST}.image", 7, "expected a string, found a number (7), so put it in quotes"),
    (f"{FIRST}.command", "run", "expected a list, found a string ('run')"),
    (f"{FIRST}.args", {"a": "b"}, "expected a list, found a mapping"),
    (f"{FIRST}.args.1", True, "expected a string, found a boolean (true), so put it in quotes"),
    (f"{FIRST}.env", "x", "expected a list, found a string ('x')"),
    (f"{FIRST}.env.0.value", 5, "expected a string, found a number (5), so put it in quotes"),
    (f"{FIRST}.env.2.valueFrom", "x", "expected a mapping, found a string ('x')"),
    (f"{FIRST}.env.3.valueFrom.configMapKeyRef.key", [], "expected a string, found a list"),
    (f"{FIRST}.envFrom", {}, "expected a list, found a mapping"),
    (f"{FIRST}.resources", "x", "expected a mapping, found a string ('x')"),
    (f"{FIRST}.resources.limits", [], "expected a mapping, found a list"),
    (f"{FIRST}.resources.limits.memory", True, "expected a quantity such as 64Mi, found a boolean (true)"),
    (f"{FIRST}.resources.limits.memory", [1], "expected a quantity such as 64Mi, found a list"),
    (f"{FIRST}.resources.requests.memory", "-5", "must not be negative, and is '-5'"),
    (f"{FIRST}.volumeMounts", "x", "expected a list, found a string ('x')"),
    (f"{FIRST}.volumeMounts.0.mountPath", {}, "expected a string, found a mapping"),
    ("spec.updateStrategy", "OnDelete", "expected a mapping, found a string ('OnDelete')"),
    (
        "spec.updateStrategy.type",
        "Recreate",
        "expected RollingUpdate or OnDelete, found a string ('Recreate')",
    ),
    ("spec.updateStrategy.rollingUpdate", 3, "expected a mapping, found a number (3)"),
    ("spec.updateStrategy.rollingUpdate.maxUnavailable", [], "expected a whole number, found a list"),
    (
        "spec.updateStrategy.rollingUpdate.maxUnavailable",
        1.5,
        "expected a whole number, found a number (1.5)",
    ),
    ("spec.updateStrategy.rollingUpdate.maxUnavailable", -1, "expected a whole number, found a number (-1)"),
    ("spec.updateStrategy.rollingUpdate.maxUnavailable", "110%", "must not be more than 100%, and is '110%'"),
    ("status", "x", "expected a mapping, found a string ('x')"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_a_wrong_field_is_one_problem_with_its_path(path: str, value: object, message: str):
    item, problems = read(with_field(path, value))
    assert item is not None
    assert item.key == ("logging", "vector")
    shown = "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in path.split("."))[1:]
    assert [str(p) for p in problems] == [
        f"agents.yaml, document 3: DaemonSet logging/vector: {shown}: {message}"
    ]


def test_the_rest_of_a_wrong_object_is_read():
    item, _ = read(with_field(f"{FIRST}.env", "x"))
    good, _ = read(VECTOR)
    assert item is not None
    assert good is not None
    assert item.containers[0].args == good.containers[0].args
    assert item.containers[0].memory_limit == good.containers[0].memory_limit
    assert item.volumes == good.volumes


@pytest.mark.parametrize("field", ["name", "image"])
def test_a_container_without_name_or_image_is_a_problem(field: str):
    raw = copy.deepcopy(VECTOR)
    del raw["spec"]["template"]["spec"]["containers"][0][field]
    item, problems = read(raw)
    assert item is not None
    assert [(p.field, p.message) for p in problems] == [(f"{POD}.containers[0].{field}", "is missing")]


def test_a_template_without_containers_is_a_problem():
    _, problems = read(with_field(f"{POD}.containers", []))
    assert [(p.field, p.message) for p in problems] == [(f"{POD}.containers", "is missing")]


def test_null_is_absent():
    for path in (
        "metadata.labels",
        f"{POD}.volumes",
        f"{FIRST}.env",
        "spec.updateStrategy",
        f"{POD}.hostNetwork",
    ):
        assert read(with_field(path, None))[1] == [], path


def test_a_thousand_problems_of_one_object_are_not_a_thousand_messages():
    _, problems = read(with_field(f"{FIRST}.env", list(range(1000))))
    assert len(problems) == 25
    assert problems[-1].message == "further problems are left out"


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({}, "metadata.name"),
        ({"name": ""}, "metadata.name"),
        ({"name": ["x"]}, "metadata.name"),
        ({"name": "a/b"}, "metadata.name"),
        ({"name": "x" * 300}, "metadata.name"),
        ({"name": "red\x1b[31m"}, "metadata.name"),
        ({"name": "x", "namespace": "a b"}, "metadata.namespace"),
        ([], "metadata"),
        ("x", "metadata"),
        (None, "metadata.name"),
    ],
)
def test_without_a_usable_name_there_is_no_daemon_set(metadata: object, field: str):
    item, problems = read(VECTOR | {"metadata": metadata})
    assert item is None
    assert [p.field for p in problems] == [field]
    assert str(problems[0]).isprintable()


@pytest.mark.parametrize("raw", [None, [], "x", 5])
def test_what_is_no_mapping_is_no_daemon_set(raw: object):
    item, problems = read(raw)
    assert item is None
    assert len(problems) == 1


def strategy(raw: object, version: str = "apps/v1") -> tuple[UpdateStrategy, list[str]]:
    item, problems = read(with_field("spec.updateStrategy", raw) | {"apiVersion": version})
    assert item is not None
    return item.update_strategy, [f"{p.field}: {p.message}" for p in problems]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, ("RollingUpdate", "1", "0")),
        ({"type": "RollingUpdate"}, ("RollingUpdate", "1", "0")),
        ({"rollingUpdate": {"maxUnavailable": 5}}, ("RollingUpdate", "5", "0")),
        ({"rollingUpdate": {"maxUnavailable": "25%"}}, ("RollingUpdate", "25%", "0")),
        ({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "50%"}}, ("RollingUpdate", "0", "50%")),
        ({"type": "OnDelete"}, ("OnDelete", None, None)),
        ({"type": "OnDelete", "rollingUpdate": {"maxUnavailable": 5}}, ("OnDelete", None, None)),
    ],
)
def test_update_strategies_get_the_api_servers_defaults(
    raw: object, expected: tuple[str, str | None, str | None]
):
    assert strategy(raw) == (UpdateStrategy(*expected), [])


def test_the_default_strategy_depends_on_the_api_version():
    assert strategy(None, "extensions/v1beta1")[0] == UpdateStrategy("OnDelete", None, None)
    assert strategy(None, "apps/v1beta2")[0] == UpdateStrategy("RollingUpdate", "1", "0")


def test_extensions_take_labels_from_the_template():
    raw = VECTOR | {"apiVersion": "extensions/v1beta1", "metadata": {"name": "vector"}}
    item, _ = read(raw)
    assert item is not None
    assert item.labels == {"pod": "vector"}


@pytest.mark.parametrize(
    ("rolling", "field", "words"),
    [
        ({"maxUnavailable": 0}, "maxUnavailable", "must not be 0 when maxSurge is 0"),
        ({"maxUnavailable": "0%", "maxSurge": 0}, "maxUnavailable", "must not be 0 when maxSurge is 0"),
        ({"maxSurge": 1}, "maxSurge", "needs maxUnavailable: 0, and that is 1, its default"),
        ({"maxUnavailable": 2, "maxSurge": 1}, "maxSurge", "needs maxUnavailable: 0, and that is 2:"),
        ({"maxUnavailable": "5"}, "maxUnavailable", "expected a whole number or a percentage such as 10%"),
    ],
)
def test_strategies_that_the_api_server_refuses(rolling: object, field: str, words: str):
    _, problems = strategy({"rollingUpdate": rolling})
    assert len(problems) == 1
    assert problems[0].startswith(f"spec.updateStrategy.rollingUpdate.{field}: {words}")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, "default"),
        ({"serviceAccount": "old"}, "old"),
        ({"serviceAccount": "old", "serviceAccountName": "new"}, "new"),
        ({"serviceAccountName": ""}, "default"),
    ],
)
def test_the_service_account(names: dict[str, str], expected: str):
    raw = copy.deepcopy(VECTOR)
    del raw["spec"]["template"]["spec"]["serviceAccountName"]
    raw["spec"]["template"]["spec"] |= names
    item, _ = read(raw)
    assert item is not None
    assert item.service_account == expected


def test_nodes_count_once_the_controller_has_counted():
    fresh = {"desiredNumberScheduled": 0, "currentNumberScheduled": 0}
    counted = {"desiredNumberScheduled": 12, "observedGeneration": 1}
    assert [getattr(read(VECTOR | {"status": status})[0], "nodes", -1) for status in (fresh, counted)] == [
        None,
        12,
    ]


def test_an_object_without_namespace_is_in_the_given_one():
    item = parse.daemon_set(VECTOR | {"metadata": {"name": "x"}}, HERE, [], namespace="agents")
    assert item is not None
    assert item.key == ("agents", "x")


def account_of(kind: str, spec: object, **metadata: object) -> object:
    raw = {"kind": kind, "metadata": {"name": "x", "namespace": "n", **metadata}, "spec": spec}
    problems: list[Problem] = []
    result = parse.workload_account(raw, HERE, problems)
    assert not problems
    return result


POD_SPEC = {"serviceAccountName": "typha"}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "Job"])
def test_accounts_of_workloads(kind: str):
    assert account_of(kind, {"template": {"spec": POD_SPEC}}) == (("n", "typha"), f"{kind} x")


def test_accounts_of_pods_and_cron_jobs():
    assert account_of("Pod", POD_SPEC) == (("n", "typha"), "Pod x")
    nested = {"jobTemplate": {"spec": {"template": {"spec": POD_SPEC}}}}
    assert account_of("CronJob", nested) == (("n", "typha"), "CronJob x")


def test_what_another_workload_owns_is_not_named():
    assert account_of("Pod", POD_SPEC, ownerReferences=[{"kind": "DaemonSet", "controller": True}]) is None
    assert account_of("Pod", POD_SPEC, ownerReferences=[{"kind": "Node"}]) == (("n", "typha"), "Pod x")


def test_a_wrong_field_of_a_workload_is_named():
    problems: list[Problem] = []
    raw = {"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": []}}
    assert parse.workload_account(raw, HERE, problems) == (("default", "default"), "Deployment x")
    assert [(p.object, p.field) for p in problems] == [("Deployment default/x", "spec.template")]
