"""From what rules say to findings: the ladder, overrides, kube-system, exemptions; and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from watchbudget.api.budget import Exemption, WatchBudget
from watchbudget.policy.context import Context
from watchbudget.policy.model import Action, Finding, Verdict
from watchbudget.policy.rules import RULES, Rule

__all__ = ["action_of", "findings_of", "findings_on", "steps_of", "verdict_of", "worst_first"]

_ORDER = {rule.id: position for position, rule in enumerate(RULES)}


def action_of(rule: Rule, budget: WatchBudget, namespace: str) -> Action:
    """How far a finding of this rule goes under this budget.

    The budget's action, at most the rule's own highest step; a budget that names the rule has the last
    word. In kube-system Deny needs the budget's leave (`denyInKubeSystem`), else it warns: the network
    that everything else needs may live there.
    """
    enforcement = budget.spec.enforcement
    own = next((setting.action for setting in enforcement.rules if setting.name == rule.id), None)
    action = Action.parse(own or enforcement.action)
    if own is None and rule.default_action < action:
        action = rule.default_action
    if action is Action.DENY and namespace == "kube-system" and not enforcement.deny_in_kube_system:
        return Action.WARN
    return action


def steps_of(
    budget: WatchBudget, namespace: str, rules: Sequence[Rule] = RULES
) -> tuple[tuple[Rule, Action], ...]:
    """The rules that are not off under this budget, and how far a finding of each goes there.

    The same for all namespaces but kube-system.
    """
    steps = ((rule, action_of(rule, budget, namespace)) for rule in rules)
    return tuple((rule, action) for rule, action in steps if action is not Action.OFF)


def findings_of(context: Context, today: date, rules: Sequence[Rule] = RULES) -> tuple[Finding, ...]:
    """What the rules say of one DaemonSet under one budget; nothing where it watches nothing."""
    return findings_on(context, today, steps_of(context.budget, context.daemon_set.namespace, rules))


def findings_on(context: Context, today: date, steps: Iterable[tuple[Rule, Action]]) -> tuple[Finding, ...]:
    """As `findings_of`, where `steps_of` the budget are known."""
    if not context.watched:
        return ()
    found = []
    key = context.daemon_set.key
    exemptions = [
        each
        for each in context.budget.spec.exemptions
        if (each.namespace, each.name) == key and each.active(today)
    ]
    for rule, action in steps:
        material = rule.check(context)
        if material is not None:
            found.append(
                Finding(
                    rule=rule.id,
                    budget=context.budget.name,
                    action=action,
                    message=material.message,
                    remedy=material.remedy,
                    exempted=_exemption(exemptions, key, rule),
                    freed_bytes=material.freed_bytes,
                    weight=material.weight,
                )
            )
    return tuple(found)


def _exemption(exemptions: Iterable[Exemption], key: tuple[str, str], rule: Rule) -> str | None:
    """The reason of the exemption that silences the rule here; it says until when."""
    for exemption in exemptions:
        if exemption.covers(*key, rule.id):
            return f"{exemption.reason} (until {exemption.until})" if exemption.until else exemption.reason
    return None


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The strictest unexempted finding of all budgets decides. Audit and Annotate let everything pass."""
    counting = {finding.action for finding in findings if finding.exempted is None}
    if Action.DENY in counting:
        return Verdict.DENY
    return Verdict.WARN if Action.WARN in counting else Verdict.ALLOW


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What counts before what is exempted, strict before mild, then in the order of the rules."""
    return tuple(
        sorted(
            findings,
            key=lambda finding: (
                finding.exempted is not None,
                -finding.action.value,
                _ORDER[finding.rule],
                finding.budget,
            ),
        )
    )
