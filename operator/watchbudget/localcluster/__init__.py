"""A real Kubernetes control plane on this machine, for demo, tests and benchmarks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchbudget.localcluster.cluster import LocalCluster
    from watchbudget.localcluster.errors import LocalClusterError
    from watchbudget.localcluster.seed import SeedResult

__all__ = ["LocalCluster", "LocalClusterError", "SeedResult"]

_HOMES = {"LocalCluster": "cluster", "LocalClusterError": "errors", "SeedResult": "seed"}


def __getattr__(name: str) -> object:
    """Import on first use: every pytest run loads this package for its plugin, few need more of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
