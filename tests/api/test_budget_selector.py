import pytest

from api.budget_samples import budget
from watchbudget.api.budget import LabelSelector, parse_budget


def selector(**parts: object) -> LabelSelector:
    return parse_budget(budget({"daemonSetSelector": parts})).spec.daemon_set_selector


@pytest.mark.parametrize(
    ("operator", "values", "labels", "matches"),
    [
        ("In", ["a", "b"], {"env": "b"}, True),
        ("In", ["a", "b"], {"env": "c"}, False),
        ("In", ["a", "b"], {}, False),
        ("NotIn", ["a", "b"], {"env": "b"}, False),
        ("NotIn", ["a", "b"], {"env": "c"}, True),
        ("NotIn", ["a", "b"], {}, True),  # an absent label satisfies NotIn, as in apimachinery
        ("Exists", [], {"env": ""}, True),
        ("Exists", [], {"other": "x"}, False),
        ("DoesNotExist", [], {"env": ""}, False),
        ("DoesNotExist", [], {"other": "x"}, True),
    ],
)
def test_operators(operator: str, values: list[str], labels: dict[str, str], matches: bool):
    expression = {"key": "env", "operator": operator, "values": values}
    assert selector(matchExpressions=[expression]).matches(labels) is matches


def test_every_condition_must_hold():
    both = selector(matchLabels={"app": "x"}, matchExpressions=[{"key": "env", "operator": "Exists"}])
    assert both.matches({"app": "x", "env": "y", "more": "z"})
    assert not both.matches({"app": "x"})
    assert not both.matches({"env": "y"})
    assert not both.matches({"app": "other", "env": "y"})


def test_an_empty_value_is_not_an_absent_one():
    assert selector(matchLabels={"app": ""}).matches({"app": ""})
    assert not selector(matchLabels={"app": ""}).matches({})
