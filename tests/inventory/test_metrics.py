"""Metrics text of several server versions, whole and in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbudget.api.resources import DEFAULT_WATCHED, NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.inventory.metrics import LONGEST_LINE, Gauge, LineFilter, read_gauges

V1_36 = """\
# HELP apiserver_resource_objects [ALPHA] Number of stored objects at the time of last check split by kind.
# TYPE apiserver_resource_objects gauge
apiserver_resource_objects{group="",resource="namespaces"} 304
apiserver_resource_objects{group="",resource="nodes"} 3
apiserver_resource_objects{group="crd.projectcalico.org",resource="networkpolicies"} 7
apiserver_resource_objects{group="networking.k8s.io",resource="networkpolicies"} 1.234567e+06
# HELP apiserver_resource_size_estimate_bytes [ALPHA] Estimated size of stored objects in database.
# TYPE apiserver_resource_size_estimate_bytes gauge
apiserver_resource_size_estimate_bytes{group="",resource="namespaces"} 241072
apiserver_resource_size_estimate_bytes{group="crd.projectcalico.org",resource="networkpolicies"} 99
apiserver_resource_size_estimate_bytes{group="networking.k8s.io",resource="networkpolicies"} 5.4e+08
# HELP apiserver_storage_objects [STABLE] [DEPRECATED] Number of stored objects.
# TYPE apiserver_storage_objects gauge
apiserver_storage_objects{resource="namespaces"} 303
apiserver_storage_objects{resource="networkpolicies.networking.k8s.io"} 1
"""

V1_33 = """\
# HELP apiserver_storage_objects [STABLE] Number of stored objects at the time of last check split by kind.
# TYPE apiserver_storage_objects gauge
apiserver_storage_objects{resource="namespaces"} 42
apiserver_storage_objects{resource="networkpolicies.crd.projectcalico.org"} 5
apiserver_storage_objects{resource="networkpolicies.networking.k8s.io"} 17
"""

V1_28 = """\
# TYPE apiserver_storage_objects gauge
apiserver_storage_objects{resource="namespaces"} -1
apiserver_storage_objects{resource="networkpolicies.networking.k8s.io"} 0
"""


def gauges(text: str, chunk: int | None = None) -> dict[GroupResource, Gauge]:
    lines = LineFilter(DEFAULT_WATCHED)
    raw = text.encode()
    size = chunk or len(raw) or 1
    for start in range(0, len(raw), size):
        lines.feed(raw[start : start + size])
    lines.feed(b"\n")
    return read_gauges(lines.kept, DEFAULT_WATCHED)


def test_of_1_36_the_new_gauges_count_and_groups_are_kept_apart():
    assert gauges(V1_36) == {
        NAMESPACES: Gauge(304, 241072),
        NETWORK_POLICIES: Gauge(1_234_567, 540_000_000),
    }


def test_of_1_33_there_are_counts_only():
    assert gauges(V1_33) == {NAMESPACES: Gauge(42), NETWORK_POLICIES: Gauge(17)}


def test_minus_one_means_that_the_server_could_not_tell():
    assert gauges(V1_28) == {NAMESPACES: Gauge(None), NETWORK_POLICIES: Gauge(0)}


def test_an_unknown_size_of_some_objects_is_not_a_size_of_none():
    text = """\
apiserver_resource_objects{group="",resource="namespaces"} 5
apiserver_resource_size_estimate_bytes{group="",resource="namespaces"} 0
apiserver_resource_objects{group="networking.k8s.io",resource="networkpolicies"} 0
apiserver_resource_size_estimate_bytes{group="networking.k8s.io",resource="networkpolicies"} 0
"""
    assert gauges(text) == {NAMESPACES: Gauge(5, None), NETWORK_POLICIES: Gauge(0, 0)}


def test_the_old_count_stands_in_for_a_new_one_that_failed():
    text = V1_33 + 'apiserver_resource_objects{group="",resource="namespaces"} -1\n'
    assert gauges(text)[NAMESPACES] == Gauge(42)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "go_goroutines 5\n", "<html></html>"])
def test_without_the_gauges_nothing_is_known(text: str):
    assert gauges(text) == {NAMESPACES: Gauge(), NETWORK_POLICIES: Gauge()}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-7"])
def test_a_value_that_is_no_count_is_unknown(value: str):
    assert gauges(f'apiserver_storage_objects{{resource="namespaces"}} {value}\n')[NAMESPACES] == Gauge()


def test_a_line_that_is_no_metric_is_refused():
    with pytest.raises(ValueError, match=r"many"):
        gauges('apiserver_storage_objects{resource="namespaces"} many\n')


def test_a_missing_line_end_loses_nothing():
    assert gauges(V1_33.rstrip("\n"))[NETWORK_POLICIES] == Gauge(17)


@given(st.integers(1, 300))
def test_where_the_text_is_cut_makes_no_difference(size: int):
    assert gauges(V1_36, size) == gauges(V1_36)


class TestLineFilter:
    def test_keeps_only_what_is_watched(self):
        lines = LineFilter([NAMESPACES])
        lines.feed(V1_36.encode())
        assert [line.partition("{")[2] for line in lines.kept] == [
            'group="",resource="namespaces"} 304',
            'group="",resource="namespaces"} 241072',
            'resource="namespaces"} 303',
        ]

    def test_holds_no_more_than_a_line(self):
        lines = LineFilter(DEFAULT_WATCHED)
        for _ in range(200):
            lines.feed(b"x" * 10_000)  # one endless line
            assert len(lines._rest) <= LONGEST_LINE
        lines.feed(b"\n" + V1_33.encode())
        assert len(lines.kept) == 2
