"""A finding as an admission warning: one line that the API server keeps whole."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_samples import MIB, TODAY, budget, context, daemon_set, demand
from watchbudget.api.resources import NETWORK_POLICIES
from watchbudget.inventory.fleet import Container, UpdateStrategy
from watchbudget.policy.findings import findings_of
from watchbudget.policy.model import Action, Finding, Remedy
from watchbudget.policy.rules import RULES
from watchbudget.policy.warning import MAX_WARNING, warning_text


def warned(message: str, name: str = "b") -> str:
    return warning_text(Finding("over-pod-limit", name, Action.WARN, message, Remedy("r")))


def test_names_budget_and_rule():
    assert warned("caches take too much") == "WatchBudget b, over-pod-limit: caches take too much"


def test_a_long_one_is_cut_between_words():
    text = warned("word " * 100)
    assert len(text) <= MAX_WARNING
    assert text.endswith(" word…")


def test_a_long_word_is_cut_where_it_must_be():
    assert len(warned("x" * 1000)) == MAX_WARNING


@pytest.mark.parametrize("hostile", ["a\nWarning: all is well", "\x1b[31m", "\u202egnp", "\x00", "a\u2028b"])
def test_nothing_that_moves_a_cursor_or_starts_a_line_survives(hostile: str):
    assert not any(unicodedata.category(character)[0] == "C" for character in warned(hostile))
    assert "\n" not in warned(hostile)


@given(st.text(max_size=600), st.text(max_size=300))
def test_any_text_gives_one_short_line_that_the_server_accepts(message: str, name: str):
    text = warned(message, name)
    assert 0 < len(text) <= MAX_WARNING
    assert not any(unicodedata.category(character) == "Cc" for character in text)
    text.encode()


def test_every_rules_own_sentence_fits_with_long_names_and_large_numbers():
    limits = {"cachePerPod": "1Ki", "cachePerNode": "1Ki", "cacheTotal": "1Ki"}
    name = "b" * 20
    everything = [{"name": rule.id, "action": "Warn"} for rule in RULES]
    enforcement = {"action": "Warn", "rules": everything}
    container = "container-with-a-long-name"
    watched = [
        demand(resource, watchers_per_pod=12, agent=None)
        for resource in (demand().resource, NETWORK_POLICIES)
    ]
    seen = set()
    for memory in (MIB, None):
        item = daemon_set(
            containers=(Container(container, "x", memory_limit=memory),),
            update_strategy=UpdateStrategy("RollingUpdate", "100%", "0"),
        )
        of = budget(name, limits=limits, enforcement=enforcement, rollout={})
        seen_here = findings_of(
            context(*watched, item=item, of=of, nodes=5000, node_bytes=10**12, total_bytes=10**15),
            TODAY,
        )
        for finding in seen_here:
            seen.add(finding.rule)
            assert not warning_text(finding).endswith("…"), finding
    assert seen == {rule.id for rule in RULES}
