"""The bill: its arithmetic, what is certain in it, and the shapes that must hold whatever the numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.cost.bill import bill_of
from watchbudget.cost.calibration import load_calibration
from watchbudget.cost.model import Bill
from watchbudget.demand.model import AgentMatch, Demand, Evidence, Watches
from watchbudget.inventory.fleet import Census, ResourceCensus

CALIBRATION = load_calibration()
PODS = GroupResource("", "pods")


def demand(
    resource: GroupResource = NAMESPACES,
    watches: Watches = Watches.YES,
    *,
    watchers: int = 1,
    selector: str | None = None,
    stack: str | None = "client-go-streaming",
    container: str | None = None,
) -> Demand:
    agent = AgentMatch("agent", "Agent", container, None) if container else None
    return Demand(
        resource,
        watches,
        Evidence.CATALOGUE,
        "because",
        watchers_per_pod=watchers,
        selector=selector,
        stack=stack,
        agent=agent,
    )


def census(
    namespaces: tuple[int, int] = (10_000, 10_900_000),
    policies: tuple[int, int] = (10_000, 4_300_000),
    version: tuple[int, int] | None = (1, 36),
) -> Census:
    return Census(
        (
            ResourceCensus(NAMESPACES, *namespaces, "metrics"),
            ResourceCensus(NETWORK_POLICIES, *policies, "metrics"),
        ),
        version,
    )


def price(*demands: Demand, of: Census | None = None, nodes: int = 100) -> Bill:
    return bill_of(demands, of or census(), nodes, CALIBRATION)


def test_the_arithmetic_of_one_watch() -> None:
    bill = price(demand(watchers=2))
    assert bill.cache_per_pod == 2 * (10_000 * 2_000 + 16_350_000)
    assert bill.peak_per_pod == 2 * bill.cache_per_pod
    assert bill.base_bytes == CALIBRATION.row("client-go-0.36-streaming").base_bytes
    assert bill.list_bytes_per_start == 2 * 10_900_000
    assert bill.seats_per_start == 20
    assert bill.cache_total == 100 * bill.cache_per_pod
    assert bill.list_bytes_if_all_restart == 100 * 2 * 10_900_000
    assert bill.lines[0].calibration == "client-go-0.36-streaming"


def test_nothing_watched_costs_nothing() -> None:
    assert price() == Bill(nodes=100)
    assert price(demand(watches=Watches.NO)) == Bill(nodes=100)


def test_what_is_uncertain_counts_in_up_to_only() -> None:
    for watches in (Watches.DEPENDS, Watches.UNKNOWN):
        bill = price(demand(), demand(NETWORK_POLICIES, watches))
        sure = price(demand())
        assert bill.cache_per_pod == sure.cache_per_pod
        assert bill.list_bytes_per_start == sure.list_bytes_per_start
        assert bill.seats_per_start == sure.seats_per_start
        assert bill.cache_per_pod_up_to == price(demand(), demand(NETWORK_POLICIES)).cache_per_pod
        assert [line.certain for line in bill.lines] == [True, False]


def test_a_selected_share_of_unknown_size_is_an_upper_bound() -> None:
    bill = price(demand(selector="team=a"))
    assert (bill.cache_per_pod, bill.peak_per_pod, bill.list_bytes_per_start, bill.seats_per_start) == (
        0,
        0,
        0,
        0,
    )
    assert bill.cache_per_pod_up_to == price(demand()).cache_per_pod


def test_the_caller_may_count_uncertain_demands() -> None:
    bill = bill_of([demand(watches=Watches.UNKNOWN)], census(), 100, CALIBRATION, counts=lambda _: True)
    assert bill.cache_per_pod == price(demand()).cache_per_pod


def test_a_resource_without_a_census_is_named_and_not_priced() -> None:
    bill = price(demand(), demand(PODS), demand(PODS, Watches.UNKNOWN))
    assert bill.unpriced == (PODS,)
    assert replace(bill, unpriced=()) == price(demand())


def test_a_watch_that_does_not_happen_needs_no_census() -> None:
    assert price(demand(PODS, Watches.NO)).unpriced == ()


def test_an_assumed_library_is_marked() -> None:
    known, unknown = price(demand(), demand(stack=None)).lines
    assert not known.assumed
    assert unknown.assumed
    assert unknown.calibration == CALIBRATION.assumed


def test_base_counts_each_watching_process_once() -> None:
    go = CALIBRATION.row("client-go-0.36-streaming").base_bytes
    java = CALIBRATION.row("fabric8-7.9").base_bytes
    one = price(demand(container="a"), demand(NETWORK_POLICIES, container="a"))
    two = price(demand(container="a"), demand(NETWORK_POLICIES, container="b", stack="fabric8"))
    unknown = price(demand(container="a"), demand(NETWORK_POLICIES))
    assert (one.base_bytes, two.base_bytes, unknown.base_bytes) == (go, go + java, go)


def test_base_is_that_of_the_processes_that_watch_for_certain_where_any_does() -> None:
    go = CALIBRATION.row("client-go-0.36-streaming").base_bytes
    java = CALIBRATION.row("fabric8-7.9").base_bytes
    unsure = demand(NETWORK_POLICIES, Watches.DEPENDS, container="b", stack="fabric8")
    assert price(demand(container="a"), unsure).base_bytes == go
    assert price(unsure).base_bytes == java


def test_what_watches_keeps_at_least_one_copy() -> None:
    assert price(demand(watchers=0)) == price(demand(watchers=1))


def test_seats_follow_the_servers_version() -> None:
    few_large = census(namespaces=(50, 5_000_000))
    assert price(demand(), of=few_large).seats_per_start == 10
    assert price(demand(), of=replace(few_large, server_version=(1, 33))).seats_per_start == 1


def test_a_broken_census_never_gives_a_negative_price() -> None:
    bill = price(demand(), of=census(namespaces=(-5, -1)), nodes=-3)
    assert (bill.cache_per_pod, bill.list_bytes_per_start, bill.nodes) == (0, 0, 0)


sizes = st.tuples(st.integers(0, 10**40), st.integers(0, 10**40))
demands = st.lists(
    st.builds(
        demand,
        st.sampled_from([NAMESPACES, NETWORK_POLICIES]),
        st.sampled_from(list(Watches)),
        watchers=st.integers(0, 1000),
        selector=st.sampled_from([None, "a=b"]),
        stack=st.sampled_from([None, "python", *(stack for row in CALIBRATION.rows for stack in row.stacks)]),
    ),
    max_size=4,
)
versions = st.sampled_from([None, (1, 30), (1, 36)])


def figures(bill: Bill) -> tuple[int, ...]:
    return (
        bill.cache_per_pod,
        bill.peak_per_pod,
        bill.list_bytes_per_start,
        bill.seats_per_start,
        bill.cache_per_pod_up_to,
        bill.peak_per_pod_up_to,
        bill.list_bytes_per_start_up_to,
        bill.cache_total,
        bill.cache_total_up_to,
        bill.list_bytes_if_all_restart,
    )


def at_least(larger: Bill, smaller: Bill) -> bool:
    return all(more >= less for more, less in zip(figures(larger), figures(smaller), strict=True))


@given(demands, sizes, sizes, sizes, versions, st.integers(0, 10**6), st.integers(0, 10**6))
def test_monotone_in_objects_bytes_and_nodes(
    watched: list[Demand],
    namespaces: tuple[int, int],
    policies: tuple[int, int],
    more: tuple[int, int],
    version: tuple[int, int] | None,
    nodes: int,
    more_nodes: int,
) -> None:
    small = census(namespaces, policies, version)
    many = census((namespaces[0] + more[0], namespaces[1]), policies, version)
    large = census(namespaces, (policies[0], policies[1] + more[1]), version)
    bill = bill_of(watched, small, nodes, CALIBRATION)
    assert at_least(bill_of(watched, many, nodes, CALIBRATION), bill)
    assert at_least(bill_of(watched, large, nodes, CALIBRATION), bill)
    assert at_least(bill_of(watched, small, nodes + more_nodes, CALIBRATION), bill)


@given(demands.filter(bool), sizes, versions, st.integers(1, 100))
def test_monotone_in_watchers_and_demands(
    watched: list[Demand], size: tuple[int, int], version: tuple[int, int] | None, more: int
) -> None:
    fixed = census(size, size, version)
    bill = bill_of(watched, fixed, 10, CALIBRATION)
    head = replace(watched[0], watchers_per_pod=watched[0].watchers_per_pod + more)
    assert at_least(bill_of([head, *watched[1:]], fixed, 10, CALIBRATION), bill)
    assert at_least(bill, bill_of(watched[1:], fixed, 10, CALIBRATION))


@given(demands, sizes, sizes, versions)
def test_peak_holds_the_cache_and_up_to_holds_what_is_certain(
    watched: list[Demand],
    namespaces: tuple[int, int],
    policies: tuple[int, int],
    version: tuple[int, int] | None,
) -> None:
    bill = bill_of(watched, census(namespaces, policies, version), 7, CALIBRATION)
    assert bill.peak_per_pod >= bill.cache_per_pod
    assert bill.peak_per_pod_up_to >= bill.cache_per_pod_up_to
    assert bill.cache_per_pod_up_to >= bill.cache_per_pod
    assert bill.list_bytes_per_start_up_to >= bill.list_bytes_per_start
    assert all(line.peak_bytes >= line.cache_bytes for line in bill.lines)
