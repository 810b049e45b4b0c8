"""What an explanation is made of: steps with lines. Terminal and page draw the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Item", "Step"]


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a step, safe to show.

    `text` is a sentence, `sum` arithmetic a reader may check, `source` where a claim comes
    from, `code` a command with its line breaks, `deny`/`warn`/`note` a finding's headline.
    """

    kind: Literal["text", "sum", "source", "code", "deny", "warn", "note"]
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One link of the chain, with a title in the form of a question."""

    title: str
    items: tuple[Item, ...]
