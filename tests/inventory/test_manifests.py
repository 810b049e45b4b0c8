"""The Fleet of files, folders and standard input: what is wrong is said, and the rest is there."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from watchbudget.inventory import manifests
from watchbudget.inventory.fleet import Fleet


def daemon_set(name: str, **metadata: object) -> str:
    raw = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, **metadata},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}},
    }
    return "---\n" + yaml.safe_dump(raw)


def load(*arguments: object, stdin: bytes | str = b"", **options: Any) -> tuple[Fleet, list[str]]:  # noqa: ANN401
    data = stdin.encode() if isinstance(stdin, str) else stdin
    fleet = manifests.load([str(argument) for argument in arguments], stdin=io.BytesIO(data), **options)
    return fleet, [f"{problem.severity}: {problem}" for problem in fleet.problems]


def names(fleet: Fleet) -> list[str]:
    return [item.name for item in fleet.daemon_sets]


def test_a_folder(tmp_path: Path):
    (tmp_path / "b.yaml").write_text(daemon_set("two") + daemon_set("three"))
    (tmp_path / "a.json").write_text(json.dumps(yaml.safe_load(daemon_set("one"))))
    fleet, problems = load(tmp_path)
    assert (names(fleet), problems) == (["one", "two", "three"], [])
    assert str(fleet.daemon_sets[2].source) == f"{tmp_path}/b.yaml, document 2"


def test_standard_input_and_a_default_namespace():
    fleet, problems = load(
        "-", stdin=daemon_set("x") + daemon_set("z", namespace="own"), default_namespace="agents"
    )
    assert problems == []
    assert [item.key for item in fleet.daemon_sets] == [("agents", "x"), ("own", "z")]
    assert str(fleet.daemon_sets[0].source) == "standard input, document 1"


def test_what_kubectl_prints():
    items = [yaml.safe_load(daemon_set(name)) for name in ("a", "b")]
    listed = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
    for text in (json.dumps(listed, indent=4), yaml.safe_dump(listed)):
        fleet, problems = load("-", stdin=text)
        assert (names(fleet), problems) == (["a", "b"], [])


def test_nodes_and_census_are_left_open():
    fleet, _ = load("-", stdin=daemon_set("x"))
    assert (fleet.nodes, fleet.nodes_source, fleet.census.resources, fleet.complete_rbac) == (
        0,
        "assumed",
        (),
        False,
    )


BAD = {
    "truncated.yaml": (b"kind: [unclosed", "document 1: line"),
    "duplicate.yaml": (
        daemon_set("dup").encode() + b"kind: Pod\n",
        "the key 'kind' stands here a second time",
    ),
    "binary.yaml": (bytes(range(256)), "is not UTF-8 text"),
    "nul.yaml": (b"a: \x00", "control characters are not allowed"),
    "anchors.yaml": (b"a: &a [*a]", "the alias *a"),
    "deep.yaml": (b"[" * 10_000, "nested deeper than 200 levels"),
    "template.yaml": (b"kind: {{ .Values.kind }}", "helm template"),
    "wrong.yaml": (
        daemon_set("w").replace("containers:", "containers: 5\n      x:").encode(),
        "containers: expected",
    ),
    "tabs.yaml": (b"a:\n\t- b", "a tab"),
}


def test_every_bad_file_of_a_folder_is_named_and_the_good_ones_are_read(tmp_path: Path):
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "empty.yaml").write_bytes(b"")
    (tmp_path / "zz.yaml").write_text(daemon_set("good"))
    fleet, problems = load(tmp_path)
    assert "good" in names(fleet)
    for name, (_, words) in BAD.items():
        told = [problem for problem in problems if f"/{name}, document 1" in problem]
        assert len(told) == 1, (name, told)
        assert words in told[0]
        assert told[0].startswith("error: ")
    assert len(problems) == len(BAD)


@pytest.mark.parametrize("stdin", ["", "# nothing\n", "---\n"])
def test_empty_standard_input_is_an_error(stdin: str):
    assert load("-", stdin=stdin)[1] == [
        "error: standard input: holds no Kubernetes object; did the command before it fail?"
    ]


def test_a_named_file_without_object_is_an_error(tmp_path: Path):
    path = tmp_path / "values.yaml"
    path.write_text("replicas: 3\n")
    assert load(path)[1] == [f"error: {path}: holds no Kubernetes object (with apiVersion and kind)"]


def test_a_folder_without_manifests_is_an_error(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    assert load(tmp_path)[1] == [f"error: {tmp_path}: there is no *.yaml, *.yml or *.json in this folder"]


def test_a_missing_file_is_one_error(tmp_path: Path):
    assert load(tmp_path / "gone.yaml")[1] == [
        f"error: {tmp_path}/gone.yaml: there is no such file or folder"
    ]


def test_other_yaml_of_a_folder_is_one_warning(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(daemon_set("x"))
    for number in range(30):
        (tmp_path / f"other{number:02}.yaml").write_text(f"number: {number}\n")
    fleet, problems = load(tmp_path)
    assert names(fleet) == ["x"]
    assert len(problems) == 1
    assert problems[0].startswith(f"warning: {tmp_path}: no Kubernetes objects (no apiVersion and kind) in ")
    assert problems[0].endswith("other09.yaml and 20 more")


def test_other_documents_of_a_file_are_one_warning(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n" + daemon_set("x") + "---\n- list\n---\ntext\n")
    fleet, problems = load(path)
    assert names(fleet) == ["x"]
    message = "no Kubernetes object (no apiVersion and kind) in document 1, 3, 4"
    assert problems == [f"warning: {path}: {message}"]


@pytest.mark.parametrize(
    "text",
    [
        "resources: [a.yaml]\n",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n",
    ],
)
def test_a_kustomization_says_how_to_build_it(tmp_path: Path, text: str):
    (tmp_path / "kustomization.yaml").write_text(text)
    (tmp_path / "a.yaml").write_text(daemon_set("x"))
    fleet, problems = load(tmp_path)
    assert names(fleet) == ["x"]
    assert len(problems) == 1
    assert problems[0].startswith("warning: ")
    assert f"kubectl kustomize {tmp_path} | watchbudget audit -f -" in problems[0]


def test_an_argument_given_twice_is_read_once(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text(daemon_set("x"))
    assert names(load(path, tmp_path, path, "-", "-", stdin=daemon_set("z"))[0]) == ["x", "z"]


def test_progress_is_told():
    told: list[tuple[str, int, int | None]] = []
    load("-", stdin=daemon_set("x") * 1100, progress=lambda *stage: told.append(stage))
    assert told == [("Reading manifests", 500, None), ("Reading manifests", 1000, None)]


def test_a_large_fleet_is_read_in_seconds():
    """1,000 DaemonSets and 20,000 RBAC objects, some 5 MB; the bound is ten times what it takes."""
    rules = [{"apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": ["get", "list", "watch"]}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subjects = [{"kind": "ServiceAccount", "name": "x", "namespace": "ns"}]
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "N", "namespace": "ns"}}
    role = "---\n" + yaml.safe_dump(head | {"kind": "Role", "rules": rules})
    binding = "---\n" + yaml.safe_dump(
        head | {"kind": "RoleBinding", "roleRef": reference, "subjects": subjects}
    )
    parts = [daemon_set(f"d{number}") for number in range(1000)]
    parts += [text.replace("N", f"n{number}") for number in range(10_000) for text in (role, binding)]
    started = time.monotonic()
    fleet, problems = load("-", stdin="".join(parts))
    assert time.monotonic() - started < 20
    assert problems == []
    counts = len(fleet.daemon_sets), len(fleet.rbac.roles), len(fleet.rbac.bindings)
    assert counts == (1000, 10_000, 10_000)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda junk: daemon_set("x").encode() + junk))
def test_arbitrary_bytes_are_audited_or_named(data: bytes):
    fleet, problems = load("-", stdin=data)
    assert fleet.daemon_sets or fleet.problems
    for problem in problems:
        problem.encode()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=4))
def test_a_damaged_manifest_keeps_its_neighbours(position: int, damage: bytes):
    victim = daemon_set("victim").encode()
    position = 4 + position % (len(victim) - 4)  # behind the marker, which tells it from the one before
    damaged = victim[:position] + damage + victim[position + len(damage) :]
    text = daemon_set("before").encode() + damaged + b"\n" + daemon_set("after").encode()
    assert {"before", "after"} <= set(names(load("-", stdin=text)[0]))
