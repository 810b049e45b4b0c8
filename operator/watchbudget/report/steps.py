"""What an explanation is made of: steps with lines. Terminal and page draw the same ones."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Item", "Step"]


class Item(Struct, frozen=True):
    """One line of a step, safe to show.

    `text` is a sentence, `sum` arithmetic a reader may check, `source` where a claim comes
    from, `code` a command with its line breaks, `deny`/`warn`/`note` a finding's headline.
    """

    kind: Literal["text", "sum", "source", "code", "deny", "warn", "note"]
    text: str


class Step(Struct, frozen=True):
    """One link of the chain, with a title in the form of a question."""

    title: str
    items: tuple[Item, ...]
