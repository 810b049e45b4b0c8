"""Readers of agents' own configuration formats, by the name that catalogue entries call them.

A new format is one module with one function and one line here; what its components mean for
watches stays in the catalogue's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from watchbudget.demand.readers.beats import read_beats
from watchbudget.demand.readers.fluentd import read_fluentd
from watchbudget.demand.readers.opentelemetry import read_opentelemetry
from watchbudget.demand.readers.reading import Component, Reader, Reading
from watchbudget.demand.readers.signalfx import read_signalfx
from watchbudget.demand.readers.vector import read_vector

__all__ = ["READERS", "Component", "Reader", "Reading"]

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "beats": read_beats,
        "fluentd": read_fluentd,
        "opentelemetry": read_opentelemetry,
        "signalfx": read_signalfx,
        "vector": read_vector,
    }
)
