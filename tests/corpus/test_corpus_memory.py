"""Completeness of memory limits equals the truth of every real DaemonSet."""

from __future__ import annotations

import json
from pathlib import Path

from watchbudget.inventory import manifests
from watchbudget.policy.memory import memory_of


def test_memory_limit_completeness_on_every_daemon_set(corpus: Path):
    wrong, seen = [], 0
    for path in sorted(corpus.glob("*/truth.json")):
        truth = json.loads(path.read_text())
        fleet = manifests.load([path.parent], default_namespace=truth["default_namespace"])
        items = {item.key: item for item in fleet.daemon_sets}
        for expected in truth["daemonsets"]:
            seen += 1
            item = items[expected["namespace"], expected["name"]]
            memory = memory_of(item, fleet.limit_ranges)
            limits = [limit for _, limit in memory.by_container]
            partial = not memory.limit_complete and any(limits)
            missing = {
                name for name, entry in expected["memory_by_container"].items() if entry["limit"] is None
            }
            ours = (memory.limit_complete, partial, set(memory.missing))
            theirs = (expected["has_memory_limit"], expected["has_memory_limit_partial"], missing)
            if ours != theirs:
                wrong.append(f"{path.parent.name}: {item.title}: {ours}, truth {theirs}")
    assert not wrong
    assert seen >= 90
