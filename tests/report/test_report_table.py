"""The audit at a terminal: fits, keeps its numbers whole, and cannot be forged by a name."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from report.report_samples import (
    HOSTILE,
    audit,
    calico,
    clean,
    finding,
    hostile,
    judgement,
    sample,
    unsure,
    vector,
)
from watchbudget.api.quantity import format_bytes
from watchbudget.policy.model import Action, Audit
from watchbudget.report.figures import needed_bytes
from watchbudget.report.table import render_problems, render_table
from watchbudget.report.words import TIMES

WIDTHS = (60, 80, 120, 200)


def shown(
    whole: Audit, width: int = 120, *, show_all: bool = False, encoding: str = "utf-8", **console: object
) -> str:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, newline="\n")
    target = Console(file=stream, width=width, highlight=False, **console)  # type: ignore[arg-type]
    render_table(whole, target, show_all=show_all)
    stream.flush()
    return buffer.getvalue().decode(encoding)


def rows(text: str) -> list[str]:
    """The lines of the table itself: from its header to the empty line below."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("VERDICT"))
    return lines[start : lines.index("", start)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("whole", [sample(), *map(hostile, HOSTILE)], ids=lambda value: "audit")
def test_no_line_is_wider_than_the_terminal_or_ends_in_spaces(whole: Audit, width: int) -> None:
    for line in shown(whole, width, show_all=True).splitlines():
        assert cell_len(line) <= width, line
        assert line == line.rstrip()


@pytest.mark.parametrize("width", WIDTHS)
def test_numbers_are_never_cut(width: int) -> None:
    whole = sample()
    table = rows(shown(whole, width))
    bills = [each.bill for each in whole.judgements]
    sizes = {format_bytes(size) for bill in bills for size in (bill.cache_per_pod, bill.cache_total)}
    sizes |= {
        format_bytes(size) for bill in bills for size in (bill.cache_per_pod_up_to, bill.cache_total_up_to)
    }
    sizes |= {format_bytes(needed_bytes(each)) for each in whole.judgements}
    sizes |= {format_bytes(bill.peak_per_pod_up_to + bill.base_bytes) for bill in bills}
    sizes |= {format_bytes(each.memory.limit_bytes or 0) for each in whole.judgements}
    found = re.findall(r"[\d.,]+ ?[KMGT]?i?B?\b", "\n".join(table))
    assert {size for size in found if "B" in size} <= sizes
    for each in (vector(), calico()):
        assert any(format_bytes(each.bill.cache_total) in line for line in table)
    assert "…" not in "".join(table)


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
    st.integers(50, 220),
    st.text("abcdefghij-", min_size=1, max_size=253),
)
@settings(max_examples=40, deadline=None)
def test_whatever_the_figures_and_the_width_each_total_stands_whole(
    nodes: list[int], width: int, long_name: str
) -> None:
    judgements = [
        replace(
            vector(),
            bill=replace(vector().bill, nodes=count),
            daemon_set=replace(vector().daemon_set, name=long_name),
        )
        for count in nodes
    ]
    text = shown(audit(judgements), width)
    table = rows(text)
    assert all(cell_len(line) <= width for line in text.splitlines())
    for each in judgements:
        assert any(format_bytes(each.bill.cache_total) in line for line in table)


def test_wide_terminals_show_every_column_and_narrow_ones_the_essential() -> None:
    assert rows(shown(sample(), 120))[0].split("  ") != rows(shown(sample(), 60))[0].split("  ")
    for header in ("WATCHES", "EVIDENCE", "PER POD", "PEAK / LIMIT", "NODES", "TOTAL", "FINDINGS"):
        assert header in rows(shown(sample(), 120))[0]
    assert {"VERDICT", "DAEMONSET", "TOTAL"} <= set(rows(shown(sample(), 60))[0].split())


def test_a_row_tells_what_is_watched_how_we_know_and_what_it_costs() -> None:
    line = next(line for line in rows(shown(sample())) if "logging/vector" in line)
    cells = re.split(r"  +", line)
    assert cells == [
        "deny",
        "logging/vector",
        f"namespaces {TIMES}2",
        "catalogue",
        "127 MiB",
        "263 MiB / none",
        "100",
        "12 GiB",
        "2",
    ]


def test_what_is_uncertain_is_marked_and_explained() -> None:
    text = shown(sample())
    line = next(line for line in rows(text) if "tools/mystery" in line)
    assert "namespaces ?" in line
    assert f"≤ {format_bytes(unsure().bill.cache_total_up_to)}" in line
    assert "? it may watch, and we do not know whether it does." in text
    assert "? it may" not in shown(audit([vector()]))


def test_daemon_sets_that_cost_nothing_become_one_line_until_all_are_asked_for() -> None:
    text = shown(sample())
    assert "74 DaemonSets watch no namespaces or networkpolicies and cost nothing. --all shows them." in text
    assert "clean-5" not in text
    everything = shown(sample(), show_all=True)
    assert all(f"apps/clean-{number}" in everything for number in range(74))
    assert "cost nothing" not in everything


def test_findings_come_with_their_remedy_and_exempted_ones_with_their_reason() -> None:
    text = " ".join(shown(sample()).split())
    assert "Deny unselective-watch (default) It watches all 10,000 namespaces, twice per pod." in text
    assert "Fix: Set insert_namespace_fields: false; namespace labels are lost. Frees 11 GiB." in text
    assert "exempt duplicate-watch (team)" in text
    assert "Exempted: known, until spring" in text


def test_a_finding_of_two_budgets_is_told_once_with_the_stricter_action() -> None:
    twice = (finding(budget="a", action=Action.WARN), finding(budget="b", action=Action.DENY))
    text = shown(audit([replace(vector(), findings=twice)]))
    assert text.count("unselective-watch") == 1
    assert "Deny  unselective-watch (a and b)" in text


def test_many_findings_are_cut_off_with_a_word_on_how_to_see_them() -> None:
    many = audit(
        [replace(vector(), daemon_set=replace(vector().daemon_set, name=f"v{index}")) for index in range(25)]
    )
    assert "5 more DaemonSets have findings: --all tells them." in shown(many)
    assert "more DaemonSets have findings" not in shown(many, show_all=True)


def test_the_last_line_says_what_the_fleet_spends_and_what_the_remedies_free() -> None:
    totals = sample().totals
    last = " ".join(shown(sample()).split("\n\n")[-1].split())
    assert last.startswith(
        f"The fleet spends {format_bytes(totals.cache_total)} of memory on this on 100 nodes"
    )
    assert f"the remedies would free {format_bytes(totals.freed_by_remedies)}." in last
    assert f"asked for {format_bytes(totals.list_bytes_if_all_restart)} of lists." in last


def test_nothing_known_and_nothing_found_are_sentences() -> None:
    assert "Nothing here is known to watch what is priced." in shown(audit([clean()]))
    assert "but 4.8 GiB on 100 nodes if all that is uncertain does." in " ".join(
        shown(audit([unsure()])).split()
    )
    empty = shown(audit())
    assert "There is no DaemonSet here: nothing to price." in empty
    assert "VERDICT" not in empty


def test_the_census_is_on_top_and_says_what_is_assumed() -> None:
    top = " ".join(shown(audit([vector()], nodes_source="assumed"), 200).split("\n\n")[0].split())
    assert top.startswith(
        "10,000 namespaces (10 MiB stored, from the API server's metrics), 10,000 networkpolicies"
    )
    assert "size ASSUMED) and 100 nodes (ASSUMED)." in top


def problems_of(found: Audit) -> str:
    console = Console(file=io.StringIO(), width=120)
    render_problems(found, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_problems_are_told_apart_from_the_answer() -> None:
    assert "warning  a.yaml, document 2: ClusterRoleBinding x: no such ClusterRole" in problems_of(sample())
    assert "no such ClusterRole" not in shown(sample())
    assert problems_of(audit([vector()])) == ""


def test_an_answer_that_is_incomplete_says_so() -> None:
    broken = replace(sample(), problems=(replace(sample().fleet.problems[0], severity="error"),))
    assert "This audit is incomplete (1 error):" in problems_of(broken)
    assert "This audit is incomplete: 1 error on standard error." in shown(broken)
    assert "incomplete" not in shown(sample())


@pytest.mark.parametrize("text", [text for text in HOSTILE if text], ids=ascii)
def test_hostile_texts_can_neither_steer_the_terminal_nor_forge_a_line(text: str) -> None:
    out = shown(hostile(text), 200, show_all=True)
    assert not set(out) & {"\x1b", "\r", "\t", "\x07", "\u202e", "\ud800"}
    if len(text) < 60 and text.isprintable():
        assert text in out  # markup stays text


def test_a_newline_in_a_name_or_message_cannot_forge_a_row() -> None:
    out = shown(hostile("a\ndeny     kube-system/forged\r\nVERDICT"), 200, show_all=True)
    assert not any(line.startswith("deny") for line in out.splitlines())
    assert len([line for line in out.splitlines() if line.startswith("VERDICT")]) == 1


def test_right_to_left_letters_in_names_are_escaped() -> None:
    assert "\u05d0" not in "".join(rows(shown(audit([judgement("\u05d0", demands=vector().demands)]))))


def test_a_terminal_without_utf_8_gets_ascii_in_the_same_columns() -> None:
    narrow = shown(sample(), 120, encoding="ascii")
    assert narrow.isascii()
    assert "namespaces x2" in narrow
    assert "<= 4.8 GiB" in narrow
    assert "?" in shown(hostile("\u732b" * 3), 120, encoding="ascii")


def test_colours_appear_on_a_terminal_only_and_never_against_no_color(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = {"force_terminal": True, "color_system": "standard"}
    assert "\x1b[33m" in shown(sample(), **terminal)
    assert "\x1b" not in shown(sample())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown(sample(), **terminal))
