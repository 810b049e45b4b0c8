"""Reading an object field by field, where every field may hold anything.

The API server would refuse a string in the place of a list; a file does not. So no field is
believed to have the type it should have: what is wrong becomes a Problem with the field's exact
path, and reading goes on with what makes sense.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from watchbudget.api.quantity import parse_quantity
from watchbudget.inventory.fleet import Problem, Source
from watchbudget.inventory.found import describe, digits, shown

__all__ = ["Fields", "Report", "object_fields"]

_MOST_PROBLEMS = 25
"""Per object. A list of a million wrong entries must not become a million messages."""

_NOTHING: Mapping[str, Any] = {}

_NAME = re.compile(r"[^\s/%]{1,253}")
"""Wider than DNS-1123 (RBAC names hold colons), narrow enough for paths, tables and terminals:
https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names"""


class Report:
    """Where the problems of one object go, at most 25 of them."""

    __slots__ = ("_count", "_problems", "_source", "title")

    def __init__(self, source: Source, problems: list[Problem], title: str) -> None:
        self._source = source
        self._problems = problems
        self._count = 0
        self.title = title

    def add(self, field: str, message: str, *, warning: bool = False) -> None:
        """Note what is wrong with a field."""
        self._count += 1
        if self._count < _MOST_PROBLEMS:
            problem = Problem(
                self._source, message, self.title, field or None, "warning" if warning else "error"
            )
            self._problems.append(problem)
        elif self._count == _MOST_PROBLEMS:
            self._problems.append(Problem(self._source, "further problems are left out", self.title))


class Fields(Struct, eq=False):
    """One mapping of an object. An absent field and null are the same, as for the API server.

    Every method takes the field's name and gives its value, or the empty value of its type
    after reporting what stands there instead.

    Attributes:
        broken: stands for something of another type, which is reported: nothing in it is missing.
    """

    _raw: Mapping[str, Any]
    report: Report
    _parent: Fields | None = None  # with key and index the path, if anybody asks for it
    _key: str = ""
    _index: int | None = None
    broken: bool = False

    def path(self, key: str = "") -> str:
        """Where a field stands: `spec.template.spec.containers[0].env`."""
        own = self._parent.path(self._key) if self._parent is not None else ""
        if self._index is not None:
            own = f"{own}[{self._index}]"
        return f"{own}.{key}" if own and key else own or key

    def has(self, key: str) -> bool:
        """Whether the field is set at all, to whatever."""
        return self._raw.get(key) is not None

    def problem(self, key: str, message: str, *, warning: bool = False) -> None:
        """Report something about a field."""
        self.report.add(self.path(key), message, warning=warning)

    def child(self, key: str) -> Fields:
        """A nested mapping; one without fields where there is none."""
        value = self._raw.get(key)
        if isinstance(value, dict):
            return Fields(value, self.report, self, key, None, self.broken)
        if value is None:
            return Fields(_NOTHING, self.report, self, key, None, self.broken)
        return Fields(self._mapping(key), self.report, self, key, broken=True)

    def children(self, key: str) -> Iterator[Fields]:
        """The mappings of a list."""
        for index, item in enumerate(self._list(key)):
            if isinstance(item, dict):
                yield Fields(item, self.report, self, key, index)
            else:
                self.report.add(f"{self.path(key)}[{index}]", f"expected a mapping, found {describe(item)}")

    def text(self, key: str) -> str | None:
        """A string, or None."""
        value = self._raw.get(key)
        return value if value is None or isinstance(value, str) else self._as_text(self.path(key), value)

    def required_text(self, key: str) -> str | None:
        """A string that is not empty; None, and a problem, if it is absent."""
        value = self.text(key)
        if value:
            return value
        if self._raw.get(key) in (None, ""):
            self.missing(key)
        return None

    def missing(self, key: str) -> None:
        """Report that a field must be there and is not."""
        if not self.broken:
            self.problem(key, "is missing")

    def flag(self, key: str) -> bool | None:
        """A boolean, or None."""
        value = self._raw.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.problem(key, f"expected true or false, found {describe(value)}")
        return None

    def number(self, key: str) -> int | None:
        """A whole number that is not negative and fits 32 bits, as the API's counts do, or None."""
        value = self._raw.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
            return value
        if value is not None:
            self.problem(key, f"expected a whole number, found {describe(value)}")
        return None

    def raw(self, key: str) -> object:
        """The value as it is, for fields that may be of several types."""
        return self._raw.get(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._list(key)
        if all(isinstance(value, str) for value in values):
            return tuple(values)
        paths = ((f"{self.path(key)}[{index}]", value) for index, value in enumerate(values))
        texts = [self._as_text(path, value) for path, value in paths]
        return tuple(text for text in texts if text is not None)

    def text_map(self, key: str) -> dict[str, str]:
        """A mapping of strings to strings, such as labels."""
        values = self._mapping(key)
        if all(isinstance(value, str) for value in values.values()):
            return dict(values)
        texts = {
            name: self._as_text(f"{self.path(key)}[{shown(name)}]", value) for name, value in values.items()
        }
        return {name: text for name, text in texts.items() if text is not None}

    def size(self, key: str) -> int | None:
        """A quantity of memory in bytes, or None."""
        value: Any = self._raw.get(key)
        if value is None:
            return None
        if isinstance(value, (bool, list, dict)):
            self.problem(key, f"expected a quantity such as 64Mi, found {describe(value)}")
            return None
        try:
            size = parse_quantity(value)
        except ValueError as error:
            self.problem(key, str(error))
            return None
        if size < 0:
            self.problem(key, f"must not be negative, and is {shown(str(value))}")
            return None
        return size

    def _mapping(self, key: str) -> Mapping[str, Any]:
        value = self._raw.get(key)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.problem(key, f"expected a mapping, found {describe(value)}")
        return _NOTHING

    def _list(self, key: str) -> list[Any]:
        value = self._raw.get(key)
        if isinstance(value, list):
            return value
        if value is not None:
            self.problem(key, f"expected a list, found {describe(value)}")
        return []

    def _as_text(self, path: str, value: object) -> str | None:
        """A string; a number or boolean, the commonest slip of YAML, is reported and read as its text."""
        if isinstance(value, str):
            return value
        hint = ", so put it in quotes" if isinstance(value, (bool, int, float)) else ""
        self.report.add(path, f"expected a string, found {describe(value)}{hint}")
        match value:
            case bool():
                return str(value).lower()
            case int():
                return digits(value)
            case float():
                return str(value)
            case _:
                return None


def object_fields(
    raw: Mapping[str, Any], kind: str, source: Source, problems: list[Problem], namespace: str | None
) -> tuple[Fields, str, str] | None:
    """Begin reading an object: its fields, namespace ("" where it has none) and name.

    Args:
        raw: the object as read.
        kind: what it is called in messages.
        source: where it was read.
        problems: gets what is wrong with it.
        namespace: that of an object which names none; None for kinds without namespace.

    Returns:
        None, after reporting why, for what has no usable name: nothing can refer to it.
    """
    report = Report(source, problems, kind)
    if not isinstance(raw, dict):
        report.add("", f"expected a mapping, found {describe(raw)}")
        return None
    whole = Fields(raw, report)
    metadata = whole.child("metadata")
    name = metadata.required_text("name")
    own = None if namespace is None else metadata.text("namespace") or namespace
    report.title = f"{kind} {own}/{name}" if own else f"{kind} {name}"
    for key, value in (("name", name), ("namespace", own)):
        if value is not None and not (_NAME.fullmatch(value) and value.isprintable()):
            report.title = kind
            metadata.problem(key, f"{shown(value)} is not a name Kubernetes accepts")
            name = None
    if name is None:
        report.title = kind
        return None
    return whole, own or "", name
