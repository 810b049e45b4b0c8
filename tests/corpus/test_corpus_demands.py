"""What the real agents of the corpus watch, against what was read in their sources and recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from watchbudget.api.resources import DEFAULT_WATCHED
from watchbudget.demand.authorizer import Authorizer
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.demand.grants import accounts_by_key, effective_verbs, grants_of, identity_of, rbac_known
from watchbudget.demand.join import demands_of
from watchbudget.demand.model import Demand, Evidence, Grant, Watches
from watchbudget.inventory import manifests

RECORDED = ("namespaces", "networkpolicies")  # in the order of DEFAULT_WATCHED
EVERYTHING = tuple(
    Grant(resource, ("list", "watch"), "cluster", ("ClusterRoleBinding/all", "ClusterRole/cluster-admin"))
    for resource in DEFAULT_WATCHED
)


@dataclass(frozen=True)
class Case:
    title: str
    truth: str
    demand: Demand
    granted: bool
    by_catalogue_alone: Demand

    def __str__(self) -> str:
        found = self.demand
        return f"{self.title} {found.resource}: {found.watches}, truth {self.truth}: {found.reason}"


@pytest.fixture(scope="module")
def cases(corpus: Path) -> list[Case]:
    return list(_cases(corpus))


def _cases(corpus: Path) -> Iterator[Case]:
    catalogue = load_catalogue()
    for path in sorted(corpus.glob("*/truth.json")):
        truth = json.loads(path.read_text())
        files = sorted({*path.parent.rglob("*.yaml"), *path.parent.rglob("*.yml")})
        fleet = manifests.load(files, default_namespace=truth["default_namespace"])
        authorizer, accounts = Authorizer.of(fleet), accounts_by_key(fleet)
        recorded = {
            (entry["namespace"], entry["name"]): entry["actually_watches"] for entry in truth["daemonsets"]
        }
        for daemon_set in fleet.daemon_sets:
            grants = grants_of(daemon_set, fleet, authorizer, DEFAULT_WATCHED)
            common = (DEFAULT_WATCHED, catalogue)
            demands = demands_of(
                daemon_set,
                fleet,
                grants,
                identity_of(daemon_set, accounts),
                *common,
                rbac_known=rbac_known(daemon_set, fleet, authorizer, accounts),
            )
            alone = demands_of(daemon_set, fleet, EVERYTHING, "serviceAccount", *common, rbac_known=True)
            for field, demand, other in zip(RECORDED, demands, alone, strict=True):
                granted = bool(effective_verbs(grants, demand.resource))
                title = f"{truth['agent']} {daemon_set.namespace}/{daemon_set.name}"
                yield Case(title, recorded[daemon_set.key][field], demand, granted, other)


def test_nobody_is_accused_of_a_watch_it_does_not_have(cases: list[Case]):
    assert [str(case) for case in cases if case.truth == "no" and case.demand.watches is Watches.YES] == []


def test_nobody_who_watches_is_let_off(cases: list[Case]):
    assert [str(case) for case in cases if case.truth == "yes" and case.demand.watches is Watches.NO] == []


def test_the_catalogue_lets_nobody_off_who_watches_even_without_the_help_of_rbac(cases: list[Case]):
    wrong = [
        f"{case.title} {case.by_catalogue_alone}"
        for case in cases
        if case.truth == "yes" and case.by_catalogue_alone.watches is Watches.NO
    ]
    assert wrong == []


def test_at_least_four_fifths_of_what_is_known_are_decided(cases: list[Case]):
    known = [case for case in cases if case.truth in ("yes", "no")]
    decided = [case for case in known if case.demand.watches in (Watches.YES, Watches.NO)]
    assert len(known) > 150
    assert len(decided) >= 0.8 * len(known), [str(case) for case in known if case not in decided]


def test_where_rbac_allows_it_the_catalogue_decides(cases: list[Case]):
    """RBAC alone would call all of these watchers: what is decided is the catalogue's own doing."""
    granted = [case for case in cases if case.granted and case.truth in ("yes", "no")]
    assert len(granted) > 25
    undecided = [str(case) for case in granted if case.demand.watches not in (Watches.YES, Watches.NO)]
    assert undecided == []
    assert {case.demand.evidence for case in granted} == {Evidence.CATALOGUE}


def test_what_depends_on_a_leader_is_not_called_yes_or_no(cases: list[Case]):
    depending = [case for case in cases if case.truth == "config-dependent"]
    assert depending
    assert {case.demand.watches for case in depending} == {Watches.DEPENDS}, [str(case) for case in depending]


def test_what_nobody_looked_at_stays_unknown(cases: list[Case]):
    unknown = [case for case in cases if case.truth == "unknown"]
    assert unknown
    assert {case.demand.watches for case in unknown} == {Watches.UNKNOWN}, [str(case) for case in unknown]


def test_every_watch_names_its_source(cases: list[Case]):
    assert [
        str(case) for case in cases if case.demand.watches is Watches.YES and not case.demand.sources
    ] == []
