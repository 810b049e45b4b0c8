"""What is wrong with a WatchBudget, in words and with the field's path as Kubernetes writes it."""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import Any

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from watchbudget.api.structural import structural_schema

__all__ = ["BudgetError", "FieldError", "field_errors"]

_MOST = 50
"""Errors named; a file with more is not a WatchBudget gone wrong but something else."""


class FieldError(Struct, frozen=True):
    """One error: `spec.limits.cachePerPod`, and what is wrong there. Without a field: the whole object."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class BudgetError(ValueError):
    """An object is not a WatchBudget; `errors` has them all."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        self.errors = errors
        super().__init__("; ".join(map(str, errors)))


_NAME = re.compile("[A-Za-z_][A-Za-z0-9_-]{0,63}")

_MESSAGES = {
    "missing": "is required",
    "bool_type": "must be true or false, not {shown}",
    "int_type": "must be a whole number, not {shown}",
    "string_type": "must be text, not {shown}",
    "tuple_type": "must be a list, not {shown}",
    "model_type": "must be a mapping, not {shown}",
    "mapping_type": "must be a mapping, not {shown}",
    "invalid_key": "a field's name must be text",
    "literal_error": "{shown} is not one of {expected}",
    "greater_than_equal": "must be at least {ge}, not {shown}",
    "less_than_equal": "must be at most {le}, not {shown}",
    "too_long": "may have at most {max_length} entries",
    "too_short": "needs at least {min_length} entry",
    "value_error": "{error}",
}


def field_errors(error: ValidationError, spec: type[BaseModel]) -> tuple[FieldError, ...]:
    """Say each of pydantic's errors in our words, in the order of the fields."""
    found = [
        FieldError(_path(each["loc"]), _message(each, spec))  # type: ignore[arg-type]
        for each in error.errors(include_url=False)
    ]
    if len(found) > _MOST:
        found[_MOST:] = [FieldError("", f"and {len(found) - _MOST} more errors")]
    return tuple(found)


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if part == "[key]":  # pydantic's mark that a mapping's key is meant
            continue
        if (
            isinstance(part, int)
            or path.endswith("matchLabels")
            or not re.fullmatch("[A-Za-z_][A-Za-z0-9_-]*", part)
        ):
            path += f"[{part!s:.64}]"
        else:
            path += f".{part}"
    return path.removeprefix(".")


def _message(error: dict[str, Any], spec: type[BaseModel]) -> str:
    kind, location, value = error["type"], error["loc"], error["input"]
    if kind == "extra_forbidden":
        return _unknown(location, spec)
    template = _MESSAGES.get(kind)
    if template is None:
        return str(error["msg"])
    text = template.format(shown=_shown(value), **error.get("ctx", {}))
    if value is False and "'Off'" in text:
        text += "; YAML takes a bare Off for false: write 'Off' in quotes"
    return text


def _unknown(location: tuple[int | str, ...], spec: type[BaseModel]) -> str:
    known = _fields(location[:-1], spec)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return (
        f"there is no such field; {f'did you mean {close[0]}?' if close else 'there are ' + ', '.join(known)}"
    )


def _fields(location: tuple[int | str, ...], spec: type[BaseModel]) -> list[str]:
    """The fields that exist at a place of the object."""
    schema: dict[str, Any] = {
        "properties": {"apiVersion": {}, "kind": {}, "metadata": {}, "spec": _schema(spec), "status": {}}
    }
    for part in location:
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
    return list(schema["properties"])


@cache
def _schema(spec: type[BaseModel]) -> dict[str, Any]:
    return structural_schema(spec)


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return f"{value!r:.64}"
