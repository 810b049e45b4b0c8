"""The AuditReport as a pydantic model: the shape other programs may rely on.

Fields may be added, never renamed. All sizes are bytes. `docs/audit-report.schema.json` is
this model's JSON schema; a test fails when it is stale and says how to write it anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from watchbudget.report.words import no_surrogates

__all__ = ["API_VERSION", "AuditReport", "schema_text"]

API_VERSION = "watchbudget.io/v1alpha1"


def _storable(value: object) -> object:
    match value:
        case str():
            return no_surrogates(value)
        case Mapping():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
        case _:
            return value


Text = Annotated[str, BeforeValidator(_storable)]
"""Any text UTF-8 can hold. A manifest in JSON can hold half of a surrogate pair, which UTF-8 cannot."""

Patch = Annotated[list[dict[str, Any]], BeforeValidator(_storable)]
"""A JSON patch (RFC 6902)."""

ActionWord = Literal["Off", "Audit", "Annotate", "Warn", "Deny"]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)


class CensusEntry(_Part):
    """How many objects of a watched resource there are, and their stored size together."""

    group: Text
    resource: Text
    objects: int
    bytes: int
    source: Literal["metrics", "page", "flag", "assumed"]
    bytes_assumed: bool
    read_at: Text | None


class GrantEntry(_Part):
    """A path by which the service account may list or watch; `confirmed` by the API server's authorizer."""

    group: Text
    resource: Text
    verbs: list[Literal["list", "watch"]]
    scope: Literal["cluster", "namespaces", "named"]
    path: list[Text]
    namespaces: list[Text]
    names: list[Text]
    confirmed: bool | None


class AgentEntry(_Part):
    """The catalogue entry that recognised the DaemonSet."""

    id: Text
    title: Text
    container: Text
    version: Text | None


class NarrowingEntry(_Part):
    """The agent's own option to watch less, and what is lost with it."""

    option: Text
    since: Text | None
    lost_fields: list[Text]
    source: Text | None


class DemandEntry(_Part):
    """What the pods watch of one resource, and how that is known."""

    group: Text
    resource: Text
    watches: Literal["yes", "no", "depends", "unknown"]
    evidence: Literal["granted", "catalogue", "declared", "observed"]
    watchers_per_pod: int
    selector: Text | None
    reason: Text
    stack: Text | None
    agent: AgentEntry | None
    narrowing: NarrowingEntry | None
    sources: list[Text]


class MemoryEntry(_Part):
    """The memory limit of the pod; `watchingLimitBytes` is that of the container which holds the caches."""

    limit_complete: bool
    limit_bytes: int | None
    watching_limit_bytes: int | None
    missing: list[Text]


class StrategyEntry(_Part):
    """The update strategy as the API server fills it in."""

    type: Text
    max_unavailable: Text | None
    max_surge: Text | None


class LineEntry(_Part):
    """One resource's share of the bill, per pod.

    Not `certain`: it counts in the `upTo` figures only. `assumed`: priced by the
    nearest client library that was measured, because of `assumedBecause` or for want of any knowledge.
    """

    group: Text
    resource: Text
    certain: bool
    watchers: int
    objects: int
    stored_bytes: int
    cache_bytes: int
    peak_bytes: int
    list_bytes: int
    seats: int
    calibration: Text
    assumed: bool
    assumed_because: Text | None
    container: Text | None
    base_bytes: int


class UpToEntry(_Part):
    """The figures if everything uncertain is counted as a watch."""

    cache_per_pod_bytes: int
    peak_per_pod_bytes: int
    list_bytes_per_start: int
    cache_total_bytes: int


class BillEntry(_Part):
    """What the watches cost. `calibration` is the row of the dearest line, null where nothing is watched.

    `unpriced` names what is watched and was not counted: the figures leave it out.
    """

    cache_per_pod_bytes: int
    peak_per_pod_bytes: int
    base_bytes: int
    list_bytes_per_start: int
    seats_per_start: int
    cache_total_bytes: int
    list_bytes_if_all_restart: int
    calibration: Text | None
    up_to: UpToEntry
    unpriced: list[Text]
    lines: list[LineEntry]


class RemedyEntry(_Part):
    """What to change; `patch` is a JSON patch (RFC 6902) for `target`."""

    text: Text
    target: Text | None
    patch: Patch


class FindingEntry(_Part):
    """What one rule of one budget says. `exempted` holds the reason of the exemption that silences it."""

    rule: Text
    budget: Text
    action: ActionWord
    message: Text
    remedy: RemedyEntry
    exempted: Text | None
    freed_bytes: int


class DaemonSetEntry(_Part):
    """The judgement of one DaemonSet."""

    namespace: Text
    name: Text
    service_account: Text
    identity: Literal["serviceAccount", "kubeconfig", "none"]
    nodes: int
    source: Text
    grants: list[GrantEntry]
    demands: list[DemandEntry]
    memory: MemoryEntry
    update_strategy: StrategyEntry
    bill: BillEntry
    findings: list[FindingEntry]
    verdict: Literal["allow", "warn", "deny"]


class ProblemEntry(_Part):
    """What could not be read (`error`: the audit is incomplete) or had to be assumed (`warning`)."""

    severity: Literal["error", "warning"]
    source: Text
    object: Text | None
    field: Text | None
    message: Text


class TotalsEntry(_Part):
    """Sums over the fleet. `findings` counts per rule; exempted ones are left out."""

    daemon_sets: int
    cache_per_node_bytes: int
    cache_total_bytes: int
    cache_total_up_to_bytes: int
    list_bytes_if_all_restart: int
    freed_by_remedies_bytes: int
    findings: dict[Text, int]


class AuditReport(_Part):
    """What `watchbudget audit -o json` prints. DaemonSets come worst first."""

    api_version: Literal["watchbudget.io/v1alpha1"]
    kind: Literal["AuditReport"]
    generator: Text
    server_version: Text | None
    nodes: int
    nodes_source: Literal["cluster", "flag", "assumed"]
    budgets: list[Text]
    census: list[CensusEntry]
    daemon_sets: list[DaemonSetEntry]
    totals: TotalsEntry
    problems: list[ProblemEntry] = Field(description="Shown always: what the figures above do not cover.")


def schema_text() -> str:
    """The JSON schema of the report, as it is checked in under docs/."""
    schema = AuditReport.model_json_schema(by_alias=True, mode="serialization")
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
