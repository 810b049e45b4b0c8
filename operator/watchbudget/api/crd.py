"""The CustomResourceDefinition of WatchBudget. `make crds` writes it to crds/."""

from __future__ import annotations

from typing import Any

import yaml

from watchbudget.api.budget import GROUP, KIND, VERSION
from watchbudget.api.spec import WatchBudgetSpec
from watchbudget.api.status import WatchBudgetStatus
from watchbudget.api.structural import structural_schema

__all__ = ["NAME", "crd", "crd_yaml"]

PLURAL = "watchbudgets"
NAME = f"{PLURAL}.{GROUP}"

_HEADER = "# Generated from the models in operator/watchbudget/api by `make crds`. Do not edit.\n"

_DESCRIPTION = (
    "A WatchBudget prices what node agents' watches cost the cluster, limits it, and lets their pods start "
    "only as fast as the API server can serve their lists."
)


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


# One line tells the story: what is done about it, about how many, what it costs, what is going on.
_COLUMNS = (
    ("Action", "string", ".spec.enforcement.action", "What happens to a DaemonSet with a finding"),
    ("Governed", "integer", ".status.counts.governed", "DaemonSets governed"),
    ("Violating", "integer", ".status.counts.violating", "DaemonSets with a finding that is not exempted"),
    ("Per-Node", "string", ".status.bill.cachePerNode", "Cache memory on the worst node"),
    ("Total", "string", ".status.bill.cacheTotal", "Cache memory on all nodes together"),
    ("In-Flight", "integer", ".status.starts.inFlight", "Pods that start under a permit"),
    ("Compliant", "string", _condition("Compliant", "status"), "Whether no finding is open"),
    ("Age", "date", ".metadata.creationTimestamp", "Time since it was created"),
)
_WIDE_COLUMNS = (
    ("Within-Budget", "string", _condition("WithinBudget", "status"), "Whether no limit is exceeded"),
    ("Limit-Pod", "string", ".spec.limits.cachePerPod", "Limit of one pod's caches"),
    ("Limit-Node", "string", ".spec.limits.cachePerNode", "Limit of a node's caches"),
    ("Limit-Total", "string", ".spec.limits.cacheTotal", "Limit of all caches"),
    ("Up-To", "string", ".status.bill.cacheTotalUpTo", "Total if all that may watch do"),
    ("Worst", "string", ".status.worst[0].name", "The most expensive DaemonSet"),
    ("Evidence", "string", ".spec.enforcement.minimumEvidence", "What counts as watching"),
    ("Denied", "integer", ".status.counts.denied", "DaemonSets that would be refused today"),
    ("Permits", "integer", ".status.starts.permits", "How many pods may start at once at present"),
    ("Held", "integer", ".status.starts.held", "Pods that wait for a permit"),
    ("Paused", "string", ".status.starts.pausedReason", "Why nothing is started at present"),
    ("Census-Fresh", "string", _condition("CensusFresh", "status"), "Whether the figures are recent"),
    ("Reason", "string", _condition("Compliant", "reason"), "Why it is compliant or not"),
)


def crd() -> dict[str, Any]:
    """The definition as the API server takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": NAME,
            "labels": {"app.kubernetes.io/name": "watchbudget", "app.kubernetes.io/part-of": "watchbudget"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["wb"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        *(_column(*column) for column in _COLUMNS),
                        *(_column(*column) | {"priority": 1} for column in _WIDE_COLUMNS),
                    ],
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }


def crd_yaml() -> str:
    """The definition as the file in crds/: the same text every time."""
    text: str = yaml.dump(crd(), Dumper=_NoAliases, sort_keys=False, width=110, allow_unicode=True)
    return _HEADER + text


class _NoAliases(yaml.SafeDumper):
    """Writes what occurs twice twice: the file is for people, and for tools that know no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - the base class's signature
        return True


def _column(name: str, kind: str, path: str, description: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path, "description": description}


def _schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": _DESCRIPTION,
        # An empty spec is a fine budget; a forgotten one is more likely a mistake.
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this schema."},
            "kind": {"type": "string", "description": "WatchBudget."},
            "metadata": {"type": "object"},
            "spec": structural_schema(WatchBudgetSpec),
            "status": structural_schema(WatchBudgetStatus),
        },
    }
