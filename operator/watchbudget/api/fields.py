"""The kinds of field a WatchBudget is made of: each knows its Python check and its schema.

Both say the same. Where OpenAPI can only answer "should match '^...$'", the schema carries a
CEL rule instead, because its message can tell what to write. Only CEL of Kubernetes 1.30 is
used: https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, core_schema

from watchbudget.api.duration import parse_duration
from watchbudget.api.quantity import parse_quantity

__all__ = [
    "ApiModel",
    "Count",
    "DnsLabel",
    "DnsSubdomain",
    "Percent",
    "Quantity",
    "Text",
    "bounded_duration",
    "cel",
    "is_quantity",
    "quantity_of",
    "shorter",
    "unique",
    "validated",
]


class ApiModel(BaseModel):
    """A part of the object: immutable, snake_case here, camelCase in YAML, as strict as the server."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        serialize_by_alias=True,
        strict=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        # As the API server has it, which prunes nulls (defaulting.PruneNonNullableNullsWithoutDefaults in
        # apiextensions-apiserver), but not before it has refused fields that do not exist.
        if not isinstance(data, Mapping) or None not in data.values():
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


def cel(rule: str, message: str, *, expression: bool = False, field: str | None = None) -> JsonDict:
    """One entry for `validated`. With `expression` the message is CEL itself; `field` is what it is about."""
    entry: JsonDict = {"rule": rule, "messageExpression" if expression else "message": message}
    return entry | ({"fieldPath": f".{field}"} if field else {})


def validated(*rules: JsonDict) -> JsonDict:
    """What a schema says beyond its type: CEL rules."""
    return {"x-kubernetes-validations": [*rules]}


@dataclass(frozen=True, slots=True)
class Text:
    """Annotates a string that must match `pattern` as a whole; `says` completes "'x' ..." if it does not."""

    pattern: str
    says: str
    longest: int

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        del schema, handler
        return self.schema()

    def schema(self) -> dict[str, Any]:
        """The same as a schema."""
        rule = cel(f"self.matches(r'^({self.pattern})$')", f'"\'" + self + "\' {self.says}"', expression=True)
        return {"type": "string", "maxLength": self.longest} | validated(rule)

    def check(self, value: str) -> str:
        """Return the value. Raises ValueError where it is too long or does not match."""
        if len(value) > self.longest:
            raise ValueError(f"may not be longer than {self.longest} characters")
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"'{value}' {self.says}")
        return value


@dataclass(frozen=True, slots=True, eq=False)  # by identity, so that types made with it have a hash
class _Converted:
    """Annotates a field that is read by `convert` from what the schema describes."""

    convert: Callable[[Any], object]
    schema: dict[str, Any]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(self.convert)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        del schema, handler
        return self.schema


_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DnsLabel = Annotated[
    str, Text(_LABEL, "is not a name: lower-case letters, digits and '-', at most 63 characters", 63)
]
# Parts of a subdomain may be longer than a label: `IsDNS1123Subdomain` in
# k8s.io/apimachinery/pkg/util/validation/validation.go bounds the whole only.
_PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DnsSubdomain = Annotated[
    str, Text(rf"{_PART}(\.{_PART})*", "is not a name: lower-case letters, digits, '-' and '.'", 253)
]

_SMALLEST, _LARGEST = "1Ki", "1Ei"
_RANGE = (
    f"must lie between {_SMALLEST} and {_LARGEST}: a number without a unit counts bytes, write 64Mi for "
    "mebibytes; leave the field out for no limit"
)
_BELOW = 1023  # 1023.5 is 1Ki to us, who round up
_LONGEST_QUANTITY = 32


def is_quantity(expression: str) -> str:
    """CEL: whether an int-or-string can be read as a quantity."""
    return f"isQuantity(string({expression}))"


def quantity_of(expression: str) -> str:
    """CEL: the quantity of an int-or-string."""
    return f"quantity(string({expression}))"


def _read_quantity(value: object) -> int:
    # A float is a quantity of resource.Quantity, but not an int-or-string of the schema.
    if isinstance(value, float):
        raise ValueError(f"{value!r} is not a quantity; write a size such as 64Mi")  # noqa: TRY004
    if isinstance(value, str) and len(value) > _LONGEST_QUANTITY:
        raise ValueError(f"may not be longer than {_LONGEST_QUANTITY} characters")
    size = parse_quantity(value)  # type: ignore[arg-type]  # it refuses other types itself
    if not parse_quantity(_SMALLEST) <= size <= parse_quantity(_LARGEST):
        raise ValueError(f"{value!r} {_RANGE}")
    return size


Quantity = Annotated[
    int,
    _Converted(
        _read_quantity,
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": _LONGEST_QUANTITY,
            "x-kubernetes-validations": [
                cel(
                    f"{is_quantity('self')} && {quantity_of('self')}.compareTo(quantity('{_BELOW}')) > 0"
                    f" && {quantity_of('self')}.compareTo(quantity('{_LARGEST}')) <= 0",
                    f'"\'" + string(self) + ({is_quantity("self")} ? "\' {_RANGE}"'
                    ' : "\' is not a quantity; write a size such as 64Mi")',
                    expression=True,
                )
            ],
        },
    ),
]
"""Bytes, read from a quantity of 1Ki to 1Ei. Zero is refused: some would mean "none", others "no limit"."""

# GEP-2257, the part of Go's durations that every reader understands alike; Gateway API uses it too:
# https://gateway-api.sigs.k8s.io/geps/gep-2257/
_DURATION = "([0-9]{1,5}(h|m|s|ms)){1,4}"
_NO_DURATION = "is not a duration; write one such as 5m, 1h30m or 250ms"


def shorter(field: str, default: str, other: str, other_default: str) -> str:
    """CEL: whether a duration of self is shorter than another, each with what an absent one means.

    It holds where one of them is no duration, which has a message of its own.
    """
    first = f"(has(self.{field}) ? self.{field} : '{default}')"
    second = f"(has(self.{other}) ? self.{other} : '{other_default}')"
    valid = f"[{first}, {second}].all(text, text.matches(r'^{_DURATION}$'))"
    return f"!{valid} || duration({first}) < duration({second})"


def bounded_duration(shortest: str, longest: str) -> _Converted:
    """Annotate seconds that are read from a duration within bounds, both included."""
    says = f"must lie between {shortest} and {longest}"

    def convert(value: object) -> float:
        if not isinstance(value, str) or not re.fullmatch(_DURATION, value):
            raise ValueError(f"{value!r:.64} {_NO_DURATION}")
        seconds = parse_duration(value)
        if not parse_duration(shortest) <= seconds <= parse_duration(longest):
            raise ValueError(f"'{value}' {says}")
        return seconds

    valid = f"self.matches(r'^{_DURATION}$')"
    return _Converted(
        convert,
        {
            "type": "string",
            "maxLength": 28,  # four parts of five digits and a unit
            "x-kubernetes-validations": [
                cel(
                    f"{valid} && duration(self) >= duration('{shortest}')"
                    f" && duration(self) <= duration('{longest}')",
                    f'"\'" + self + ({valid} ? "\' {says}" : "\' {_NO_DURATION}")',
                    expression=True,
                )
            ],
        },
    )


_PERCENT = Text("100%|[1-9][0-9]?%", "is not a percentage from 1% to 100%", 4)


def _read_percent(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.64} is not a percentage from 1% to 100%")  # noqa: TRY004 - one error for all
    return int(_PERCENT.check(value)[:-1])


Percent = Annotated[
    int,
    _Converted(_read_percent, _PERCENT.schema()),
]
"""Whole percents, read from `5%`."""

Count = Annotated[int, Field(ge=0)]
"""How many; the schema says int64."""


_T = TypeVar("_T")


def unique(items: tuple[_T, ...], by: tuple[str, ...] = ()) -> tuple[_T, ...]:
    """Return the items. Raises ValueError where two are the same, or the same in the fields named."""
    seen: set[object] = set()
    for item in items:
        key = "/".join(str(getattr(item, name)) for name in by) if by else item
        if key in seen:
            raise ValueError(f"{key} is listed twice")
        seen.add(key)
    return items
