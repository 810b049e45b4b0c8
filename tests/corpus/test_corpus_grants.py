"""Grants of every real agent of the corpus, against what was found by hand and recorded beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from watchbudget.api.resources import DEFAULT_WATCHED
from watchbudget.demand.authorizer import Authorizer, subject_keys
from watchbudget.demand.grants import accounts_by_key, effective_verbs, grants_of, identity_of, rbac_known
from watchbudget.inventory import manifests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from watchbudget.demand.model import Grant
    from watchbudget.inventory.fleet import DaemonSet, Fleet

    Agent = tuple[dict[str, Any], DaemonSet, Fleet, Authorizer]

RECORDED = ("list_namespaces", "watch_namespaces", "list_networkpolicies_k8s", "watch_networkpolicies_k8s")
"""The recorded answers, in the order of DEFAULT_WATCHED and of the verbs list, watch."""


@pytest.fixture(scope="module")
def agents(corpus: Path) -> list[Agent]:
    """Every DaemonSet with its truth, the fleet of its folder and that fleet's authorizer."""
    return list(_agents(corpus))


def _agents(corpus: Path) -> Iterator[Agent]:
    for path in sorted(corpus.glob("*/truth.json")):
        truth = json.loads(path.read_text())
        manifest_files = sorted({*path.parent.rglob("*.yaml"), *path.parent.rglob("*.yml")})
        fleet = manifests.load(manifest_files, default_namespace=truth["default_namespace"])
        authorizer = Authorizer.of(fleet)
        by_key = {daemon_set.key: daemon_set for daemon_set in fleet.daemon_sets}
        for entry in truth["daemonsets"]:
            yield entry, by_key[entry["namespace"], entry["name"]], fleet, authorizer


def _grants(daemon_set: DaemonSet, fleet: Fleet, authorizer: Authorizer) -> tuple[Grant, ...]:
    return grants_of(daemon_set, fleet, authorizer, DEFAULT_WATCHED)


def test_list_and_watch_grants_equal_the_truth(agents: list[Agent]):
    different = {}
    for truth, daemon_set, fleet, authorizer in agents:
        grants = _grants(daemon_set, fleet, authorizer)
        found = [
            verb in effective_verbs(grants, resource)
            for resource in DEFAULT_WATCHED
            for verb in ("list", "watch")
        ]
        recorded = [truth[field] for field in RECORDED]
        if found != recorded:
            different[daemon_set.title] = dict(zip(RECORDED, zip(found, recorded, strict=True), strict=True))
    assert len(agents) >= 90
    assert not different


def test_bindings_are_the_recorded_ones_and_grants_lead_through_them(agents: list[Agent]):
    # Every account may ask what it may do itself; the truth does not list that for each agent.
    everyone = ("ClusterRoleBinding/system:basic-user", "ClusterRole/system:basic-user")
    for truth, daemon_set, fleet, authorizer in agents:
        recorded = {(entry["binding"], entry["role"]) for entry in truth["bindings"]}
        bound = {
            # The truth names a RoleBinding by namespace and name.
            (f"RoleBinding/{namespace}/{found.binding.name}" if namespace else found.path[0], found.path[1])
            for key in subject_keys(daemon_set.namespace, daemon_set.service_account)
            for namespace, entries in authorizer.bound_to(key).items()
            for found in entries
        } - {everyone}
        assert bound == recorded, daemon_set.title
        for grant in _grants(daemon_set, fleet, authorizer):
            assert grant.path in {
                (binding, role) for binding, role in recorded if grant.scope == "cluster"
            }, grant


def test_accounts_known_from_the_input_are_the_recorded_ones(agents: list[Agent]):
    for truth, daemon_set, fleet, authorizer in agents:
        known = rbac_known(daemon_set, fleet, authorizer, accounts_by_key(fleet))
        assert known == truth["serviceAccount_in_set"], daemon_set.title


def test_identity_follows_automounting_and_kubeconfig_flags(agents: list[Agent]):
    found = {}
    for truth, daemon_set, fleet, _ in agents:
        identity = identity_of(daemon_set, accounts_by_key(fleet))
        found[truth["file"], daemon_set.name] = identity
        automount = truth["automountServiceAccountToken"]
        pod, account = automount["pod"], automount["serviceAccount"]
        if identity == "none":
            assert pod is False or (pod is None and account is False)
            # Without credentials nothing can be watched.
            assert {truth["actually_watches"][kind] for kind in ("namespaces", "networkpolicies")} == {"no"}
        elif identity == "kubeconfig":
            assert any(hint.startswith("--kubeconfig") for hint in truth["kubeconfig_hints"])
        else:
            assert not any(hint.startswith("--kubeconfig") for hint in truth["kubeconfig_hints"])
    assert set(found.values()) == {"serviceAccount", "kubeconfig", "none"}
