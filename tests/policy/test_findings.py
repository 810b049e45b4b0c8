"""From a check to a finding: the ladder, overrides, kube-system, exemptions and their end; the verdict."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policy_samples import TODAY, budget, context, daemon_set
from watchbudget.api.rules import RULE_NAMES
from watchbudget.policy.findings import action_of, findings_of, verdict_of, worst_first
from watchbudget.policy.model import Action, Finding, Remedy, Verdict
from watchbudget.policy.rules import RULES, Material, Rule

STEPS = ("Audit", "Annotate", "Warn", "Deny")
BY_ID = {rule.id: rule for rule in RULES}
HIGHEST = {
    "unselective-watch": Action.DENY,
    "memory-limit-missing": Action.DENY,
    "memory-limit-below-peak": Action.DENY,
    "over-pod-limit": Action.DENY,
    "over-node-limit": Action.DENY,
    "over-total-limit": Action.DENY,
    "duplicate-watch": Action.WARN,
    "rollout-too-wide": Action.WARN,
    "node-selector-missing": Action.OFF,
    "low-priority-agent": Action.WARN,
}


def always(rule_id: str) -> Rule:
    """The rule with a check that fires whatever it sees."""
    return replace(BY_ID[rule_id], check=lambda _: Material("it is so", Remedy("do something")))


def test_every_rule_has_its_highest_step_and_a_name_that_budgets_know():
    assert {rule.id: rule.default_action for rule in RULES} == HIGHEST
    assert set(RULE_NAMES) - set(HIGHEST) == {"unused-grant", "declaration-broken"}
    assert [name for name in RULE_NAMES if name in HIGHEST] == [rule.id for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
@pytest.mark.parametrize("action", STEPS)
def test_the_budgets_action_holds_up_to_the_rules_own_step(rule: Rule, action: str):
    expected = min(Action.parse(action), HIGHEST[rule.id], key=lambda step: step.value)
    assert action_of(rule, budget(enforcement={"action": action}), "logging") is expected


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
@pytest.mark.parametrize("action", STEPS)
@pytest.mark.parametrize("named", ["Off", *STEPS])
def test_a_budget_that_names_a_rule_has_the_last_word(rule: Rule, action: str, named: str):
    of = budget(enforcement={"action": action, "rules": [{"name": rule.id, "action": named}]})
    assert action_of(rule, of, "logging") is Action.parse(named)
    others = [other for other in RULES if other is not rule]
    plain = budget(enforcement={"action": action})
    assert all(action_of(other, of, "logging") is action_of(other, plain, "logging") for other in others)


@pytest.mark.parametrize(
    ("namespace", "allowed", "expected"),
    [
        ("kube-system", False, Action.WARN),
        ("kube-system", True, Action.DENY),
        ("kube-system-2", False, Action.DENY),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_kube_system_is_only_denied_with_leave(namespace: str, allowed: bool, expected: Action, named: bool):
    rules = [{"name": "over-pod-limit", "action": "Deny"}] if named else []
    of = budget(enforcement={"action": "Deny", "denyInKubeSystem": allowed, "rules": rules})
    assert action_of(BY_ID["over-pod-limit"], of, namespace) is expected


def test_kube_system_keeps_milder_actions():
    of = budget(enforcement={"action": "Annotate"})
    assert action_of(BY_ID["over-pod-limit"], of, "kube-system") is Action.ANNOTATE


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_that_is_off_is_not_asked_and_one_that_is_on_is(rule: Rule):
    on = budget(enforcement={"rules": [{"name": rule.id, "action": "Warn"}]})
    off = budget(enforcement={"rules": [{"name": rule.id, "action": "Off"}]})
    (finding,) = findings_of(context(of=on), TODAY, [always(rule.id)])
    assert (finding.rule, finding.budget, finding.action) == (rule.id, "test", Action.WARN)
    assert findings_of(context(of=off), TODAY, [always(rule.id)]) == ()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_without_a_watch_that_counts_no_rule_is_asked(rule: Rule):
    on = budget(enforcement={"rules": [{"name": rule.id, "action": "Deny"}]})
    nothing = replace(context(of=on), watched=())
    assert findings_of(nothing, TODAY, [always(rule.id)]) == ()


def exempting(rules: list[str], until: str | None = None, **who: str) -> dict[str, object]:
    entry = {"namespace": "logging", "name": "agent", "rules": rules, "reason": "we know"} | who
    return entry | ({"until": until} if until else {})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
@pytest.mark.parametrize("by", ["name", "star"])
def test_an_exempted_finding_stays_with_its_reason_and_counts_for_nothing(rule: Rule, by: str):
    exempted = exempting([rule.id] if by == "name" else ["*"])
    of = budget(
        enforcement={"action": "Deny", "rules": [{"name": rule.id, "action": "Deny"}]}, exemptions=[exempted]
    )
    (finding,) = findings_of(context(of=of), TODAY, [always(rule.id)])
    assert (finding.exempted, finding.action) == ("we know", Action.DENY)
    assert verdict_of([finding]) is Verdict.ALLOW


@pytest.mark.parametrize(
    "exemption",
    [
        exempting(["over-node-limit"]),
        exempting(["*"], name="other"),
        exempting(["*"], namespace="other"),
        exempting(["*"], until=str(TODAY - timedelta(days=1))),
    ],
    ids=["another rule", "another name", "another namespace", "over"],
)
def test_an_exemption_of_something_else_does_not_silence(exemption: dict[str, object]):
    of = budget(exemptions=[exemption])
    (finding,) = findings_of(context(of=of), TODAY, [always("over-pod-limit")])
    assert finding.exempted is None
    assert verdict_of([finding]) is Verdict.DENY


@pytest.mark.parametrize(("days", "silenced"), [(-1, True), (0, True), (1, False)])
def test_an_exemption_holds_through_its_last_day(days: int, silenced: bool):
    of = budget(exemptions=[exempting(["*"], until="2027-01-31")])
    today = date(2027, 1, 31) + timedelta(days=days)
    (finding,) = findings_of(context(of=of), today, [always("over-pod-limit")])
    assert (finding.exempted == "we know (until 2027-01-31)") is silenced
    assert (finding.exempted is None) is not silenced


def test_the_real_rules_are_asked_by_default():
    found = findings_of(context(item=daemon_set()), TODAY)
    assert [finding.rule for finding in found] == ["unselective-watch", "memory-limit-missing"]


def finding(action: Action, exempted: str | None = None, rule: str = "over-pod-limit") -> Finding:
    return Finding(rule, "b", action, "m", Remedy("r"), exempted=exempted)


findings = st.lists(
    st.builds(
        finding,
        st.sampled_from(list(Action)),
        st.sampled_from([None, "because"]),
        st.sampled_from(sorted(HIGHEST)),
    )
)


@given(findings)
def test_the_strictest_unexempted_finding_is_the_verdict(found: list[Finding]):
    counting = {each.action for each in found if each.exempted is None}
    expected = (
        Verdict.DENY
        if Action.DENY in counting
        else Verdict.WARN
        if Action.WARN in counting
        else Verdict.ALLOW
    )
    assert verdict_of(found) is expected


@given(findings)
def test_what_counts_most_comes_first_and_nothing_is_lost(found: list[Finding]):
    ordered = worst_first(found)
    assert sorted(map(repr, ordered)) == sorted(map(repr, found))
    ranks = [(each.exempted is not None, -each.action.value) for each in ordered]
    assert ranks == sorted(ranks)
