"""Findings and verdicts as values. The same ones reach the command line, the webhook and the status."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum

from msgspec import Struct, field

from watchbudget.cost.model import Bill
from watchbudget.demand.model import Demand, Evidence, Grant, Identity
from watchbudget.inventory.fleet import DaemonSet, Fleet, Problem

__all__ = [
    "Action",
    "Audit",
    "Finding",
    "Judgement",
    "Memory",
    "Ranked",
    "Remedy",
    "Standing",
    "Totals",
    "Verdict",
]


class Action(Enum):
    """The ladder: each step does what the ones before it do. OFF turns a rule off."""

    OFF = 0
    AUDIT = 1
    ANNOTATE = 2
    WARN = 3
    DENY = 4

    def __str__(self) -> str:
        return self.name.capitalize()

    def __lt__(self, other: Action) -> bool:
        return self.value < other.value

    def __le__(self, other: Action) -> bool:
        return self.value <= other.value

    @classmethod
    def parse(cls, text: str) -> Action:
        """Read the word as the API writes it (`Warn`). Raises KeyError for any other."""
        return cls[text.upper()]


class Verdict(StrEnum):
    """What the findings of all budgets come to: the strictest wins."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"


class Remedy(Struct, frozen=True):
    """What to change. `patch` is a JSON patch (RFC 6902) for `target`; empty where none can be given."""

    text: str
    target: str | None = None  # "DaemonSet logging/vector", "ClusterRole/vector"
    patch: tuple[Mapping[str, object], ...] = ()


class Finding(Struct, frozen=True):
    """What one rule of one budget says of one DaemonSet.

    `exempted` carries the reason of the exemption that silences it; such a finding is shown
    and counts for nothing. `freed_bytes` is what the remedy would free on all nodes together.
    """

    rule: str
    budget: str
    action: Action
    message: str
    remedy: Remedy
    exempted: str | None = None
    freed_bytes: int = 0
    weight: tuple[int, ...] = ()  # how bad, by the DaemonSet's own doing: rules/rule.py


class Memory(Struct, frozen=True):
    """The memory limit that a relist must fit into.

    `limit_complete`: every long-running container has one (LimitRange defaults count), or the
    pod as a whole has. `limit_bytes` is their sum or the pod's own, None where incomplete;
    `watching_limit_bytes` that of the container which holds the caches, where it is known.
    """

    limit_complete: bool
    limit_bytes: int | None
    watching_limit_bytes: int | None
    missing: tuple[str, ...] = ()  # containers without a limit
    by_container: tuple[tuple[str, int | None], ...] = ()  # what each long-running container may use


class Judgement(Struct, frozen=True):
    """All there is to say of one DaemonSet."""

    daemon_set: DaemonSet
    identity: Identity
    grants: tuple[Grant, ...]
    demands: tuple[Demand, ...]
    memory: Memory
    bill: Bill
    findings: tuple[Finding, ...]
    verdict: Verdict
    problems: tuple[Problem, ...] = ()  # what the owner says and cannot be understood


class Totals(Struct, frozen=True):
    """Sums over the fleet, bytes. `cache_per_node` is the worst node's."""

    daemon_sets: int = 0
    cache_per_node: int = 0
    cache_total: int = 0
    cache_total_up_to: int = 0
    list_bytes_if_all_restart: int = 0
    freed_by_remedies: int = 0
    findings: Mapping[str, int] = field(default_factory=dict)  # rule -> number, exempted ones left out


class Ranked(Struct, frozen=True):
    """A DaemonSet that is named among many, as one budget sees it. Bytes; rules that are not exempted."""

    namespace: str
    name: str
    verdict: Verdict
    evidence: Evidence  # the strongest of what counts as a watch
    nodes: int
    cache_per_pod: int
    cache_total: int
    findings: tuple[str, ...] = ()


class Standing(Struct, frozen=True):
    """Where the fleet stands under one budget: numbers of DaemonSets, and bytes.

    `uncertain` do not count as watching, but may watch. `violating` have an unexempted finding at Annotate
    or above, `audited` only ones below that, `exempted` one that is exempted. `findings` counts DaemonSets
    by rule, exempted findings left out; `over` those of the limits' rules, exempted ones included: that a
    limit is exceeded stays true when it is accepted. `worst` are the dearest, `violators` the first to name.
    """

    budget: str
    governed: int = 0
    watching: int = 0
    uncertain: int = 0
    violating: int = 0
    warned: int = 0
    denied: int = 0
    exempted: int = 0
    audited: int = 0
    cache_per_pod: int = 0  # the dearest one's
    cache_per_node: int = 0
    cache_per_node_up_to: int = 0
    cache_total: int = 0
    cache_total_up_to: int = 0
    list_bytes_if_all_restart: int = 0
    freed_by_remedies: int = 0
    findings: Mapping[str, int] = field(default_factory=dict)
    over: Mapping[str, int] = field(default_factory=dict)
    worst: tuple[Ranked, ...] = ()
    violators: tuple[Ranked, ...] = ()


class Audit(Struct, frozen=True):
    """The judgement of a whole fleet, worst first. `standings` has one entry for each of `budgets`."""

    fleet: Fleet
    budgets: tuple[str, ...]
    judgements: tuple[Judgement, ...]
    totals: Totals
    problems: tuple[Problem, ...] = ()
    standings: tuple[Standing, ...] = ()
