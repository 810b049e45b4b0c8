"""The page: whole, safe whatever the names, and small enough to send."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from report.report_samples import (
    HOSTILE,
    MIB,
    audit,
    calico,
    clean,
    demand,
    hostile,
    judged_like,
    judgement,
    sample,
    unsure,
    vector,
)
from watchbudget.api.quantity import format_bytes
from watchbudget.cost.calibration import load_calibration
from watchbudget.policy.model import Audit
from watchbudget.report.charts import WIDTH, bar_chart, byte_ticks, nice_ticks
from watchbudget.report.growth_chart import growth_chart
from watchbudget.report.html import EXPLAINED, render_html
from watchbudget.report.what_if import grow
from watchbudget.report.words import resource_labels

VOID = {"meta"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails where tags do not pair up."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page(whole: Audit) -> str:
    return render_html(whole, judged_like(whole))


def test_it_says_what_the_fleet_spends_and_what_the_remedies_free() -> None:
    whole = sample()
    text = Page(page(whole)).text
    totals = whole.totals
    for figure in (
        totals.cache_total,
        totals.cache_per_node,
        totals.freed_by_remedies,
        totals.list_bytes_if_all_restart,
    ):
        assert format_bytes(figure) in text
    for part in (
        "10,000 namespaces (10 MiB stored, from the API server's metrics )",
        "1 deny, 1 warn, 75 allow",
        "74 DaemonSets watch no namespaces or networkpolicies and cost nothing.",
        "memory-limit-below-peak",
        "Exempted: Known, until spring.",
        "kubectl -n logging patch daemonset vector",
        "warning a.yaml, document 2: ClusterRoleBinding x: no such ClusterRole",
        "kube-rs 0.92 and later",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    "whole", [sample(), audit(), audit([clean()]), audit([unsure()])], ids=lambda value: "audit"
)
def test_it_needs_nothing_from_elsewhere(whole: Audit) -> None:
    text = page(whole)
    parsed = Page(text)
    assert not {tag for tag, _ in parsed.tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    for _, attributes in parsed.tags:
        assert not {key for key in attributes if key.startswith("on")} | (
            {"src", "href", "srcset", "action"} & set(attributes)
        )
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= {f"#h{index}" for index in range(6)}
    assert "@import" not in text
    assert any(
        attributes.get("http-equiv") == "Content-Security-Policy"
        and "default-src 'none'" in (attributes["content"] or "")
        for _, attributes in parsed.tags
    )


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_texts_stay_text(text: str) -> None:
    out = page(hostile(text))
    harmless = Page(page(hostile("x")))
    parsed = Page(out)
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in harmless.tags]
    assert not set(out) & {"\x1b", "\x07", "\u202e", "\ud800"}
    out.encode("utf-8")
    if text.startswith("<script>"):
        assert text in parsed.text


ROWS = {row.id for row in load_calibration().rows}
"""A line that names one of these is explained in the page: that may change it."""


@given(st.text(st.characters(), max_size=30).filter(lambda text: text not in ROWS))
@settings(max_examples=40, deadline=None)
def test_no_text_changes_the_structure_of_the_page(text: str) -> None:
    assert [tag for tag, _ in Page(page(hostile(text))).tags] == [
        tag for tag, _ in Page(page(hostile("x"))).tags
    ]


def test_attributes_cannot_be_broken_out_of() -> None:
    parsed = Page(page(hostile('" onload="alert(1)" x="')))
    assert not any("onload" in attributes for _, attributes in parsed.tags)


def test_the_same_audit_gives_the_same_page() -> None:
    assert page(sample()) == page(sample())


def test_without_a_judge_there_is_no_growth_chart() -> None:
    assert "As the cluster grows" in page(sample())
    assert "As the cluster grows" not in render_html(sample())


def test_an_empty_fleet_is_a_sentence() -> None:
    text = Page(page(audit())).text
    assert "There is no DaemonSet here: nothing to price." in text
    assert "Worst first" not in text


def test_errors_stand_before_everything_else() -> None:
    error = replace(sample().fleet.problems[0], severity="error", message="truncated")
    text = page(replace(sample(), problems=(error,)))
    assert text.index("This audit is incomplete") < text.index("Where the memory goes")
    quiet = page(sample())
    assert quiet.index("To know about these figures") > quiet.index("Where the memory goes")


@pytest.mark.parametrize("kind", ["all watch", "all clean"])
def test_two_thousand_daemon_sets_stay_below_three_megabytes(kind: str) -> None:
    base = vector() if kind == "all watch" else clean()
    many = audit(
        replace(base, daemon_set=replace(base.daemon_set, name=f"{'a' * 40}-{index}"))
        for index in range(2000)
    )
    text = page(many)
    assert len(text.encode()) < 3_000_000
    assert text.count(f"{'a' * 40}-1999") >= 1
    assert text.count("The whole chain") == (EXPLAINED if kind == "all watch" else 0)


@given(st.floats(0.5, 1e18))
def test_ticks_are_few_round_and_reach_the_maximum(maximum: float) -> None:
    ticks = nice_ticks(maximum)
    assert ticks[0] == 0
    assert 3 <= len(ticks) <= 9
    assert ticks[-1] >= maximum * (1 - 1e-9)
    assert ticks[-2] < maximum * (1 + 1e-9)
    assert ticks == tuple(sorted(set(ticks)))


@pytest.mark.parametrize(
    ("maximum", "first", "last"),
    [
        (0, "0 B", "1 B"),
        (700, "0 B", "700 B"),
        (5 << 30, "0 GiB", "5 GiB"),
        (int(1.04 * (1 << 40)), "0 TiB", "1.2 TiB"),
    ],
)
def test_an_axis_of_bytes_keeps_to_one_unit(maximum: int, first: str, last: str) -> None:
    ticks = byte_ticks(maximum)
    assert (ticks[0][1], ticks[-1][1]) == (first, last)
    assert ticks[-1][0] >= maximum


def test_bars_are_as_long_as_their_figures_and_stay_inside() -> None:
    whole = sample()
    chart = bar_chart(whole, resource_labels(whole))
    assert chart is not None
    ordered = [vector(), calico(), unsure()]
    assert [bar.full for bar in chart.bars] == ["logging/vector", "kube-system/calico-node", "tools/mystery"]
    scale = sum(segment.width for segment in chart.bars[0].segments) / vector().bill.cache_total
    for bar, judged in zip(chart.bars, ordered, strict=True):
        assert sum(segment.width for segment in bar.segments) == pytest.approx(
            judged.bill.cache_total_up_to * scale
        )
        assert bar.end <= WIDTH - 140
        assert bar.y + 25 <= chart.height - 24
    assert [segment.certain for segment in chart.bars[2].segments] == [False]
    assert bar_chart(audit([clean()]), {}) is None


def test_broken_limits_are_marked_at_their_place_on_the_growth_chart() -> None:
    limits = [128 * MIB * factor for factor in range(1, 9)]
    judged = [judgement(f"agent-{limit // MIB}", demands=(demand(),), limit=limit) for limit in limits]
    whole = audit([calico(), *judged])
    chart = growth_chart(grow(whole, judged_like(whole)), resource_labels(whole))
    assert chart is not None
    assert chart.marks[0].label == "kube-system/calico-node: limit 64 MiB breaks already"
    assert chart.marks[0].x == pytest.approx(chart.today)
    places = [mark.x for mark in chart.marks]
    assert places == sorted(places)
    assert len({mark.label_y for mark in chart.marks}) == len(chart.marks) == 6
    assert chart.unmarked > 0
    for mark in chart.marks[1:]:
        objects = int(mark.label.rpartition(" ")[2].replace(",", ""))
        assert mark.x == pytest.approx(84 + (WIDTH - 124) * objects / 100_000, rel=0.05)
    assert chart.bottom >= max(dot.y for dot in chart.dots) >= min(dot.y for dot in chart.dots) >= chart.top
