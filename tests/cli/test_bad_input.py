"""Whatever is thrown at `audit`: a clear error that names the place, exit code 2, and the rest audited."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from watchbudget.cli.main import cli

GOOD = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: good, namespace: logging}
spec:
  selector: {matchLabels: {app: good}}
  template:
    metadata: {labels: {app: good}}
    spec:
      containers: [{name: good, image: "example.com/good:1"}]
"""


def audit(*arguments: str, stdin: bytes | str | None = None) -> Result:
    return CliRunner().invoke(cli, ["audit", *arguments], input=stdin, env={"COLUMNS": "200"})


def folder_with(tmp_path: Path, name: str, content: bytes | str) -> Path:
    (tmp_path / "a-good.yaml").write_text(GOOD)
    bad = tmp_path / name
    bad.write_bytes(content.encode() if isinstance(content, str) else content)
    return tmp_path


def names(result: Result) -> list[str]:
    return [entry["name"] for entry in json.loads(result.stdout)["daemonSets"]]


EXPLODING = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(12)
)

BAD_FILES = {
    "truncated": (GOOD.replace("good", "bad")[:-40] + "\n---\nkind: [unclosed", ["bad.yaml", "document 2"]),
    "duplicate key": (GOOD.replace("good", "bad") + "kind: Deployment\n", ["bad.yaml", "document 1", "kind"]),
    "exploding anchors": (EXPLODING, ["bad.yaml", "document 1", "alias"]),
    "binary": (bytes(range(256)) * 64, ["bad.yaml"]),
    "not UTF-8": ("kind: Résumé".encode("latin-1"), ["bad.yaml"]),
    "a list for metadata": (
        GOOD.replace("{name: good, namespace: logging}", "[1, 2]"),
        ["bad.yaml", "metadata"],
    ),
    "no name": (GOOD.replace("name: good, ", ""), ["bad.yaml", "metadata.name"]),
    "helm template": (
        'kind: DaemonSet\nmetadata: {{ include "x" . }}\n  y: z\n',
        ["bad.yaml", "helm template"],
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_and_the_rest_is_audited(tmp_path: Path, case: str):
    content, words = BAD_FILES[case]
    result = audit("-f", str(folder_with(tmp_path, "bad.yaml", content)), "-o", "json")
    assert result.exit_code == 2, result.output
    assert "good" in names(result)
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("containers", "oops", "spec.template.spec.containers"),
        ("serviceAccountName", "[1]", "spec.template.spec.serviceAccountName"),
        ("nodeSelector", "oops", "spec.template.spec.nodeSelector"),
        ("volumes", "{a: b}", "spec.template.spec.volumes"),
        ("hostNetwork", "'maybe'", "spec.template.spec.hostNetwork"),
        ("priorityClassName", "{}", "spec.template.spec.priorityClassName"),
    ],
)
def test_a_wrong_type_names_file_document_object_and_field(tmp_path: Path, field: str, value: str, path: str):
    lines = [line for line in GOOD.splitlines() if not line.strip().startswith(f"{field}:")]
    bad = "\n".join([*lines, f"      {field}: {value}"]).replace("good", "bad")
    result = audit("-f", str(folder_with(tmp_path, "bad.yaml", bad)), "-o", "json")
    assert result.exit_code == 2, result.output
    assert "good" in names(result)
    said = " ".join(result.stderr.split())  # where it is wrapped depends on how long the file's path is
    for word in ("bad.yaml", "document 1", "DaemonSet logging/bad", path):
        assert word in said, result.stderr


def test_a_bad_container_field_is_named_with_its_index(tmp_path: Path):
    bad = GOOD.replace(
        'image: "example.com/good:1"', "image: 7, args: {a: b}, resources: {limits: {memory: lots}}"
    )
    result = audit("-f", str(folder_with(tmp_path, "bad.yaml", bad.replace("good", "bad"))), "-o", "json")
    assert result.exit_code == 2
    for field in ("image", "args", "resources.limits.memory"):
        assert f"spec.template.spec.containers[0].{field}" in result.stderr


def test_an_empty_file_is_no_error(tmp_path: Path):
    result = audit("-f", str(folder_with(tmp_path, "empty.yaml", "")), "-o", "json")
    assert result.exit_code == 0, result.output
    assert names(result) == ["good"]


def test_a_fifty_megabyte_file_does_not_stop_the_audit(tmp_path: Path):
    noise = (
        "---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: big}\ndata: {x: '" + "y" * 5_000_000 + "'}\n"
    )
    result = audit(
        "-f",
        str(folder_with(tmp_path, "big.yaml", noise * 10 + "---\n" + GOOD.replace("good", "last"))),
        "-o",
        "json",
    )
    assert "good" in names(result)
    # either it was read to its end, or the error says which file is too large
    assert "last" in names(result) or (result.exit_code == 2 and "big.yaml" in result.stderr)


def test_missing_file_and_missing_folder_are_named():
    result = audit("-f", "/does/not/exist.yaml", "-o", "json")
    assert result.exit_code == 2
    assert "/does/not/exist.yaml" in result.stderr


def test_standard_input_is_called_standard_input():
    result = audit("-f", "-", "-o", "json", stdin="kind: [")
    assert result.exit_code == 2
    assert "standard input" in result.stderr or "-, document 1" in result.stderr


def test_a_budget_file_without_budget_says_so(tmp_path: Path):
    path = tmp_path / "budget.yaml"
    path.write_text(GOOD)
    result = audit("-f", str(path), "--budget", str(path))
    assert result.exit_code == 2
    assert "no usable WatchBudget" in result.stderr


def test_a_budget_with_a_bad_field_names_it(tmp_path: Path):
    path = tmp_path / "budget.yaml"
    path.write_text(
        "apiVersion: watchbudget.io/v1alpha1\nkind: WatchBudget\nmetadata: {name: b}\n"
        "spec: {limits: {cachePerPod: 64Mb}, enforcement: {action: Shout}}\n"
    )
    result = audit("-f", str(path), "--budget", str(path))
    assert result.exit_code == 2
    assert "spec.limits.cachePerPod" in result.stderr
    assert "spec.enforcement.action" in result.stderr


@pytest.mark.parametrize(
    "value", ["namespaces", "namespaces=", "namespaces=-1", "namespaces=5:huge", "=5", "a.=5"]
)
def test_a_bad_objects_option_shows_how_to_write_it(value: str):
    result = audit("-f", "-", "--objects", value, stdin=GOOD)
    assert result.exit_code == 2
    assert "namespaces=20000" in result.stderr
