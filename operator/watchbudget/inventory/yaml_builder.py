"""From the parser's events to plain values: one document, one loop, no recursion, with bounds."""

from __future__ import annotations

import sys
from typing import Any

from msgspec import Struct, field
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from watchbudget.inventory.found import shown
from watchbudget.inventory.yaml_scalars import resolve

__all__ = ["MAX_DEPTH", "MAX_NODES", "Builder", "Duplicate", "RefusedError", "YamlDocument"]

MAX_DEPTH = 200
"""Levels of nesting. The deepest Kubernetes objects, schemas inside CRDs, have about 60."""

MAX_NODES = 2_000_000
"""Values in one document with all aliases followed: some 50 MB of YAML, 300 MB of memory."""

_MOST_DUPLICATES = 25  # reported of one document
_LONGEST_STEP = 100  # characters of a key that a path repeats

_RESOLVED_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))
_NO_KEY = object()
_MERGE = object()
_OPEN = object()


class RefusedError(Exception):
    """The text is YAML, but not such as a manifest may be. `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Duplicate(Struct, frozen=True):
    """A key that its mapping has twice: where, the line of the second one, whether the value is the same."""

    key: str
    path: str
    line: int
    same: bool


class YamlDocument(Struct):
    """One document's value, and what was questionable about it."""

    value: object = None
    duplicates: list[Duplicate] = field(default_factory=list)


class _Frame:
    """A mapping or list that is being filled."""

    __slots__ = ("anchor", "deepest", "key", "line", "mapping", "merges", "sequence", "start")

    def __init__(self, event: CollectionStartEvent, start: int, depth: int) -> None:
        self.mapping: dict[str, object] | None = {} if event.__class__ is MappingStartEvent else None
        self.sequence: list[object] = []
        self.key: object = _NO_KEY
        self.line = 0  # of the key
        self.merges: list[object] = []
        self.anchor: str | None = event.anchor
        self.start = start  # nodes before this one
        self.deepest = depth  # level of the deepest node in it

    def value(self) -> object:
        return self.sequence if self.mapping is None else self.mapping


class Builder:
    """Builds the value of one document from the parser's events."""

    def __init__(self, parser: Any) -> None:  # noqa: ANN401 - PyYAML's parsers share no type
        self._next: Any = parser.get_event
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[object, int, int]] = {}  # value, nodes, levels
        self._nodes = 0
        self._document = YamlDocument()

    def document(self) -> YamlDocument:
        """Take the events up to the end of the document. Raises as `parse_yaml` does."""
        while True:
            event = self._next()
            kind = event.__class__
            self._nodes += 1
            if self._nodes > MAX_NODES:
                raise RefusedError(f"more than {MAX_NODES:,} values, aliases (*) followed", _line(event))
            if kind is ScalarEvent:
                value: object = _scalar(event)
                if event.anchor is not None:
                    self._anchors[event.anchor] = value, 1, 0
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self._open(event)
                continue
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                value = self._close()
            elif kind is AliasEvent:
                value = self._alias(event)
            elif kind is DocumentEndEvent:
                return self._document
            self._place(value, event)

    def _open(self, event: CollectionStartEvent) -> None:
        if self._stack and self._stack[-1].mapping is not None and self._stack[-1].key is _NO_KEY:
            raise RefusedError("a mapping or list stands where a key must be", _line(event))
        depth = len(self._stack) + 1
        if depth > MAX_DEPTH:
            raise RefusedError(f"nested deeper than {MAX_DEPTH} levels", _line(event))
        if event.anchor is not None:
            self._anchors[event.anchor] = _OPEN, 0, 0
        self._stack.append(_Frame(event, self._nodes - 1, depth))

    def _close(self) -> object:
        frame = self._stack.pop()
        self._nodes -= 1  # the end of a node is no node
        value = frame.value()
        if frame.mapping is not None:
            for merged in frame.merges:
                _merge(merged, frame.mapping, frame.line)
        if self._stack:
            self._stack[-1].deepest = max(self._stack[-1].deepest, frame.deepest)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = value, self._nodes - frame.start, frame.deepest - len(self._stack)
        return value

    def _alias(self, event: AliasEvent) -> object:
        if event.anchor not in self._anchors:
            raise RefusedError(f"the alias *{event.anchor} has no anchor", _line(event))
        value, nodes, levels = self._anchors[event.anchor]
        if value is _OPEN:
            raise RefusedError(f"the alias *{event.anchor} stands inside what it stands for", _line(event))
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            message = f"the alias *{event.anchor} expands the document to more than {MAX_NODES:,} values"
            raise RefusedError(message, _line(event))
        depth = len(self._stack) + levels
        if depth > MAX_DEPTH:
            message = f"the alias *{event.anchor} nests the document deeper than {MAX_DEPTH} levels"
            raise RefusedError(message, _line(event))
        if self._stack:
            self._stack[-1].deepest = max(self._stack[-1].deepest, depth)
        return value

    def _place(self, value: object, event: Event) -> None:
        if not self._stack:
            self._document.value = value
            return
        frame = self._stack[-1]
        if frame.mapping is None:
            frame.sequence.append(value)
        elif frame.key is _NO_KEY:
            frame.key = _key(value, event)
            frame.line = _line(event)
        else:
            if frame.key in frame.mapping:
                self._report_duplicate(frame, same=frame.mapping[frame.key] == value)
            if frame.key is _MERGE:
                frame.merges.append(value)
            else:
                frame.mapping[frame.key] = value  # type: ignore[index]  # a string: see _key
            frame.key = _NO_KEY

    def _report_duplicate(self, frame: _Frame, *, same: bool) -> None:
        if len(self._document.duplicates) < _MOST_DUPLICATES:
            duplicate = Duplicate(_step(frame.key), self._path(), frame.line, same)
            self._document.duplicates.append(duplicate)

    def _path(self) -> str:
        """Where the innermost mapping stands: `spec.containers[0]`."""
        path = ""
        for frame in self._stack[:-1]:
            if frame.mapping is None:
                path += f"[{len(frame.sequence)}]"
            else:
                path += f".{_step(frame.key)}" if path else _step(frame.key)
        return path


def _step(key: object) -> str:
    if key is _MERGE:
        return "<<"
    text = str(key)
    return text if text.isprintable() and len(text) <= _LONGEST_STEP else shown(text)


def _scalar(event: ScalarEvent) -> object:
    if (event.tag is None and event.implicit[0]) or event.tag in _RESOLVED_TAGS:
        return resolve(event.value)
    return event.value


def _key(value: object, event: Event) -> object:
    """A key as JSON has it; kubectl makes JSON first: sigs.k8s.io/yaml, convertToJSONableObject."""
    if isinstance(value, str):
        merge = value == "<<" and isinstance(event, ScalarEvent) and event.implicit[0]
        return _MERGE if merge else sys.intern(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value).removesuffix(".0")
    what = "null" if value is None else "a mapping or list"
    raise RefusedError(f"{what} stands where a key must be", _line(event))


def _merge(merged: object, into: dict[str, object], line: int) -> None:
    """`<<`: what the mapping has itself wins, then the earlier of several merged ones."""
    for mapping in merged if isinstance(merged, list) else (merged,):
        if not isinstance(mapping, dict):
            raise RefusedError("the merge key << takes a mapping or a list of mappings", line)
        for key, value in mapping.items():
            into.setdefault(key, value)


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0
