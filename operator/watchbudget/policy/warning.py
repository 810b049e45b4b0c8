"""A finding as an admission warning."""

from __future__ import annotations

import unicodedata

from watchbudget.policy.model import Finding

__all__ = ["MAX_WARNING", "warning_text"]

MAX_WARNING = 256
"""Characters that a warning surely keeps: above, the API server may cut it (`truncateItemRunes`,
k8s.io/apiserver pkg/endpoints/filters/warning.go)."""


def warning_text(finding: Finding) -> str:
    """The finding as one line of at most 256 characters, cut between words.

    Control characters go: the API server drops a warning that holds one (NewWarningHeader,
    k8s.io/apimachinery pkg/util/net/http.go), and a newline could forge a line of ours.
    """
    text = _one_line(f"WatchBudget {finding.budget}, {finding.rule}: {finding.message}")
    if len(text) <= MAX_WARNING:
        return text
    kept = text[: MAX_WARNING - 1]
    head, space, _ = kept.rpartition(" ")
    return f"{head if space and len(head) > MAX_WARNING // 2 else kept}…"


def _one_line(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)
    return " ".join(text.split()) if "  " in text else text.strip()
