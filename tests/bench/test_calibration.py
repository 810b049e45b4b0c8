"""What the calibration benchmark says of a measurement, and that it covers the rows it claims to."""

import sys
from decimal import Decimal
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from calibration.figures import Cell, compare, median_cells
from calibration.libraries import LIBRARIES
from watchbudget.cost.calibration import Row, load_calibration

MIB = 2**20


def cell(steady: int = 30 * MIB, **changed: object) -> Cell:
    figures = {"row": "a", "kind": "namespace", "objects": 10_000, "stored": 1000, "base": 10 * MIB}
    figures |= {"first_peak": 40 * MIB, "relist_peak": 50 * MIB, "after": 45 * MIB}
    return Cell(steady=steady, **(figures | changed))


def test_an_object_costs_what_the_process_has_more_than_an_idle_one():
    assert cell().each == pytest.approx(20 * MIB / 10_000)


def test_a_row_is_compared_as_bills_use_it():
    row = Row(
        id="a",
        stacks=("a",),
        title="A",
        overhead_bytes=1048,
        factor=Decimal("1.5"),
        relist_peak=Decimal(2),
        base_bytes=20 * MIB,
        derivation="none",
    )
    found = compare(cell(steady=10 * MIB + 25_480_000), row)  # 2,548 bytes each, as 1,048 + 1.5 x 1,000
    assert found.each == pytest.approx(1)
    assert found.each_peak == pytest.approx(2 * 2548 * 10_000 / (40 * MIB))
    assert found.base == pytest.approx(2)


def test_the_median_is_taken_of_the_same_library_and_kind_only():
    runs = [cell(steady=size * MIB) for size in (31, 90, 30)] + [
        cell(steady=50 * MIB, kind="large namespace")
    ]
    found = {each.kind: each.steady for each in median_cells(runs)}
    assert found == {"namespace": 31 * MIB, "large namespace": 50 * MIB}


def test_every_row_is_measured():
    assert [library.row for library in LIBRARIES] == [row.id for row in load_calibration().rows]
