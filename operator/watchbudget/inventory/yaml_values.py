"""YAML text into plain values, as kubectl understands it and with bounds for hostile input.

Why not `yaml.safe_load`: it reads `1:30` as the number 90 and dates as dates, where Kubernetes
sees strings; it lets the second of two equal keys win without a word; and it recurses in C, so
that ten thousand brackets end the process. Here libyaml's events become dicts, lists, strings,
numbers, booleans and None in one loop without recursion, and faster than `CSafeLoader` does it.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from yaml.events import (
    DocumentStartEvent,
    StreamEndEvent,
)
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.scanner import Scanner

from watchbudget.inventory.found import shown
from watchbudget.inventory.yaml_builder import Builder, YamlDocument

__all__ = ["PureParser", "describe_error", "parse_yaml"]

try:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]  # its stubs leave it out
except ImportError:  # PyYAML built without libyaml
    CParser = None  # type: ignore[assignment, misc]


class PureParser(Reader, Scanner, Parser):
    """The same events without libyaml, fifteen times slower."""

    def __init__(self, stream: bytes) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)


def parse_yaml(text: bytes) -> Iterator[YamlDocument]:
    """The documents of a UTF-8 text, one after the other.

    Raises:
        yaml.YAMLError: it is not YAML.
        RefusedError: nested too deep, too many nodes, an alias without or inside its anchor, or a
            key that is not a scalar.
    """
    parser = PureParser(text) if CParser is None else CParser(text)
    try:
        while True:
            event = parser.get_event()
            if event.__class__ is StreamEndEvent:
                return
            if event.__class__ is DocumentStartEvent:
                yield Builder(parser).document()
    finally:
        parser.dispose()


def describe_error(error: yaml.YAMLError) -> tuple[str, int | None]:
    """What libyaml found wrong, without its picture of the place, and the line from 1."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if "cannot start any token" in problem:
        problem += " (a tab, perhaps: YAML is indented with spaces)"
    if isinstance(error, ReaderError):
        problem += (
            f" ({shown(chr(error.character) if isinstance(error.character, int) else error.character)})"
        )
    return problem, mark.line + 1 if mark is not None else None
