"""The samples: good to our parser, to the API server, and as timid or strict as they say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from manifests.installation import MANIFESTS
from watchbudget.api.budget import WatchBudget, parse_budget
from watchbudget.localcluster import LocalCluster

SAMPLES = sorted((MANIFESTS / "samples").glob("*.yaml"))
LADDER = ["Audit", "Annotate", "Warn", "Deny"]


def read(path: Path) -> WatchBudget:
    return parse_budget(yaml.safe_load(path.read_text()), strict=True)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_server_takes_it(installed: LocalCluster, path: Path):
    read(path)
    try:
        done = installed.kubectl("apply", "-f", str(path))
        assert done.stdout.endswith("created\n")
        assert not done.stderr
        assert "unchanged" in installed.kubectl("apply", "-f", str(path)).stdout
    finally:
        installed.kubectl("delete", "-f", str(path))


def test_they_go_from_timid_to_strict():
    budgets = {path.stem: read(path).spec for path in SAMPLES}
    first = [budget for name, budget in budgets.items() if name < "05"]
    assert [budget.enforcement.action for budget in first] == LADDER
    assert not any(budget.rollout for budget in first)
    assert budgets["05-staged"].rollout is not None
    strict = budgets["06-strict"]
    assert (strict.enforcement.action, strict.enforcement.minimum_evidence) == ("Deny", "granted")
    assert strict.enforcement.deny_in_kube_system
    assert strict.rollout is not None


def test_each_says_first_what_it_is_for():
    assert all(path.read_text().startswith("# ") for path in SAMPLES)
