"""What is kept of a DaemonSet whose pods start. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from watchbudget.api.budget import GROUP
from watchbudget.inventory.fleet import DaemonSet
from watchbudget.rollout.gate import paused_of
from watchbudget.rollout.model import Terms

__all__ = ["RESUMED", "Looked", "read_looked", "selector_text"]

RESUMED = f"{GROUP}/resumed"
"""Annotation by which the owner of a DaemonSet accepts the failures of a revision: its
`controller-revision-hash`. What comes after that revision is looked at anew."""


class Looked(Struct, frozen=True):
    """A DaemonSet as it was at the last look.

    Attributes:
        uid: of the DaemonSet.
        selector: of its pods, as a label selector; empty if it cannot be told.
        surges: it starts new pods beside old ones, so that a held pod's node may have a copy.
        on_delete: its strategy is OnDelete.
        current: its controller has seen the newest template: the counters are about that.
        nodes: it should run on.
        updated: nodes that have a pod of the newest template, held ones too.
        ready: nodes where it is ready.
        paused: why its owner holds its starts; None if they go on.
        resumed: the revision whose failures its owner accepts.
        copies: nodes with a ready pod of it, where that was asked.
    """

    uid: str = ""
    selector: str = ""
    surges: bool = False
    on_delete: bool = False
    current: bool = False
    nodes: int = 0
    updated: int = 0
    ready: int = 0
    paused: str | None = None
    resumed: str | None = None
    copies: frozenset[str] | None = None

    @property
    def behind(self) -> bool:
        """Whether nodes are left that do not run the newest template."""
        return not self.current or self.updated < self.nodes

    def vacant(self, node: str) -> bool:
        """Whether a held pod's node is without a running copy.

        Without surge it always is: a pod is created only then (`podsShouldBeOnNode` in
        pkg/controller/daemon/daemon_controller.go).
        """
        return node not in self.copies if self.surges and self.copies is not None else not self.surges

    def amend(self, terms: Terms) -> Terms:
        """The judgement's terms with what is newer here."""
        return replace(
            terms,
            paused=self.paused,
            forgiven=self.resumed or terms.forgiven,
            updated=self.updated if self.current else terms.updated,
        )


def read_looked(raw: Mapping[str, Any]) -> Looked:
    """What is kept of a DaemonSet. Takes any fields."""
    metadata, spec, status = (_mapping(raw, field) for field in ("metadata", "spec", "status"))
    strategy = _mapping(spec, "updateStrategy")
    said = _mapping(metadata, "annotations")
    annotations = {key: value for key, value in said.items() if isinstance(value, str)}
    surge = _mapping(strategy, "rollingUpdate").get("maxSurge")
    return Looked(
        uid=str(metadata.get("uid") or ""),
        selector=selector_text(_mapping(spec, "selector")),
        surges=strategy.get("type") == "RollingUpdate" and surge not in (None, 0, "0", "0%"),
        on_delete=strategy.get("type") == "OnDelete",
        current=_count(status, "observedGeneration") >= _count(metadata, "generation"),
        nodes=_count(status, "desiredNumberScheduled"),
        updated=_count(status, "updatedNumberScheduled"),
        ready=_count(status, "numberReady"),
        paused=paused_of(DaemonSet("", "", annotations=annotations)),
        resumed=annotations.get(RESUMED) or None,
    )


def selector_text(selector: Mapping[str, Any]) -> str:
    """A `metav1.LabelSelector` as a query writes it; empty where it cannot be read."""
    labels = _mapping(selector, "matchLabels")
    terms = [f"{key}={value}" for key, value in sorted(labels.items()) if isinstance(value, str)]
    for each in _mappings(selector, "matchExpressions"):
        key, operator, values = each.get("key"), each.get("operator"), each.get("values")
        listed = f"({','.join(map(str, values))})" if isinstance(values, list) else "()"
        forms = {
            "In": f"{key} in {listed}",
            "NotIn": f"{key} notin {listed}",
            "Exists": f"{key}",
            "DoesNotExist": f"!{key}",
        }
        if operator not in forms:
            return ""
        terms.append(forms[str(operator)])
    return ",".join(terms)


def _count(raw: Mapping[str, Any], field: str) -> int:
    value = raw.get(field)
    return max(0, value) if isinstance(value, int) else 0


def _mapping(raw: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = raw.get(field)
    return value if isinstance(value, Mapping) else {}


def _mappings(raw: Mapping[str, Any], field: str) -> Iterator[Mapping[str, Any]]:
    value = raw.get(field)
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else iter(())
