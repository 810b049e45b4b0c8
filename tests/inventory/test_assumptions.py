"""Figures given or assumed take the place of figures read, and say so."""

from __future__ import annotations

import pytest

from watchbudget.api.resources import DEFAULT_WATCHED, NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.inventory.assumptions import ASSUMED_NODES, ASSUMED_OBJECTS, with_figures
from watchbudget.inventory.fleet import Census, DaemonSet, Fleet, ResourceCensus

READ = Census((ResourceCensus(NAMESPACES, 3, 1000, "metrics"),), (1, 36))
FLEET = Fleet((DaemonSet("logging", "agent", nodes=7),), census=READ, nodes=9, nodes_source="cluster")


def test_manifests_get_assumed_counts_and_nodes_marked_as_such():
    fleet = with_figures(Fleet(()), DEFAULT_WATCHED, objects={}, nodes=None, assume=True)
    assert (fleet.nodes, fleet.nodes_source) == (ASSUMED_NODES, "assumed")
    assert [(entry.objects, entry.source, entry.bytes_assumed) for entry in fleet.census.resources] == [
        (ASSUMED_OBJECTS, "assumed", True)
    ] * 2


def test_a_clusters_unknown_counts_stay_unknown():
    fleet = with_figures(FLEET, DEFAULT_WATCHED, objects={}, nodes=None, assume=False)
    assert fleet.census == READ
    assert (fleet.nodes, fleet.nodes_source) == (9, "cluster")


def test_nodes_asked_for_are_every_daemon_sets():
    fleet = with_figures(FLEET, DEFAULT_WATCHED, objects={}, nodes=50, assume=False)
    assert (fleet.nodes, fleet.nodes_source, fleet.daemon_sets[0].nodes) == (50, "flag", 50)


@pytest.mark.parametrize(
    ("asked", "stored", "assumed"),
    [
        ((6, 500), 3000, False),  # the size is given
        ((6, None), 2000, False),  # the mean that was read, without rounding on the way
    ],
)
def test_objects_asked_for(asked: tuple[int, int | None], stored: int, assumed: bool):
    fleet = with_figures(FLEET, DEFAULT_WATCHED, objects={NAMESPACES: asked}, nodes=None, assume=False)
    entry = fleet.census.of(NAMESPACES)
    assert entry == ResourceCensus(NAMESPACES, 6, stored, "flag", bytes_assumed=assumed)


def test_a_size_that_was_assumed_when_read_stays_assumed():
    read = Census((ResourceCensus(NAMESPACES, 3, 3270, "page", bytes_assumed=True),))
    fleet = with_figures(
        Fleet((), census=read), (), objects={NAMESPACES: (6, None)}, nodes=None, assume=False
    )
    entry = fleet.census.of(NAMESPACES)
    assert entry is not None
    assert entry.bytes_assumed


def test_a_resource_that_only_the_question_names_is_counted_too():
    pods = GroupResource("", "pods")
    fleet = with_figures(FLEET, (NETWORK_POLICIES,), objects={pods: (5, None)}, nodes=None, assume=False)
    entry = fleet.census.of(pods)
    assert entry is not None
    assert (entry.objects, entry.bytes_assumed) == (5, True)
