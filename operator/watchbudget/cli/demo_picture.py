"""Both rollouts of `watchbudget demo` in one picture: for the terminal, and as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from msgspec import Struct
from rich.text import Text

from watchbudget.localcluster.play.curves import outline
from watchbudget.report.charts import nice_ticks

__all__ = ["Curve", "as_svg", "as_text"]

ROWS, COLUMNS, MARGIN = 10, 64, 6
"""Of the text picture, in characters; with its margin it fits in 80 columns."""

BLOCKS = " ▁▂▃▄▅▆▇█"
BEHIND = "░"

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 220, 48, 60, 40
SVG_COLUMNS = 286
STYLES = ("red", "green")
COLOURS = ("#c2410c", "#0f766e")

_HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {TOP + HEIGHT + BOTTOM}"
  width="{WIDTH}" font-family="sans-serif" font-size="11" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>"""


class Curve(Struct, frozen=True):
    """One rollout.

    Attributes:
        name: of it.
        seconds: that it took.
        values: lists in flight: seconds since it began, and how many from then on.
        peak: the most at one time.
        refused: lists that were answered with 429.
        slowest: seconds that another client's small request took, at worst.
    """

    name: str
    seconds: float
    values: tuple[tuple[float, int], ...]
    peak: int
    refused: int
    slowest: float

    def sentence(self) -> str:
        """Its figures in words."""
        return (
            f"{self.name}: {self.seconds:.1f} s, at most {self.peak} lists at once, {self.refused} refused; "
            f"a small request of another client took up to {self.slowest * 1000:,.0f} ms"
        )

    def heights(self, ends: Sequence[float]) -> list[int]:
        """The most lists in flight in each of the spans that end at these seconds."""
        return outline(self.values, ends, 0)


def as_text(behind: Curve, front: Curve) -> Text:
    """Draw two curves over each other with the same axes, in characters.

    Args:
        behind: the higher one.
        front: the lower one.
    """
    seconds, most = _ends(behind, front)
    spans = [seconds[-1] * (column + 1) / COLUMNS for column in range(COLUMNS)]
    back, fore = behind.heights(spans), front.heights(spans)
    lines = [Text("lists in flight")]
    for row in reversed(range(ROWS)):
        line = Text(_label(row, most[-1]).rjust(MARGIN) + "│")
        for column in range(COLUMNS):
            filled = _eighths(fore[column], row, most[-1])
            if filled:
                line.append(BLOCKS[filled], STYLES[1])
            elif _eighths(back[column], row, most[-1]):
                line.append(BEHIND, STYLES[0])
            else:
                line.append(" ")
        lines.append(line)
    lines.append(Text(" " * MARGIN + "└" + "─" * COLUMNS))
    lines.append(Text(_axis(seconds)))
    lines.append(Text.assemble((f" {BEHIND} ", STYLES[0]), behind.sentence()))
    lines.append(Text.assemble((f" {BLOCKS[-1]} ", STYLES[1]), front.sentence()))
    return Text("\n").join(lines)


def as_svg(behind: Curve, front: Curve) -> str:
    """Draw the same as an SVG document."""
    seconds, most = _ends(behind, front)

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * at / seconds[-1]

    def y(value: float) -> float:
        return TOP + HEIGHT * (1 - value / most[-1])

    spans = [seconds[-1] * (column + 1) / SVG_COLUMNS for column in range(SVG_COLUMNS)]
    parts = [_HEAD]
    for tick in most:
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts += [
        f'<text x="{x(tick):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{tick:g} s</text>'
        for tick in seconds
    ]
    parts.append(f'<text x="{LEFT}" y="{TOP + HEIGHT + 33}">Lists in flight since the change.</text>')
    for number, (curve, colour) in enumerate(zip((behind, front), COLOURS, strict=True)):
        heights = curve.heights(spans)
        line = "".join(f"V{y(height):.0f}H{x(at):.0f}" for height, at in zip(heights, spans, strict=True))
        parts.append(f'<path d="M{LEFT} {y(0):.0f}{line}V{y(0):.0f}Z" fill="{colour}" fill-opacity="0.6"/>')
        parts.append(f'<text x="{LEFT}" y="{20 + 17 * number}" fill="{colour}">{curve.sentence()}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ends(*curves: Curve) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Ticks of both axes, from 0 to beyond all curves."""
    return (
        nice_ticks(max(1.0, *(curve.seconds for curve in curves))),
        nice_ticks(max(1, *(curve.peak for curve in curves))),
    )


def _eighths(value: int, row: int, most: float) -> int:
    """How much of a character is filled; what is there at all is seen."""
    return max(0, min(8, ceil((value / most * ROWS - row) * 8)))


def _label(row: int, most: float) -> str:
    return {ROWS - 1: f"{most:g}", ROWS // 2 - 1: f"{most / 2:g}"}.get(row, "")


def _axis(ticks: Sequence[float]) -> str:
    line = [" "] * (MARGIN + COLUMNS + 8)
    for tick in ticks:
        label, at = f"{tick:g}", MARGIN + 1 + round(tick / ticks[-1] * (COLUMNS - 1))
        if all(letter == " " for letter in line[at - 1 : at + len(label)]):
            line[at : at + len(label)] = label
    return f"{''.join(line).rstrip()} s"
