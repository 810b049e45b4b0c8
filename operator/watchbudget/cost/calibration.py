"""The measured coefficients of the bill, as data with provenance (`calibration.yaml`).

They say what a full cache costs a process, by client library. A new measurement is a change to
the data file alone; docs/benchmarks.md says how to repeat one.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache, cached_property
from importlib import resources
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

__all__ = ["Calibration", "Measured", "Row", "load_calibration"]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Measured(_Data):
    """On what, with what and when the rows were measured."""

    machine: str
    kubernetes: str
    date: str
    runs: str
    error_percent: int = Field(gt=0, description="How far a figure may be from the truth, either way.")


class Row(_Data):
    """One client library: bytes, `factor` per stored byte, `relist_peak` times the steady cost.

    Decimals, because the counts they meet are unbounded integers and a float would overflow or round.
    """

    id: str = Field(min_length=1)
    stacks: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=1, description="What the catalogue calls it."
    )
    title: str
    overhead_bytes: int = Field(ge=0)
    factor: Decimal = Field(ge=0)
    relist_peak: Decimal = Field(ge=1, description="Below 1 a re-list would free memory.")
    base_bytes: int = Field(ge=0, description="Resident set of an idle client of this library.")
    derivation: str = Field(min_length=1, description="Which measured figures, and how they were read.")

    def cache_bytes(self, objects: int, stored_bytes: int) -> int:
        """Return what a full cache takes, in bytes.

        Args:
            objects: how many it holds.
            stored_bytes: what they take in etcd, all together.
        """
        return objects * self.overhead_bytes + _times(self._exact_factor, stored_bytes)

    def peak_bytes(self, cache_bytes: int) -> int:
        """Return what such a cache takes at most while it is listed anew, in bytes."""
        return _times(self._exact_peak, cache_bytes)

    @cached_property
    def _exact_factor(self) -> tuple[int, int]:
        return self.factor.as_integer_ratio()

    @cached_property
    def _exact_peak(self) -> tuple[int, int]:
        return self.relist_peak.as_integer_ratio()


def _times(factor: tuple[int, int], size: int) -> int:
    """The product, rounded up, and exact for integers of any size."""
    numerator, denominator = factor
    return -(-size * numerator // denominator)


class Calibration(_Data):
    """All rows, how they were measured, and which one stands in for a library that is not known."""

    measured: Measured
    assumed: str
    rows: tuple[Row, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Calibration:
        ids = [row.id for row in self.rows]
        stacks = [stack for row in self.rows for stack in row.stacks]
        twice = sorted({name for names in (ids, stacks) for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        if self.assumed not in ids:
            raise ValueError(f"the assumed row {self.assumed} does not exist")
        return self

    def row(self, row_id: str) -> Row:
        """The row of that id. Raises KeyError where there is none."""
        for row in self.rows:
            if row.id == row_id:
                return row
        raise KeyError(row_id)

    def for_stack(self, stack: str | None) -> tuple[Row, bool]:
        """The row for a client library as a demand names it, and whether it had to be assumed."""
        for row in self.rows:
            if stack in row.stacks:
                return row, False
        return self.row(self.assumed), True


@cache
def load_calibration() -> Calibration:
    """The coefficients shipped with the package.

    Raises:
        pydantic.ValidationError: the data file is not what this module describes.
    """
    text = resources.files(__package__).joinpath("calibration.yaml").read_text(encoding="utf-8")
    return Calibration.model_validate(yaml.safe_load(text))
