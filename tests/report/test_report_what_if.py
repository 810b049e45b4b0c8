"""Other counts of nodes and objects: scaled truly, and limits break where the judge says they do."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from report.report_samples import (
    HOSTILE,
    MIB,
    audit,
    calico,
    demand,
    hostile,
    judged_like,
    judgement,
    sample,
    vector,
)
from watchbudget.api.quantity import format_bytes
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.inventory.fleet import Census, ResourceCensus
from watchbudget.report.limits import breaking_points, broken_limits
from watchbudget.report.what_if import Point, grow, render_growth, vary


def shown(points: tuple[Point, ...], width: int = 100) -> str:
    stream = io.StringIO()
    render_growth(points, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


@given(st.integers(1, 10**6), st.integers(0, 10**10), st.integers(0, 10**7))
def test_every_object_keeps_its_mean_size(objects: int, stored: int, wanted: int) -> None:
    fleet = replace(
        audit().fleet, census=Census((ResourceCensus(NAMESPACES, objects, stored, "metrics"),), (1, 36))
    )
    census = vary(fleet, objects={NAMESPACES: wanted}).census
    entry = census.of(NAMESPACES)
    assert entry is not None
    assert entry.objects == wanted
    assert abs(entry.stored_bytes * objects - stored * wanted) < objects
    assert census.server_version == (1, 36)
    assert entry.source == ("metrics" if wanted == objects else "flag")


def test_where_there_was_none_to_measure_a_size_is_assumed_and_said() -> None:
    fleet = replace(audit().fleet, census=Census((ResourceCensus(NAMESPACES, 0, 0, "metrics"),)))
    entry = vary(fleet, objects={NAMESPACES: 50}).census.of(NAMESPACES)
    assert entry is not None
    assert (entry.stored_bytes, entry.bytes_assumed) == (50_000, True)


def test_what_is_not_named_stays() -> None:
    fleet = sample().fleet
    assert vary(fleet) == fleet
    assert vary(fleet, objects={GroupResource("", "secrets"): 5}) == fleet


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 50_000))
def test_a_daemon_set_keeps_its_share_of_the_nodes(share: int, others: int, then: int) -> None:
    now = share + others
    fleet = audit([judgement("agent", nodes=share)], nodes=now).fleet
    varied = vary(fleet, nodes=then)
    (daemon_set,) = varied.daemon_sets
    assert varied.nodes == then
    assert varied.nodes_source == "flag"
    assert daemon_set.nodes is not None
    assert 0 <= daemon_set.nodes <= then
    if now and share and then:
        assert daemon_set.nodes >= 1
        assert abs(daemon_set.nodes * now - share * then) <= now


def test_a_daemon_set_nobody_counted_stays_uncounted() -> None:
    fleet = audit([replace(vector(), daemon_set=replace(vector().daemon_set, nodes=None))]).fleet
    assert vary(fleet, nodes=7).daemon_sets[0].nodes is None


def test_growing_judges_every_pair_and_today_only_once() -> None:
    whole = sample()
    points = grow(whole, judged_like(whole), (2.0, 1.0), (3.0, 1.0))
    assert [(point.node_factor, point.factor) for point in points] == [(1, 1), (1, 2), (3, 1), (3, 2)]
    assert points[0].audit is whole
    assert points[1].audit.totals.cache_total == pytest.approx(2 * whole.totals.cache_total, rel=1e-6)
    assert points[2].audit.totals.cache_total == 3 * whole.totals.cache_total
    assert points[2].audit.totals.cache_per_node == whole.totals.cache_per_node


@given(st.integers(60, 1500))
@settings(max_examples=30, deadline=None)
def test_the_limit_holds_just_below_the_breaking_point_and_not_just_above(limit_mib: int) -> None:
    judged = judgement("agent", demands=(demand(), demand(NETWORK_POLICIES)), limit=limit_mib * MIB)
    whole = audit([judged])
    judge = judged_like(whole)
    points = grow(whole, judge, (1.0, 2.0, 5.0, 10.0))
    breaking = breaking_points([(point.factor, point.audit) for point in points])
    if not breaking:
        assert not broken_limits(points[-1].audit)
        return
    (found,) = breaking
    if found.factor == 1:
        assert broken_limits(whole)
        return
    for share, broken in ((0.998, False), (1.002, True)):
        objects = {
            entry.resource: round(entry.objects * found.factor * share)
            for entry in whole.fleet.census.resources
        }
        assert bool(broken_limits(judge(vary(whole.fleet, objects=objects)))) is broken


def test_the_table_shows_each_point_and_the_text_below_where_limits_break() -> None:
    whole = audit([vector(), calico(), judgement("roomy", demands=(demand(),), limit=256 * MIB)])
    points = grow(whole, judged_like(whole))
    text = shown(points)
    first = next(line for line in text.splitlines() if line.strip().startswith("10,000"))
    assert format_bytes(whole.totals.cache_total) in first
    assert format_bytes(whole.totals.list_bytes_if_all_restart) in first
    assert "kube-system/calico-node: its limit of 64 MiB is broken already, at 10,000 namespaces" in text
    roomy = next(line for line in text.splitlines() if "logging/roomy" in line)
    assert "breaks at about 25,000 namespaces" in roomy
    assert "2.5 times today's" in roomy
    assert "logging/vector" not in text  # it has no limit that could break


def test_limits_that_hold_are_a_sentence() -> None:
    whole = audit([judgement("roomy", demands=(demand(),), limit=64 << 30)])
    assert "No memory limit breaks up to 10 times today's objects." in shown(grow(whole, judged_like(whole)))


def test_a_resource_called_nodes_does_not_push_out_the_node_count() -> None:
    whole = audit(
        [vector()], census=Census((ResourceCensus(GroupResource("", "nodes"), 777, 1000, "metrics"),))
    )
    text = shown(grow(whole, judged_like(whole), (1.0,)))
    assert text.splitlines()[1].split().count("NODES") + text.splitlines()[0].split().count("NODES") == 2
    assert "777" in text
    assert "100" in text


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_it_fits_the_terminal_whatever_the_names(width: int, text: str) -> None:
    for whole in (sample(), hostile(text)):
        out = shown(grow(whole, judged_like(whole)), width)
        assert all(cell_len(line) <= width for line in out.splitlines())
        assert "\x1b" not in out


def test_an_empty_fleet_is_a_sentence() -> None:
    assert "nothing to price" in shown(grow(audit(), judged_like(audit())))


def test_a_point_is_data_too() -> None:
    whole = sample()
    point = json.loads(json.dumps(grow(whole, judged_like(whole), (2.0,))[0].to_dict()))
    assert point["objects"] == {"namespaces": 20_000, "networkpolicies.networking.k8s.io": 20_000}
    assert point["nodes"] == 100
    assert point["limitsBroken"] == ["kube-system/calico-node"]
    assert point["denied"] == 1
