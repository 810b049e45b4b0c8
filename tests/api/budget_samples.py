"""Valid and invalid WatchBudgets, for the API server and for us alike."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml


class _Loader(yaml.SafeLoader):
    """Reads dates as text, as kubectl does; `Off` is false to both."""


_Loader.yaml_implicit_resolvers = {
    first: [entry for entry in resolvers if entry[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Invalid(NamedTuple):
    name: str
    spec: Any
    field: str
    server: str
    ours: str


def budget(spec: object, name: str = "sample") -> dict[str, Any]:
    return {
        "apiVersion": "watchbudget.io/v1alpha1",
        "kind": "WatchBudget",
        "metadata": {"name": name},
        "spec": spec,
    }


def _load(file: str) -> list[dict[str, Any]]:
    return yaml.load((Path(__file__).parent / file).read_text(), Loader=_Loader)  # noqa: S506 - a safe one


VALID: dict[str, Any] = {each["name"]: each["spec"] for each in _load("valid_budgets.yaml")}
INVALID: list[Invalid] = [Invalid(**each) for each in _load("invalid_budgets.yaml")]

FULL_STATUS: dict[str, Any] = {
    "observedGeneration": 3,
    "conditions": [
        {
            "type": kind,
            "status": status,
            "observedGeneration": 3,
            "lastTransitionTime": "2026-11-24T00:00:00Z",
            "reason": reason,
            "message": message,
        }
        for kind, status, reason, message in (
            ("Accepted", "True", "Valid", "the budget is followed"),
            ("Compliant", "False", "Findings", "4 DaemonSets have findings"),
            ("WithinBudget", "False", "OverNodeLimit", "310 MiB on the worst node, 256 MiB are allowed"),
            ("Progressing", "True", "Starting", "17 pods start, 83 wait"),
            ("CensusFresh", "True", "Read", "read 20 s ago"),
        )
    ],
    "counts": {
        "governed": 23,
        "watching": 11,
        "uncertain": 2,
        "violating": 4,
        "warned": 3,
        "denied": 1,
        "exempted": 1,
    },
    "bill": {
        "cachePerNode": "310Mi",
        "cachePerNodeUpTo": "340Mi",
        "cacheTotal": "1.5Ti",
        "cacheTotalUpTo": "1.7Ti",
        "listBytesIfAllRestart": "96Gi",
        "freedByRemedies": "1.2Ti",
    },
    "starts": {
        "inFlight": 17,
        "held": 83,
        "permits": 20,
        "blocked": 1,
        "pausedReason": "TooManyFailures",
        "message": "5 of 60 starts failed in the last ten minutes",
    },
    "worst": [
        {
            "namespace": "logging",
            "name": "vector",
            "verdict": "deny",
            "evidence": "catalogue",
            "nodes": 5000,
            "cachePerPod": "200Mi",
            "cacheTotal": "980Gi",
            "findings": ["memory-limit-missing", "over-node-limit"],
        }
    ],
    "rollouts": [
        {
            "namespace": "logging",
            "name": "vector",
            "nodes": 5000,
            "updated": 120,
            "ready": 4900,
            "held": 83,
            "inFlight": 17,
            "failed": 5,
            "pausedReason": "TooManyFailures",
            "startedAt": "2026-11-24T00:00:00Z",
        }
    ],
    "census": [
        {
            "group": "",
            "resource": "namespaces",
            "objects": 10000,
            "bytes": "10Mi",
            "source": "metrics",
            "readAt": "2026-11-24T00:00:00Z",
        }
    ],
}
