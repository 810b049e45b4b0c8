"""Names and sentences made safe to show, and numbers as people read them.

Object names, reasons and messages come from whoever wrote the manifests. On a terminal an
escape sequence in them could repaint what we say; a newline could forge a line of ours; a
right-to-left character could turn our numbers round. So every text that goes to a person
passes through here. JSON needs none of it: its own escapes do.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from watchbudget.api.resources import GroupResource
from watchbudget.policy.model import Audit, Judgement

__all__ = [
    "MAX_PROSE",
    "TIMES",
    "counted",
    "join_words",
    "name",
    "no_surrogates",
    "prose",
    "resource_labels",
    "sentence",
    "shorten",
    "title",
]

MAX_PROSE = 2000
"""Longest message shown in full, characters: three terminal screens of one finding help nobody."""

TIMES = "\N{MULTIPLICATION SIGN}"

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that draw nothing but change how the rest is drawn."""


def name(text: str) -> str:
    r"""An object's name with all but printable ASCII escaped, as `\x1b` or `\u202e`.

    Kubernetes names are ASCII, so nothing of a real one is lost; manifests may hold anything.
    """
    return "".join(character if " " <= character <= "~" else _escaped(character) for character in text)


def prose(text: str) -> str:
    """A sentence on one line: runs of white space become a space, control characters are escaped."""
    line = " ".join(text.split())
    shown = "".join(
        _escaped(character) if unicodedata.category(character) in _INVISIBLE else character
        for character in line
    )
    return shown if len(shown) <= MAX_PROSE else f"{shown[:MAX_PROSE]}… ({len(shown):,} characters)"


def sentence(text: str) -> str:
    """Prose as a sentence of its own: a capital at the beginning, a full stop at the end."""
    shown = prose(text)
    return (
        f"{shown[:1].upper()}{shown[1:]}{'' if shown.endswith(('.', '!', '?', '…')) else '.'}"
        if shown
        else ""
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def no_surrogates(text: str) -> str:
    """The text with lone surrogates replaced: JSON may hold them, UTF-8 may not."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shorten(text: str, width: int) -> str:
    """Cut out the middle: names of one family differ at the end, their families at the beginning."""
    if len(text) <= width:
        return text
    kept = max(width - 1, 1)
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 DaemonSet`, `10,000 namespaces`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def join_words(words: Iterable[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    listed = list(words)
    return f" {last} ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else "".join(listed)


def title(judgement: Judgement) -> str:
    """`namespace/name` of the DaemonSet, safe to show."""
    return name("/".join(judgement.daemon_set.key))


def resource_labels(audit: Audit) -> dict[GroupResource, str]:
    """The shortest unmistakable name of each resource in the audit: without its group where that does."""
    found = {entry.resource for entry in audit.fleet.census.resources}
    for judgement in audit.judgements:
        found.update(demand.resource for demand in judgement.demands)
        found.update(grant.resource for grant in judgement.grants)
        found.update(line.resource for line in judgement.bill.lines)
    plurals = [resource.resource for resource in found]
    return {
        resource: name(resource.resource if plurals.count(resource.resource) == 1 else str(resource))
        for resource in sorted(found)
    }
