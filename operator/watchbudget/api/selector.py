"""Label selectors, by which a budget says which DaemonSets and namespaces it governs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from watchbudget.api.fields import ApiModel, Text, cel, validated

__all__ = ["LabelSelector", "Requirement"]

_NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_KEY = rf"({_LABEL}(\.{_LABEL})*/)?{_NAME}"
_LONGEST_KEY = 253 + 1 + 63

# What apimachinery's content.IsLabelKey and validation.IsValidLabelValue accept.
_Key = Annotated[str, Text(_KEY, "is not a label key, such as app.kubernetes.io/name", _LONGEST_KEY)]
_VALUE = Text(f"({_NAME})?", "is not a label value: letters, digits, '-', '_' and '.'", 63)
_Value = Annotated[str, _VALUE]

# The server drops a null that is not allowed: `app:`, left empty by a template, would then select everything.
# So the schema allows it, and a rule refuses it.
_ValueInMap = Annotated[_Value, WithJsonSchema({**_VALUE.schema(), "nullable": True})]
_NO_NULL = "a label's value must not be null: write '' for the empty one"

_TAKES_VALUES = "operators In and NotIn need values, Exists and DoesNotExist take none"


class Requirement(ApiModel):
    """One condition on a label."""

    model_config = ConfigDict(
        json_schema_extra=validated(
            cel(
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                _TAKES_VALUES,
                field="operator",
            )
        )
    )

    key: _Key
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value relates to the values. NotIn also matches where the label is absent."""
    values: Annotated[tuple[_Value, ...], Field(max_length=64, strict=False)] = ()
    """The values, for In and NotIn."""

    @model_validator(mode="after")
    def _values_fit_operator(self) -> Self:
        if (self.operator in {"In", "NotIn"}) != bool(self.values):
            raise ValueError(_TAKES_VALUES)
        return self

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy it (labels.Requirement.Matches of apimachinery)."""
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return self.key not in labels or labels[self.key] not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(ApiModel):
    """A Kubernetes label selector; empty selects everything."""

    # As in core/v1: two managers must not merge their conditions into one that nobody wrote.
    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    match_labels: Annotated[
        Mapping[_Key, _ValueInMap],
        Field(
            max_length=64,
            json_schema_extra=validated(
                cel(
                    f"self.all(key, size(key) <= {_LONGEST_KEY} && key.matches(r'^{_KEY}$'))",
                    "a label key looks like app.kubernetes.io/name",
                ),
                cel("self.all(key, type(self[key]) == string)", _NO_NULL),
            ),
        ),
    ] = {}
    """Labels that must be there with exactly these values."""
    match_expressions: Annotated[tuple[Requirement, ...], Field(max_length=64, strict=False)] = ()
    """Conditions that must all hold."""

    @property
    def empty(self) -> bool:
        """Whether it has no condition, and so selects everything."""
        return not (self.match_labels or self.match_expressions)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy every condition."""
        return self.empty or (
            all(labels.get(key) == value for key, value in self.match_labels.items())
            and all(requirement.matches(labels) for requirement in self.match_expressions)
        )
