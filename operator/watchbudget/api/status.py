"""What the operator reports in a WatchBudget. Figures are rounded to two digits, so that they stay put."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError, WithJsonSchema

from watchbudget.api.fields import ApiModel, Count

__all__ = [
    "CONDITION_TYPES",
    "MAX_ROLLOUTS",
    "MAX_WORST",
    "BillStatus",
    "CensusStatus",
    "Condition",
    "Counts",
    "DaemonSetStatus",
    "RolloutStatus",
    "Starts",
    "WatchBudgetStatus",
    "read_status",
]

CONDITION_TYPES = ("Accepted", "Compliant", "WithinBudget", "Progressing", "CensusFresh")
"""The conditions we write. All appear with status Unknown before the first judgement."""

MAX_WORST = 10
MAX_ROLLOUTS = 20
"""Lists in status stay short: `watchbudget audit` tells the rest."""

_Name = Annotated[str, Field(max_length=253)]
_Word = Annotated[str, Field(max_length=128)]
_Message = Annotated[str, Field(max_length=1024)]
_Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
_Figure = Annotated[str, Field(max_length=16, pattern=r"^[0-9]+(\.[0-9]+)?([KMGTPE]i)?$")]


class Condition(ApiModel):
    """A metav1.Condition."""

    type: Annotated[
        str,
        Field(
            max_length=316, pattern=r"^([-a-z0-9.]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
        ),
    ]
    """Accepted, Compliant, WithinBudget, Progressing or CensusFresh."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    observed_generation: Annotated[int | None, Field(ge=0)] = None
    """The metadata.generation of the budget that this is about."""
    last_transition_time: _Time
    """When the status last changed."""
    reason: Annotated[
        str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ]
    """Why, in one CamelCase word."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, for people."""


class Counts(ApiModel):
    """How many DaemonSets."""

    governed: Count
    """DaemonSets this budget governs."""
    watching: Count | None = None
    """Those of them that watch a priced resource."""
    uncertain: Count | None = None
    """Those of them of which that is not known."""
    violating: Count
    """Those with a finding at Annotate or above that is not exempted."""
    warned: Count | None = None
    """Those that get a warning when they are applied."""
    denied: Count | None = None
    """Those that would be refused if they were applied today."""
    exempted: Count | None = None
    """Those with a finding that an exemption silences."""


class BillStatus(ApiModel):
    """What the watches of the governed DaemonSets cost, rounded to two digits."""

    cache_per_node: _Figure
    """Cache memory on the worst node, all governed DaemonSets together."""
    cache_per_node_up_to: _Figure | None = None
    """The same, if every DaemonSet that may watch does."""
    cache_total: _Figure
    """Cache memory on all nodes together."""
    cache_total_up_to: _Figure | None = None
    """The same, if every DaemonSet that may watch does."""
    list_bytes_if_all_restart: _Figure | None = None
    """What the API server is asked for when all their pods start at once."""
    freed_by_remedies: _Figure | None = None
    """How much of the total the remedies of the findings would free."""


class DaemonSetStatus(ApiModel):
    """One of the most expensive DaemonSets."""

    namespace: _Name
    """Its namespace."""
    name: _Name
    """Its name."""
    verdict: Literal["allow", "warn", "deny"]
    """What the findings come to."""
    evidence: Literal["granted", "catalogue", "declared", "observed"]
    """How it is known that it watches."""
    nodes: Count
    """Nodes it runs on."""
    cache_per_pod: _Figure
    """Cache memory of one of its pods."""
    cache_total: _Figure
    """Cache memory of all its pods."""
    findings: Annotated[tuple[_Word, ...], Field(max_length=16, strict=False)] = ()
    """Rules that found fault with it."""


class Starts(ApiModel):
    """Pods that start under this budget."""

    in_flight: Count
    """Pods with a permit that are not done starting."""
    held: Count | None = None
    """Pods that wait for a permit."""
    permits: Count | None = None
    """How many may start at once at present."""
    blocked: Count | None = None
    """Pods that could not use their permit."""
    paused_reason: _Word | None = None
    """Why nothing is started at present, in one CamelCase word; absent while starts go on."""
    message: _Message | None = None
    """The same for people."""


class RolloutStatus(ApiModel):
    """A DaemonSet whose pods are being replaced."""

    namespace: _Name
    """Its namespace."""
    name: _Name
    """Its name."""
    nodes: Count
    """Nodes it should run on."""
    updated: Count
    """Nodes with a pod of the new version, held ones too."""
    ready: Count | None = None
    """Nodes where it is ready."""
    held: Count | None = None
    """Its pods that wait for a permit."""
    in_flight: Count | None = None
    """Its pods with a permit that are not done starting."""
    failed: Count | None = None
    """Its starts that failed in the last ten minutes."""
    paused_reason: _Word | None = None
    """Why it is paused, in one CamelCase word; absent while it goes on."""
    started_at: _Time | None = None
    """When it began."""


class CensusStatus(ApiModel):
    """How much there is of a priced resource."""

    group: _Name
    """API group."""
    resource: _Name
    """Plural name."""
    objects: Count
    """How many objects, rounded to two digits."""
    bytes: _Figure
    """What they take where they are stored, rounded to two digits."""
    source: Literal["metrics", "page", "flag", "assumed"]
    """Where that was read: the API server's metrics, or a small page of a list."""
    read_at: _Time
    """When it was read."""


_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["namespace", "name"]}


class WatchBudgetStatus(ApiModel):
    """What the operator found. `watchbudget audit` shows the details."""

    observed_generation: Annotated[int | None, Field(ge=0)] = None
    """The metadata.generation of the budget that was judged."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            strict=False,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """Accepted: the budget can be followed. Compliant: no finding at Annotate or above that is not exempted.
    WithinBudget: no limit is exceeded. Progressing: starts or rollouts are under way. CensusFresh: the
    figures rest on a recent census."""
    counts: Counts | None = None
    """How many DaemonSets are governed, and how many have findings."""
    bill: BillStatus | None = None
    """What the watches cost."""
    starts: Starts | None = None
    """Pods that start or wait to start."""
    worst: Annotated[
        tuple[DaemonSetStatus, ...],
        Field(max_length=MAX_WORST, strict=False, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = ()
    """The most expensive DaemonSets, worst first; at most ten."""
    rollouts: Annotated[
        tuple[RolloutStatus, ...], Field(max_length=MAX_ROLLOUTS, strict=False, json_schema_extra=_BY_NAME)
    ] = ()
    """Rollouts in progress, at most twenty."""
    census: Annotated[
        tuple[CensusStatus, ...],
        Field(
            max_length=16,
            strict=False,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["group", "resource"],
            },
        ),
    ] = ()
    """How many objects there are to watch, and how large they are."""


def read_status(raw: object) -> WatchBudgetStatus | None:
    """What a stored status says, as far as it can be read; None where there is none.

    Another version may have written other fields. The conditions that can be read are kept even then,
    because when they last changed is known from nowhere else.
    """
    if not isinstance(raw, Mapping):
        return None
    try:
        return WatchBudgetStatus.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError:
        listed = raw.get("conditions")
    kept = []
    for each in listed if isinstance(listed, list) else ():
        try:
            kept.append(Condition.model_validate(each, by_alias=True, by_name=False))
        except ValidationError:
            continue
    return WatchBudgetStatus(conditions=tuple(kept[:16]))
