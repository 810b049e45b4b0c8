"""Every real agent's manifests are read without an error, and as the truth beside them says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from watchbudget.api.quantity import parse_quantity
from watchbudget.inventory import manifests
from watchbudget.inventory.fleet import DaemonSet, Fleet

Pair = tuple[dict[str, Any], DaemonSet]


def loaded(folder: Path) -> tuple[dict[str, Any], Fleet]:
    truth = json.loads((folder / "truth.json").read_text())
    return truth, manifests.load([folder], default_namespace=truth["default_namespace"])


@pytest.fixture(scope="module")
def fleets(corpus: Path) -> dict[str, tuple[dict[str, Any], Fleet]]:
    return {path.parent.name: loaded(path.parent) for path in sorted(corpus.glob("*/truth.json"))}


@pytest.fixture(scope="module")
def pairs(fleets: dict[str, tuple[dict[str, Any], Fleet]]) -> list[Pair]:
    def found() -> Iterator[Pair]:
        for truth, fleet in fleets.values():
            by_key = {item.key: item for item in fleet.daemon_sets}
            for expected in truth["daemonsets"]:
                yield expected, by_key[expected["namespace"], expected["name"]]

    return list(found())


def differences(
    pairs: list[Pair], expected: Callable[[dict[str, Any]], object], read: Callable[[DaemonSet], object]
) -> list[str]:
    return [
        f"{item.title}: expected {expected(truth)}, read {read(item)}"
        for truth, item in pairs
        if expected(truth) != read(item)
    ]


def bytes_of(quantity: str | None) -> int | None:
    return None if quantity is None else parse_quantity(quantity)


def memory(item: DaemonSet, *, init: bool) -> dict[str, tuple[int | None, int | None]]:
    return {c.name: (c.memory_request, c.memory_limit) for c in item.containers if c.init is init}


def expected_memory(containers: dict[str, dict[str, str | None]]) -> dict[str, tuple[int | None, int | None]]:
    return {
        name: (bytes_of(entry["request"]), bytes_of(entry["limit"])) for name, entry in containers.items()
    }


def test_no_folder_has_an_error(fleets: dict[str, tuple[dict[str, Any], Fleet]]):
    assert len(fleets) >= 80
    errors = [str(p) for _, fleet in fleets.values() for p in fleet.problems if p.severity == "error"]
    assert not errors


def test_the_daemon_sets_are_those_of_the_truth(fleets: dict[str, tuple[dict[str, Any], Fleet]]):
    for folder, (truth, fleet) in fleets.items():
        expected = sorted((item["namespace"], item["name"]) for item in truth["daemonsets"])
        assert sorted(item.key for item in fleet.daemon_sets) == expected, folder


def test_service_accounts(pairs: list[Pair]):
    assert not differences(pairs, lambda t: t["serviceAccount"], lambda d: d.service_account)


def test_memory_of_containers(pairs: list[Pair]):
    assert not differences(
        pairs, lambda t: expected_memory(t["memory_by_container"]), lambda d: memory(d, init=False)
    )


def test_memory_of_init_containers(pairs: list[Pair]):
    assert not differences(
        pairs, lambda t: expected_memory(t["memory_by_init_container"]), lambda d: memory(d, init=True)
    )


def test_update_strategies(pairs: list[Pair]):
    def expected(truth: dict[str, Any]) -> tuple[str, str | None, str | None]:
        if truth["update_strategy"] == "OnDelete":
            return "OnDelete", None, None
        surge = "0" if truth["maxSurge"] is None else str(truth["maxSurge"])
        return truth["update_strategy"], str(truth["maxUnavailable"]), surge

    def read(item: DaemonSet) -> tuple[str, str | None, str | None]:
        strategy = item.update_strategy
        return strategy.type, strategy.max_unavailable, strategy.max_surge

    assert not differences(pairs, expected, read)


def test_host_network(pairs: list[Pair]):
    assert not differences(pairs, lambda t: t["hostNetwork"], lambda d: d.host_network)


def test_node_selectors(pairs: list[Pair]):
    assert not differences(pairs, lambda t: t["nodeSelector"] or {}, lambda d: dict(d.node_selector))


def test_node_affinity(pairs: list[Pair]):
    assert not differences(pairs, lambda t: t["has_node_affinity"], lambda d: d.has_node_affinity)


def test_automounting_of_the_token(fleets: dict[str, tuple[dict[str, Any], Fleet]]):
    for folder, (truth, fleet) in fleets.items():
        accounts = {
            (account.namespace, account.name): account.automount for account in fleet.service_accounts
        }
        by_key = {item.key: item for item in fleet.daemon_sets}
        for expected in truth["daemonsets"]:
            item = by_key[expected["namespace"], expected["name"]]
            read = {
                "pod": item.automount,
                "serviceAccount": accounts.get((item.namespace, item.service_account)),
            }
            assert read == expected["automountServiceAccountToken"], folder
            assert ((item.namespace, item.service_account) in accounts) is expected[
                "serviceAccount_in_set"
            ], folder
