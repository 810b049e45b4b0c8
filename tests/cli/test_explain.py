"""`watchbudget explain` finds one DaemonSet however it is named, and helps where it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conftest import ROOT
from watchbudget.cli.main import cli

AGENTS = str(ROOT / "operator" / "watchbudget" / "cli" / "demo_agents.yaml")


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments], env={"COLUMNS": "160"})


@pytest.mark.parametrize(
    "name", ["ds/vector", "daemonset/vector", "vector", "logging/vector", "ds/logging/vector"]
)
def test_the_whole_chain_however_it_is_named(name: str):
    result = explain(name, "-f", AGENTS)
    assert result.exit_code == 0, result.output
    chain = [
        "service account logging/vector",
        "ClusterRoleBinding/vector",
        "ClusterRole/vector",
        "2 copies",
        "Fix:",
    ]
    places = [result.stdout.index(part) for part in chain]
    assert places == sorted(places)


def test_json_is_the_entry_of_the_audit():
    told = json.loads(explain("vector", "-f", AGENTS, "-o", "json").stdout)
    audit = CliRunner().invoke(cli, ["audit", "-f", AGENTS, "-o", "json"])
    assert told in json.loads(audit.stdout)["daemonSets"]


def test_a_typing_error_gets_a_suggestion():
    result = explain("ds/vektor", "-f", AGENTS)
    assert result.exit_code == 2
    assert "did you mean logging/vector" in result.stderr


def test_an_ambiguous_name_asks_for_the_namespace(tmp_path: Path):
    text = Path(AGENTS).read_text()
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text.replace("namespace: logging", "namespace: other"))
    result = explain("ds/vector", "-f", str(tmp_path))
    assert result.exit_code == 2
    assert "logging/vector, other/vector" in result.stderr


def test_a_fleet_without_daemon_sets_says_so(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
    result = explain("ds/vector", "-f", str(tmp_path))
    assert result.exit_code == 2
    assert "there are none at all" in result.stderr
