"""Tables on a terminal that never cut a number: whole columns go first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

__all__ = ["Column", "drawn", "room"]

_GAP = 2


class Column(Struct, frozen=True):
    """A column that keeps its width: a header and a cell for every row, each of one or more lines."""

    header: str
    cells: tuple[Text, ...]
    justify: Literal["left", "right"] = "left"

    @property
    def width(self) -> int:
        """Cells the widest line takes."""
        texts = [self.header, *(cell.plain for cell in self.cells)]
        return max(cell_len(line) for text in texts for line in text.split("\n"))


def room(columns: Mapping[str, Column], width: int) -> int:
    """What these columns leave of the width for one more; below 0 if they do not fit themselves."""
    return width - sum(column.width + _GAP for column in columns.values())


def drawn(columns: Sequence[Column]) -> Table:
    """The table: no lines, as kubectl prints."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim", show_edge=False)
    for column in columns:
        table.add_column(Text(column.header), justify=column.justify, no_wrap=True, min_width=column.width)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table
