"""Which limit holds: own, the namespace's default, the pod's; sidecars count, init containers do not."""

from __future__ import annotations

import pytest

from policy_samples import MIB, daemon_set
from watchbudget.inventory.fleet import Container, LimitRange
from watchbudget.policy.memory import memory_of
from watchbudget.policy.model import Memory

A, B = Container("a", "x", memory_limit=64 * MIB), Container("b", "x", memory_limit=32 * MIB)
BARE = Container("bare", "x")


def test_all_containers_limited():
    assert memory_of(daemon_set(containers=(A, B)), (), "a") == Memory(
        limit_complete=True,
        limit_bytes=96 * MIB,
        watching_limit_bytes=64 * MIB,
        by_container=(("a", 64 * MIB), ("b", 32 * MIB)),
    )


def test_one_container_without_a_limit_leaves_the_pod_without_one():
    memory = memory_of(daemon_set(containers=(A, BARE)), (), "a")
    assert (memory.limit_complete, memory.limit_bytes, memory.missing) == (False, None, ("bare",))
    assert memory.watching_limit_bytes == 64 * MIB


def test_init_containers_do_not_count_and_sidecars_do():
    ends = Container("ends", "x", init=True)
    stays = Container("stays", "x", init=True, sidecar=True)
    assert memory_of(daemon_set(containers=(A, ends)), ()).limit_complete
    assert memory_of(daemon_set(containers=(A, ends, stays)), ()).missing == ("stays",)


def test_the_pods_own_limit_bounds_every_container():
    memory = memory_of(daemon_set(containers=(A, BARE), pod_memory_limit=48 * MIB), (), "bare")
    assert (memory.limit_complete, memory.limit_bytes, memory.missing) == (True, 48 * MIB, ())
    assert memory.by_container == (("a", 48 * MIB), ("bare", 48 * MIB))
    assert memory.watching_limit_bytes == 48 * MIB


def test_a_limit_ranges_default_stands_in_its_own_namespace_only():
    ranges = (
        LimitRange("logging", "one", 128 * MIB),
        LimitRange("logging", "two", 100 * MIB),  # no order between them: the smaller is sure
        LimitRange("logging", "none", None),
        LimitRange("other", "small", MIB),
    )
    memory = memory_of(daemon_set(containers=(A, BARE)), ranges)
    assert memory.by_container == (("a", 64 * MIB), ("bare", 100 * MIB))
    assert memory_of(daemon_set(containers=(BARE,)), (ranges[3],)).missing == ("bare",)


@pytest.mark.parametrize("zero", ["container", "pod", "range"])
def test_zero_is_no_limit(zero: str):
    item = daemon_set(
        containers=(Container("c", "x", memory_limit=0 if zero == "container" else None),),
        pod_memory_limit=0 if zero == "pod" else None,
    )
    ranges = (LimitRange("logging", "r", 0),) if zero == "range" else ()
    assert memory_of(item, ranges).missing == ("c",)


def test_the_watching_container_is_the_only_one_or_the_named_one():
    assert memory_of(daemon_set(containers=(A,)), ()).watching_limit_bytes == 64 * MIB
    assert memory_of(daemon_set(containers=(A, B)), ()).watching_limit_bytes is None
    assert memory_of(daemon_set(containers=(A, B)), (), "gone").watching_limit_bytes is None


def test_no_containers_is_no_limit():
    assert not memory_of(daemon_set(containers=()), ()).limit_complete
