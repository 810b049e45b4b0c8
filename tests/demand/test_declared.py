"""The owner's annotation: read strictly, and reported where it cannot be."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demand_builders import container, daemon_set
from watchbudget.api.resources import DEFAULT_WATCHED, NAMESPACES, NETWORK_POLICIES
from watchbudget.demand.declared import ANNOTATION, Declaration, declarations_of
from watchbudget.inventory.fleet import DaemonSet


def _declaring(text: str) -> DaemonSet:
    return daemon_set(container(), annotations={ANNOTATION: text})


@pytest.mark.parametrize(
    ("said", "declaration"),
    [
        ("none", Declaration("none")),
        ("all", Declaration("all")),
        ("tier=tenant", Declaration("some", "tier=tenant")),
        (" tier = tenant , !legacy ", Declaration("some", "tier = tenant , !legacy")),
        (
            "example.org/tier in (a, b),x notin (c)",
            Declaration("some", "example.org/tier in (a, b),x notin (c)"),
        ),
        ("a!=b,c==d,e", Declaration("some", "a!=b,c==d,e")),
        ("tier=", Declaration("some", "tier=")),
    ],
)
def test_none_all_and_label_selectors_are_understood(said: str, declaration: Declaration):
    found, problems = declarations_of(_declaring(json.dumps({"namespaces": said})), DEFAULT_WATCHED)
    assert found == {NAMESPACES: declaration}
    assert problems == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("none", "not JSON"),
        ("[]", "JSON object"),
        ('"none"', "JSON object"),
        ('{"namespaces": "none", "namespaces": "all"}', "given twice"),
        ('{"namespaces": "a=b,"}', 'not "none"'),
        ('{"namespaces": "a b"}', 'not "none"'),
        ('{"namespaces": "metadata.name in a"}', 'not "none"'),
        ('{"namespaces": ""}', 'not "none"'),
        ('{"namespaces": true}', "true is not"),
        ('{"namespaces": {"a": 1}}', 'is not "none"'),
        ('{"networkpolicies": "none"}', "networkpolicies.networking.k8s.io"),
        ('{"": "none"}', "RESOURCE"),
        ('{"a.": "none"}', "RESOURCE"),
        ("[" * 4000, "not JSON"),
        (" " * 5000, "5000 characters"),
    ],
)
def test_nonsense_is_not_used_and_says_where_it_stands(text: str, message: str):
    found, problems = declarations_of(_declaring(text), DEFAULT_WATCHED)
    assert found == {}
    (problem,) = problems
    assert problem.severity == "warning"
    assert problem.object == "DaemonSet logging/agent"
    assert problem.field == f"metadata.annotations[{ANNOTATION}]"
    assert message in problem.message


def test_one_bad_line_does_not_take_the_good_one_with_it():
    text = json.dumps({"namespaces": 3, "networkpolicies.networking.k8s.io": "none"})
    found, problems = declarations_of(_declaring(text), DEFAULT_WATCHED)
    assert found == {NETWORK_POLICIES: Declaration("none")}
    assert len(problems) == 1


def test_without_the_annotation_there_is_nothing_to_say():
    assert declarations_of(daemon_set(container()), DEFAULT_WATCHED) == ({}, ())


@given(st.text(max_size=200) | st.from_regex(r'\{"namespaces": ".{0,60}"\}', fullmatch=True))
def test_no_text_raises(text: str):
    declarations_of(_declaring(text), DEFAULT_WATCHED)


@pytest.mark.parametrize(
    "said", ["a" * 4000, "a," * 2000, "a in (" + "," * 3900, " " * 4000 + "!", "a =" * 1300]
)
def test_a_hostile_selector_is_refused_in_moments(said: str):
    began = time.monotonic()
    declarations_of(_declaring(json.dumps({"namespaces": said})), DEFAULT_WATCHED)
    assert time.monotonic() - began < 1
