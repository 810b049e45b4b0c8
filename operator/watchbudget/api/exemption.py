"""Findings that somebody has accepted, for a reason and perhaps for a time."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from watchbudget.api.fields import ApiModel, DnsLabel, DnsSubdomain, Text, cel, unique, validated
from watchbudget.api.rules import RULE_NAMES, RuleName

__all__ = ["ALL_RULES", "Exemption"]

ALL_RULES = "*"
"""In an exemption: every rule."""

_ALONE = "'*' means every rule already; it stands alone"
_DATE = "2[0-9]{3}-[0-1][0-9]-[0-3][0-9]"
_DATE_SCHEMA = {"type": "string", "format": "date", "pattern": f"^{_DATE}$"}


def _star_stands_alone(rules: tuple[str, ...]) -> tuple[str, ...]:
    if ALL_RULES in rules and len(rules) > 1:
        raise ValueError(_ALONE)
    return rules


def _read_date(value: object) -> object:
    # YAML readers make dates of what looks like one; kubectl's does not.
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    if isinstance(value, str) and re.fullmatch(_DATE, value):
        with contextlib.suppress(ValueError):
            return dt.date.fromisoformat(value)
    raise ValueError(f"{value!r:.64} is not a date; write one such as 2027-01-31")


class Exemption(ApiModel):
    """Findings that are accepted, with a reason. It silences this budget only."""

    namespace: DnsLabel
    """Namespace of the DaemonSet."""
    name: DnsSubdomain
    """Name of the DaemonSet."""
    rules: Annotated[
        tuple[Literal["*", RuleName], ...],
        Field(
            min_length=1,
            max_length=len(RULE_NAMES),
            strict=False,
            json_schema_extra={
                "x-kubernetes-list-type": "set",
                **validated(cel("!('*' in self) || size(self) == 1", _ALONE)),
            },
        ),
        AfterValidator(unique),
        AfterValidator(_star_stands_alone),
    ]
    """The rules that are silenced; \"*\" for all."""
    reason: Annotated[str, Text(r"(?s).*\S.*", "says nothing: give the reason, someone will ask", 1024)]
    """Why, for whoever reads it next year."""
    until: Annotated[dt.date | None, BeforeValidator(_read_date), WithJsonSchema(_DATE_SCHEMA)] = None
    """The last day on which it holds (UTC), such as 2027-01-31; without it, it holds for good."""

    def active(self, today: dt.date) -> bool:
        """Whether it still holds: through the end of its last day, UTC. Webhook, scan and CLI ask here."""
        return self.until is None or today <= self.until

    def covers(self, namespace: str, name: str, rule: str) -> bool:
        """Whether it is about this DaemonSet and this rule; ask `active` whether it still holds."""
        return (namespace, name) == (self.namespace, self.name) and (
            ALL_RULES in self.rules or rule in self.rules
        )
