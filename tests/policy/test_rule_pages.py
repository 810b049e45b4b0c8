"""Each rule is explained: on the command line and by a page whose example is what the rule really says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy_samples import budget
from rule_examples import example
from watchbudget.policy.model import Action
from watchbudget.policy.rules import RULES, Rule
from watchbudget.policy.warning import warning_text

PAGES = Path(__file__).resolve().parents[2] / "docs" / "rules"
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)


def blocks(page: str, language: str) -> list[str]:
    return [part.split("\n```", 1)[0] for part in page.split(f"```{language}\n")[1:]]


@every_rule
def test_the_page_shows_what_the_rule_says(rule: Rule):
    page = (PAGES / f"{rule.id}.md").read_text()
    finding = example(rule.id)
    assert page.startswith(f"# {rule.id}\n\n{rule.meaning}")
    assert f"```\n{warning_text(finding)}\nFix: {finding.remedy.text}\n```" in page
    patches = [json.loads(block) for block in blocks(page, "json")]
    assert patches == (
        [[dict(operation) for operation in finding.remedy.patch]] if finding.remedy.patch else []
    )
    assert "## Why" in page
    assert "## How to fix it" in page


@every_rule
def test_what_the_page_tells_to_write_is_a_valid_budget(rule: Rule):
    specs: list[dict[str, Any]] = [
        yaml.safe_load(block)["spec"] for block in blocks((PAGES / f"{rule.id}.md").read_text(), "yaml")
    ]
    changed, exempted = (budget(**spec) for spec in specs)
    (setting,) = changed.spec.enforcement.rules
    expected = "Warn" if rule.default_action is Action.OFF else "Off"
    assert (setting.name, setting.action) == (rule.id, expected)
    assert exempted.spec.exemptions[0].covers("logging", "agent", rule.id)


@every_rule
def test_the_command_lines_page_says_the_same(rule: Rule):
    page = rule.page()
    assert page.startswith(f"{rule.id}: {rule.meaning}\n")
    assert rule.why in page
    assert rule.fix in page
    (snippet,) = (line for line in page.splitlines() if line.strip().startswith("spec:"))
    (setting,) = budget(**yaml.safe_load(snippet)["spec"]).spec.enforcement.rules
    assert setting.name == rule.id


def test_the_list_of_rules_is_complete_and_in_order():
    rows = [line for line in (PAGES / "README.md").read_text().splitlines() if line.startswith("| [")]
    assert rows == [f"| [{r.id}]({r.id}.md) | {r.default_action} | {r.meaning} |" for r in RULES]
    assert {path.stem for path in PAGES.glob("*.md")} == {"README", *(rule.id for rule in RULES)}
