"""Names and sentences made safe to show."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.report_samples import audit, demand, judgement
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.report.words import (
    MAX_PROSE,
    counted,
    join_words,
    name,
    no_surrogates,
    prose,
    resource_labels,
    sentence,
    shorten,
)

anything = st.text(st.characters())


@given(anything)
def test_a_name_is_printable_ascii(text: str) -> None:
    shown = name(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown == text or not (text.isascii() and text.isprintable())


@given(anything)
def test_prose_is_one_line_without_invisible_characters(text: str) -> None:
    assert not {unicodedata.category(character) for character in prose(text)} & {
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
        "Zl",
        "Zp",
    }


def test_prose_keeps_other_scripts_and_joins_lines() -> None:
    assert prose("bis\n  Frühling –\tשלום") == "bis Frühling – שלום"  # noqa: RUF001 - as people write
    assert prose("a\u202eb") == "a\\u202eb"


def test_prose_has_an_end() -> None:
    assert prose("x" * (MAX_PROSE + 5)).endswith("… (2,005 characters)")


@given(anything, st.integers(1, 60))
def test_shortening_keeps_to_the_width_and_both_ends(text: str, width: int) -> None:
    shown = shorten(text, width)
    assert len(shown) <= max(width, 2)
    assert shown == text or (shown[0] == text[0] and "…" in shown)


@given(anything)
def test_no_surrogates_leaves_text_that_utf_8_holds(text: str) -> None:
    no_surrogates(text + "\ud800").encode("utf-8")


@pytest.mark.parametrize(
    ("text", "told"), [("it does", "It does."), ("Why?", "Why?"), ("Done.", "Done."), ("", ""), (" \n", "")]
)
def test_a_sentence_begins_and_ends_as_one(text: str, told: str) -> None:
    assert sentence(text) == told


def test_counts_and_lists_read_as_people_say_them() -> None:
    assert counted(1, "node") == "1 node"
    assert counted(10_000, "node") == "10,000 nodes"
    assert [join_words(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_a_resource_keeps_its_group_where_two_share_a_name() -> None:
    crd = GroupResource("crd.projectcalico.org", "networkpolicies")
    labels = resource_labels(audit([judgement("a", demands=(demand(crd),))]))
    assert labels[NAMESPACES] == "namespaces"
    assert labels[NETWORK_POLICIES] == "networkpolicies.networking.k8s.io"
    assert labels[crd] == "networkpolicies.crd.projectcalico.org"
