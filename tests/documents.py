"""Pages of the documentation, and the metrics that they speak of, for tests."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry

from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.server import AdmissionServer

__all__ = ["ROOT", "anchors", "metric_types", "prose"]

ROOT = Path(__file__).resolve().parents[1]

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@cache
def prose(page: Path) -> str:
    """Without code blocks, where `#` begins no heading and brackets are no links."""
    return FENCED.sub("", page.read_text())


@cache
def anchors(page: Path) -> frozenset[str]:
    """As GitHub makes them of headings: lower case, without punctuation, hyphens for spaces."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.append(f"{anchor}-{found.count(anchor)}" if anchor in found else anchor)
    return frozenset(found)


def metric_types() -> dict[str, str]:
    """What a replica shows; a counter ends in `_total`, a histogram is named once."""
    registry = CollectorRegistry()
    OperatorMetrics(registry)
    AdmissionServer({}, registry=registry)
    found: dict[str, str] = {}
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name not in found
        found[name] = family.type
    return found
