"""The docs: links lead somewhere, and the table of metrics is what a replica shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from documents import ROOT, anchors, metric_types, prose

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")


def links(page: Path) -> Iterator[str]:
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page))):
        if not re.match(r"[a-z][a-z0-9+.-]*:", target):
            yield target


def broken(page: Path, target: str) -> str | None:
    path, _, anchor = target.partition("#")
    there = (page.parent / unquote(path)).resolve() if path else page
    if not there.exists():
        return f"{target}: there is no {there.relative_to(ROOT)}"
    if anchor and (there.suffix != ".md" or anchor not in anchors(there)):
        return f"{target}: {there.relative_to(ROOT)} has no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_there(page: Path):
    assert [problem for target in links(page) if (problem := broken(page, target))] == []


def test_broken_links_would_be_seen():
    page = ROOT / "docs" / "operations.md"
    assert len(list(links(page))) > 10
    assert broken(page, "rollouts.md#break-glass") is None
    assert "no such heading" in str(broken(page, "rollouts.md#no-such"))
    assert "there is no docs/nowhere.md" in str(broken(page, "nowhere.md"))
    assert "no such heading" in str(broken(page, "#no-such"))


def test_the_table_of_metrics_is_what_a_replica_shows():
    page = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(watchbudget_\w+)` \|[^|]*\| ([^|]+) \|", page, re.MULTILINE)
    table = dict(rows)
    assert len(table) == len(rows), "a metric stands there twice"
    kinds = metric_types()
    assert table.keys() == kinds.keys()
    assert {name for name, unit in rows if "histogram" in unit} == {
        name for name, kind in kinds.items() if kind == "histogram"
    }
    for name, unit in rows:
        if name.endswith("_bytes"):
            assert unit == "bytes", name
        if "_seconds" in name:
            assert "seconds" in unit, name
