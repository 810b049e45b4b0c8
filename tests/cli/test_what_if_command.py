"""`watchbudget what-if`: growth as a table and as JSON."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from conftest import ROOT
from watchbudget.cli.main import cli

AGENTS = str(ROOT / "operator" / "watchbudget" / "cli" / "demo_agents.yaml")


def what_if(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["what-if", "-f", AGENTS, *arguments], env={"COLUMNS": "160"})


def test_twice_the_nodes_cost_twice_the_total():
    points = json.loads(what_if("--grow", "1", "--grow-nodes", "1,2", "-o", "json").stdout)
    one, two = (point["cacheTotalBytes"] for point in points)
    assert two == 2 * one > 0


def test_the_breaking_point_is_told():
    result = what_if("--objects", "namespaces=1000", "--nodes", "100")
    assert result.exit_code == 0, result.output
    assert "logging/vector: its limit of 48 MiB breaks at about 1,500 namespaces" in result.stdout


@pytest.mark.parametrize("factors", ["", "x", "0", "-1", "1,,2", "nan", "1e9"])
def test_bad_factors_are_refused(factors: str):
    result = what_if("--grow", factors)
    assert result.exit_code == 2
    assert "--grow" in result.stderr
