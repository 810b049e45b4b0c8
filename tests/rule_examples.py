"""One finding of each rule, as the pages in docs/rules show it."""

from __future__ import annotations

from policy_samples import MIB, OPTION, TODAY, budget, context, daemon_set, demand
from watchbudget.demand.model import Demand
from watchbudget.inventory.fleet import Container, DaemonSet, UpdateStrategy
from watchbudget.policy.findings import findings_of
from watchbudget.policy.model import Finding

__all__ = ["example"]

_LIMITS = {"cachePerPod": "16Mi", "cachePerNode": "64Mi", "cacheTotal": "10Gi"}


def _seen_by(rule: str) -> tuple[Demand, DaemonSet]:
    """What is wrong in the example of this rule."""
    containers = (Container("agent", "example.org/agent:2.1.0"),)
    if rule == "memory-limit-below-peak":
        containers = (Container("agent", "example.org/agent:2.1.0", memory_limit=64 * MIB),)
    unavailable = "100%" if rule == "rollout-too-wide" else "1"
    item = daemon_set(
        containers=containers, update_strategy=UpdateStrategy("RollingUpdate", unavailable, "0")
    )
    return demand(narrowing=OPTION, watchers_per_pod=2 if rule == "duplicate-watch" else 1), item


def example(rule: str) -> Finding:
    """The finding that a cluster of 100 nodes and 10,000 namespaces would get."""
    watch, item = _seen_by(rule)
    rules = [{"name": "node-selector-missing", "action": "Warn"}]
    of = budget(
        "platform",
        limits=_LIMITS,
        enforcement={"action": "Warn", "rules": rules},
        rollout={"gate": rule == "low-priority-agent", "maxConcurrentStarts": 5000, "maxUnavailable": 5000},
    )
    seen = context(watch, item=item, of=of, node_bytes=100 * MIB, total_bytes=12 * 1024 * MIB)
    return next(finding for finding in findings_of(seen, TODAY) if finding.rule == rule)
