"""The picture that the demo ends with: both curves, the same axes, no peak lost."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from watchbudget.cli.demo_picture import BEHIND, BLOCKS, COLUMNS, MARGIN, ROWS, Curve, as_svg, as_text

UNGATED = Curve("ungated", 4.0, ((0.5, 40), (3.0, 0)), 40, 3, 1.5)
STAGED = Curve("staged", 8.0, ((0.5, 8), (7.5, 0)), 8, 0, 0.2)


def drawn(behind: Curve, front: Curve) -> list[str]:
    """The rows of the plot from the top, without margin and axes."""
    return [
        line[MARGIN + 1 :].ljust(COLUMNS) for line in as_text(behind, front).plain.split("\n")[1 : ROWS + 1]
    ]


def test_the_higher_curve_is_behind_the_lower_one_and_both_are_seen():
    rows = drawn(UNGATED, STAGED)
    assert set(rows[0]) == {BEHIND, " "}
    assert set(rows[-1]) == {BLOCKS[-1], " "}
    # The axes end at 40 lists and 8 seconds: 64 columns, eight to the second.
    assert (
        rows[0].strip() == BEHIND * 21
    )  # half a second to three, and the columns in which that begins and ends
    assert rows[-1].rstrip() == "   " + BLOCKS[-1] * 57
    assert rows[-2].rstrip() == "   " + BLOCKS[-1] * 57  # 8 of 40 lists are two of ten rows
    assert BLOCKS[-1] not in rows[-3]


def test_what_lasted_a_moment_is_seen():
    brief = Curve("staged", 8.0, ((4.001, 1), (4.002, 0)), 1, 0, 0.0)
    assert "".join(drawn(UNGATED, brief)).count("▂") == 1  # 1 of 40, of ten rows: a quarter of a character


def test_the_figures_stand_below():
    text = as_text(UNGATED, STAGED).plain
    assert "ungated: 4.0 s, at most 40 lists at once, 3 refused" in text
    assert "staged: 8.0 s, at most 8 lists at once, 0 refused" in text
    assert "up to 1,500 ms" in text


times = st.floats(0, 1000, allow_nan=False)
curves = st.builds(
    lambda values, seconds: Curve(
        "any",
        max([seconds, *(at for at, _ in values)]),
        tuple(values),
        max([0, *(n for _, n in values)]),
        0,
        0.0,
    ),
    st.lists(st.tuples(times, st.integers(0, 10_000)), max_size=30).map(sorted),
    times,
)


@given(curves, curves)
def test_any_two_curves_can_be_drawn(behind: Curve, front: Curve):
    lines = as_text(behind, front).plain.split("\n")
    assert all(len(line) <= MARGIN + 1 + COLUMNS for line in lines[: ROWS + 2])
    assert len(ET.fromstring(as_svg(behind, front)).findall("{*}path")) > 2  # noqa: S314 - our own
