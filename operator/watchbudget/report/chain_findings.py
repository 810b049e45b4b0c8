"""The last links of the chain: what the rules found, and what to change, down to the command."""

from __future__ import annotations

import json
import re
import shlex
from typing import Literal

from watchbudget.api.quantity import format_bytes
from watchbudget.policy.model import Action, Judgement, Remedy
from watchbudget.report.figures import merged
from watchbudget.report.steps import Item, Step
from watchbudget.report.words import join_words, name, prose

__all__ = ["findings_step", "patch_command"]

_TARGET = re.compile(r"(?P<kind>[A-Za-z]+)[ /](?:(?P<namespace>[^/]+)/)?(?P<name>[^/]+)")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]*")
"""Names a shell and kubectl take as they are: no option, no quote, no space."""


def findings_step(judgement: Judgement) -> Step:
    """Every finding with its remedy; a command where the remedy is a patch."""
    items: list[Item] = []
    for item in merged(judgement.findings):
        finding = item.finding
        budgets = join_words(name(budget) for budget in item.budgets)
        headline = f"{finding.action}: {name(finding.rule)} (budget {budgets}). {prose(finding.message)}"
        if finding.exempted is not None:
            items.append(Item("note", f"Exempt from {headline} Reason: {prose(finding.exempted)}"))
            continue
        items.append(Item(_kind(finding.action), headline))
        freed = f" Frees {format_bytes(finding.freed_bytes)} on all nodes." if finding.freed_bytes else ""
        items.append(Item("text", f"Fix: {prose(finding.remedy.text)}{freed}"))
        command = patch_command(finding.remedy)
        if command:
            items.append(Item("code", command))
    if not items:
        items.append(Item("text", "No rule found anything to say."))
    items.append(Item("text", f"Verdict: {judgement.verdict}."))
    return Step("What follows?", tuple(items))


def _kind(action: Action) -> Literal["deny", "warn", "note"]:
    return "deny" if action is Action.DENY else "warn" if action is Action.WARN else "note"


def patch_command(remedy: Remedy) -> str | None:
    """The kubectl command that applies the remedy's patch, or only the patch if its target's name is odd.

    Broken where shell and JSON allow it, so that a copy from a narrow terminal still works.
    """
    if not remedy.patch:
        return None
    patch = json.dumps([dict(operation) for operation in remedy.patch], indent=1)
    match = _TARGET.fullmatch(remedy.target or "")
    if not match or not all(_SAFE.fullmatch(part) for part in match.groups() if part is not None):
        return patch
    namespace = f"-n {match['namespace']} " if match["namespace"] else ""
    target = f"{match['kind'].lower()} {match['name']}"
    return f"kubectl {namespace}patch {target} \\\n  --type=json -p {shlex.quote(patch)}"
