"""Grants and demands as values. Permission is not behaviour: a demand always says how it is known."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Literal

from msgspec import Struct

from watchbudget.api.resources import GroupResource

__all__ = ["AgentMatch", "Demand", "Evidence", "Grant", "Identity", "Narrowing", "Watches"]

Identity = Literal["serviceAccount", "kubeconfig", "none"]


class Watches(StrEnum):
    """Whether the DaemonSet's pods watch the resource across the cluster."""

    YES = "yes"
    NO = "no"
    DEPENDS = "depends"
    UNKNOWN = "unknown"


class Evidence(Enum):
    """How we know, weakest to strongest. Ordered."""

    GRANTED = 1
    CATALOGUE = 2
    DECLARED = 3
    OBSERVED = 4

    def __str__(self) -> str:
        return self.name.lower()

    def __lt__(self, other: Evidence) -> bool:
        return self.value < other.value

    def __le__(self, other: Evidence) -> bool:
        return self.value <= other.value

    @classmethod
    def parse(cls, text: str) -> Evidence:
        """Read the lower-case word. Raises KeyError for any other."""
        return cls[text.upper()]


class Grant(Struct, frozen=True):
    """The RBAC path by which a service account may list or watch a resource, and how far it reaches.

    `verbs` holds list and watch only. `path` is binding and role, `confirmed` what the
    server's own SubjectAccessReview said of the cluster scope (None: not asked).
    """

    resource: GroupResource
    verbs: tuple[str, ...]
    scope: Literal["cluster", "namespaces", "named"]
    path: tuple[str, ...]
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    confirmed: bool | None = None


class Narrowing(Struct, frozen=True):
    """The agent's own way to watch less: option, since which version, and what is lost then.

    `frees_memory` is False where it only moves the watch: Calico's Typha spares the API
    server, but every pod goes on holding what Typha sends it. `ends_function` is True where the
    price is the agent's very work (enforcing network policies): nobody should count on that.
    """

    option: str
    since: str | None = None
    lost_fields: tuple[str, ...] = ()
    source: str | None = None
    frees_memory: bool = True
    ends_function: bool = False


class AgentMatch(Struct, frozen=True):
    """The catalogue entry that recognised a DaemonSet, and by which container."""

    agent: str  # id of the entry: "vector"
    title: str  # "Vector"
    container: str
    version: str | None  # from the image tag, "0.50.0"; None if it says nothing


class Demand(Struct, frozen=True):
    """What one DaemonSet watches of one resource.

    `watchers_per_pod` counts separate full copies in one pod (0 when it watches nothing).
    `stack` names the client library for the calibration ("client-go", "kube-rs", ...).
    `stack_assumed` says why that library is only the nearest one we have, None where it is known.
    `selector` is one that the server applies; a client-side filter saves nothing and is not one.
    """

    resource: GroupResource
    watches: Watches
    evidence: Evidence
    reason: str
    watchers_per_pod: int = 1
    selector: str | None = None
    stack: str | None = None
    stack_assumed: str | None = None
    agent: AgentMatch | None = None
    narrowing: Narrowing | None = None
    sources: tuple[str, ...] = ()  # where the claim comes from: links, files at a commit

    def because(self, reason: str) -> Demand:
        """The same demand for another reason.

        Written out, as admission asks it for each: `dataclasses.replace` goes through all fields by name.
        """
        return Demand(
            self.resource,
            self.watches,
            self.evidence,
            reason,
            self.watchers_per_pod,
            self.selector,
            self.stack,
            self.stack_assumed,
            self.agent,
            self.narrowing,
            self.sources,
        )
