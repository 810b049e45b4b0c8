"""Output that survives where it lands: terminals that show only ASCII, files, very wide windows."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from watchbudget.report.words import TIMES

__all__ = ["READABLE", "Encodable", "Glyphs", "glyphs"]

READABLE = 120
"""Longest line of prose, in cells, however wide the window: beyond it the eye loses the line."""

_SUBSTITUTES = str.maketrans(
    "\N{MULTIPLICATION SIGN}…\N{EN DASH}—·→\N{RIGHT SINGLE QUOTATION MARK}“”", 'x.--->\'""'
)


class Glyphs(Struct, frozen=True):
    """The signs that need another width in ASCII, chosen before anything is laid out."""

    at_most: str
    times: str


def glyphs(console: Console) -> Glyphs:
    """The signs this console can show."""
    if console.options.ascii_only:
        return Glyphs("<=", "x")
    return Glyphs("≤", TIMES)


class Encodable(Struct, frozen=True):
    """Wraps a renderable: no spaces at the end of its lines and, on a console that is not UTF, only ASCII.

    Every other character gives way to one of the same width, so that columns hold.
    """

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Rich's protocol: render the content, then trim and replace."""
        for line in console.render_lines(self.content, options, pad=False):
            for segment in _trimmed(line):
                yield Segment(_ascii(segment.text), segment.style) if options.ascii_only else segment
            yield Segment.line()


def _trimmed(line: list[Segment]) -> list[Segment]:
    """Without the spaces a table pads its last column with: they are noise in a file or a README."""
    while line and not line[-1].text.rstrip(" "):
        line = line[:-1]
    if not line:
        return line
    return [*line[:-1], Segment(line[-1].text.rstrip(" "), line[-1].style)]


def _ascii(text: str) -> str:
    replaced = text.translate(_SUBSTITUTES)
    return "".join(character if character.isascii() else "?" * cell_len(character) for character in replaced)
