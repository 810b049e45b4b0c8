"""What was measured, and what the calibration in use says of it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from watchbudget.cost.calibration import Row

__all__ = ["Cell", "Compared", "compare", "median_cells"]

_MEASURED = ("base", "steady", "first_peak", "relist_peak", "after")


@dataclass(frozen=True)
class Cell:
    """One client library with one kind of object. All sizes are bytes.

    Attributes:
        row: Id of the library's row.
        kind: Of object.
        objects: How many the cache holds.
        stored: What one takes in etcd.
        base: Resident set of the same process without objects.
        steady: Resident set with a full cache, at rest.
        first_peak: Most until the cache was full.
        relist_peak: Most at and after the list made anew.
        after: Resident set at rest after that.
    """

    row: str
    kind: str
    objects: int
    stored: int
    base: int
    steady: int
    first_peak: int
    relist_peak: int
    after: int

    @property
    def each(self) -> float:
        """Resident bytes of one object."""
        return (self.steady - self.base) / self.objects

    @property
    def each_peak(self) -> float:
        """Bytes of one object at the peak of a re-list."""
        return (self.relist_peak - self.base) / self.objects


@dataclass(frozen=True)
class Compared:
    """A cell, and what the row says of it: how many times the measured figure (1: the same)."""

    cell: Cell
    each: float
    each_peak: float
    base: float


def compare(cell: Cell, row: Row) -> Compared:
    """Say how a row's figures relate to a cell's."""
    each = float(row.overhead_bytes + row.factor * cell.stored)
    return Compared(
        cell,
        each=each / cell.each,
        each_peak=each * float(row.relist_peak) / cell.each_peak,
        base=row.base_bytes / cell.base,
    )


def median_cells(cells: Iterable[Cell]) -> list[Cell]:
    """Return one cell for each library and kind, each figure the median of its runs."""
    key = lambda cell: (cell.row, cell.kind)  # noqa: E731
    return [_median(list(same)) for _, same in groupby(sorted(cells, key=key), key)]


def _median(cells: Sequence[Cell]) -> Cell:
    first = cells[0]
    middle = {name: int(statistics.median(getattr(cell, name) for cell in cells)) for name in _MEASURED}
    return Cell(row=first.row, kind=first.kind, objects=first.objects, stored=first.stored, **middle)
