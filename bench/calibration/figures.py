"""What was measured, and what the calibration in use says of it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

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


@dataclass(frozen=True)
class Compared:
    """A cell, and what the row says of it: how many times the measured figure (1: the same)."""

    cell: Cell
    each: float
    each_peak: float
    base: float


def compare(cell: Cell, row: Row) -> Compared:
    """Say how a row's figures relate to a cell's."""
    cache = row.cache_bytes(cell.objects, cell.objects * cell.stored)
    return Compared(
        cell,
        each=cache / (cell.steady - cell.base),
        each_peak=row.peak_bytes(cache) / (cell.relist_peak - cell.base),
        base=row.base_bytes / cell.base,
    )


def median_cells(cells: Iterable[Cell]) -> list[Cell]:
    """Return one cell for each library and kind, each figure the median of its runs."""
    key = attrgetter("row", "kind")
    return [_median(list(same)) for _, same in groupby(sorted(cells, key=key), key)]


def _median(cells: Sequence[Cell]) -> Cell:
    first = cells[0]
    middle = {name: int(statistics.median(getattr(cell, name) for cell in cells)) for name in _MEASURED}
    return Cell(row=first.row, kind=first.kind, objects=first.objects, stored=first.stored, **middle)
