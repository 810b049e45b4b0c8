"""The WatchBudget object, and how it is read from YAML or from the API server."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import ConfigDict, ValidationError

from watchbudget.api.errors import BudgetError, FieldError, field_errors
from watchbudget.api.exemption import Exemption
from watchbudget.api.fields import ApiModel, DnsSubdomain
from watchbudget.api.rollout import Rollout
from watchbudget.api.rules import RULE_NAMES
from watchbudget.api.selector import LabelSelector
from watchbudget.api.spec import Enforcement, Limits, RuleSetting, WatchBudgetSpec
from watchbudget.api.status import WatchBudgetStatus

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "RULE_NAMES",
    "VERSION",
    "BudgetError",
    "Enforcement",
    "Exemption",
    "FieldError",
    "LabelSelector",
    "Limits",
    "Metadata",
    "Rollout",
    "RuleSetting",
    "WatchBudget",
    "WatchBudgetSpec",
    "WatchBudgetStatus",
    "parse_budget",
]

GROUP = "watchbudget.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "WatchBudget"

_DEEPEST = 32
_LARGEST = 50_000
"""Levels of nesting and values in one object, far above what the schema (and managedFields) can hold: what is
larger is an attack on whoever walks it."""


class Metadata(ApiModel):
    """What is needed of metadata; the rest is the API server's business."""

    model_config = ConfigDict(extra="ignore")

    name: DnsSubdomain
    uid: str | None = None
    generation: int | None = None
    deletion_timestamp: str | None = None
    annotations: Mapping[str, str] = {}


class WatchBudget(ApiModel):
    """A price list, limits and what to do about them, for the DaemonSets of a cluster."""

    api_version: Literal["watchbudget.io/v1alpha1"] = "watchbudget.io/v1alpha1"
    kind: Literal["WatchBudget"] = "WatchBudget"
    metadata: Metadata
    spec: WatchBudgetSpec
    status: WatchBudgetStatus | None = None

    @property
    def name(self) -> str:
        """The object's name, by which findings refer to it."""
        return self.metadata.name


def parse_budget(raw: Mapping[str, object], *, strict: bool = True) -> WatchBudget:
    """Read a WatchBudget as `kubectl apply` would, with the same refusals.

    A null counts as a field left out, as it does for the API server.

    Args:
        raw: the object, as read from YAML or JSON.
        strict: for files: a field that does not exist is an error, and status, which nobody
            may write there, is not read. Otherwise, for objects from a cluster, unknown fields are those
            of a newer version and are ignored; a status that cannot be read counts as none, since the
            operator writes it anew.

    Raises:
        BudgetError: with every error and the field it is about, in Kubernetes' spelling.
    """
    if not isinstance(raw, Mapping):
        raise BudgetError((FieldError("", f"a WatchBudget is a mapping, not {type(raw).__name__}"),))
    _check_size(raw, _DEEPEST, itertools.count())
    try:
        return _validate({key: value for key, value in raw.items() if not (strict and key == "status")})
    except ValidationError as error:
        if strict:
            raise BudgetError(field_errors(error, WatchBudgetSpec)) from None
        usable = _usable(raw, error)
    try:
        return _validate(usable)
    except ValidationError as error:
        raise BudgetError(field_errors(error, WatchBudgetSpec)) from None


def _check_size(value: object, depth: int, seen: Iterator[int]) -> None:
    if depth < 0:
        raise BudgetError((FieldError("", f"is nested deeper than {_DEEPEST} levels"),))
    if next(seen) > _LARGEST:
        raise BudgetError((FieldError("", f"has more than {_LARGEST} values"),))
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            _check_size(item, depth - 1, seen)


def _validate(given: Mapping[str, object]) -> WatchBudget:
    return WatchBudget.model_validate(given, by_alias=True, by_name=False)


def _usable(raw: Mapping[str, object], error: ValidationError) -> dict[str, object]:
    """Leave out what a cluster may hold and we cannot read: fields of a newer version, a broken status."""
    usable = copy.deepcopy(dict(raw))
    for each in error.errors(include_url=False, include_input=False):
        *parents, last = each["loc"]
        if each["loc"][0] == "status":
            usable.pop("status", None)
        elif each["type"] == "extra_forbidden":
            holder: object = usable
            for key in parents:
                holder = holder[key]  # type: ignore[index]  # the path was walked by the validator
            del holder[last]  # type: ignore[attr-defined]
    return usable
