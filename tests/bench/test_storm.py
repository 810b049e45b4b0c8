"""What the storm benchmark's figures rest on: they are claimed in the documentation."""

import asyncio
import itertools
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from storm import wire as storm_wire
from storm.agents import Backoff
from storm.bystander import Sample
from storm.chart import draw
from storm.demands import demands
from storm.figures import Latency, Outcome, integral, latencies, outline, peak, percentile, steps


def test_percentiles_are_values_that_were_measured():
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (50, 99, 100)
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) == 0.0


def test_a_step_function_is_integrated_from_the_value_it_has_at_the_beginning():
    nodes_without = [(0.0, 5), (10.0, 3), (12.0, 0)]
    assert integral(nodes_without, 8.0, 20.0) == 2 * 5 + 2 * 3
    assert integral(nodes_without, 11.0, 11.5) == 0.5 * 3
    assert integral([], 0.0, 5.0) == 0.0


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from([1, -1])), max_size=60))
def test_an_outline_never_hides_a_peak(changes: list[tuple[int, int]]):
    found = steps([(float(at), delta) for at, delta in changes])
    lines = outline(found, [10.0, 20.0, 30.0, 40.0, 50.0], 0)
    assert max(lines) == max(0, peak(found))
    assert len(lines) == 5


def test_only_requests_due_in_the_window_count_and_failures_count_as_such():
    samples = [Sample("a", "read", due, 0.1 * due, 200) for due in (1.0, 2.0, 3.0)]
    samples.append(Sample("a", "write", 2.5, 9.0, 429))
    found = latencies(samples, 2.0, 3.0)
    assert (found["a"].requests, found["a"].failed, found["a"].most) == (2, 1, 9.0)
    assert (found["a read"].requests, found["a read"].failed, found["a read"].most) == (1, 0, 0.2)


def test_a_reflector_waits_as_client_go_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("random.random", lambda: 0.0)
    backoff = Backoff()
    assert [backoff.step() for _ in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


class _Transport(asyncio.Transport):
    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.sent = data

    def is_closing(self) -> bool:
        return False


def _feed(wire: storm_wire.Wire, data: bytes) -> None:
    wire.get_buffer(-1)[: len(data)] = data
    wire.buffer_updated(len(data))


async def _ask(pieces: list[bytes], *, until: bytes | None = None) -> tuple[storm_wire.Reply | None, bool]:
    wire = storm_wire.Wire()
    wire.connection_made(_Transport())
    asked = asyncio.create_task(wire.ask("/", {}, until=until))
    await asyncio.sleep(0)
    early = False
    for number, piece in enumerate(pieces):
        _feed(wire, piece)
        await asyncio.sleep(0)
        early = early or (asked.done() and number < len(pieces) - 1)
    return (asked.result() if asked.done() else None), early


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\nmarked\r\n0\r\n\r\n"
SIZED = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy"


@given(st.sampled_from([CHUNKED, SIZED]), st.lists(st.integers(1, 90), max_size=8))
def test_an_answer_ends_with_its_last_byte_wherever_it_is_cut(answer: bytes, cuts: list[int]):
    edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    pieces = [answer[begin:end] for begin, end in itertools.pairwise(edges)]
    reply, early = asyncio.run(_ask(pieces))
    assert reply is not None
    assert not early
    assert reply.size == len(answer.partition(b"\r\n\r\n")[2])
    assert reply.status == (200 if answer is CHUNKED else 429)
    assert reply.headers.get("retry-after") == (None if answer is CHUNKED else "3")


@given(st.integers(60, 80))
def test_a_stream_is_listed_when_its_mark_went_by_even_in_two_parts(cut: int):
    stream = CHUNKED.removesuffix(b"0\r\n\r\n")
    reply, _ = asyncio.run(_ask([stream[:cut], stream[cut:]], until=b"marked"))
    assert reply is not None
    assert asyncio.run(_ask([stream], until=b"never"))[0] is None


def outcome(name: str, **figures: float) -> Outcome:
    waited = Latency(requests=100, p50=0.01, p99=figures.get("p99", 0.1), most=1.0, failed=0)
    return Outcome(
        name=name,
        finished=True,
        pods=10,
        served_seconds=figures.get("served", 10.0),
        ready_seconds=figures.get("served", 10.0),
        lists=10,
        refused=int(figures.get("refused", 0)),
        failed=0,
        peak_in_flight=4,
        list_seconds=waited,
        wire_bytes=1,
        rss_before=0,
        rss_growth=int(figures.get("growth", 0) * 2**20),
        cpu={"kube-apiserver": 1.0, "rest of the machine": 0.0},
        missing_node_seconds=figures.get("missing", 0.0),
        idle={},
        bystanders={"same level": waited},
        curve=[(0.0, 1, 1, 1, 0, 0), (10.0, 0, 1, 1, 0, 0)],
        dots={"same level read": [(1.0, 0.1)]},
    )


def test_demands_are_met_at_their_bound_and_missed_beyond_it():
    native = outcome("rollout-100%", p99=5.0, served=10.0, growth=100, refused=7)
    met = outcome("wb-rollout-100%", p99=0.2, served=11.5, growth=50)
    missed = outcome("wb-rollout-100%", p99=0.201, served=11.51, growth=50.1, refused=1)
    assert all(each.met for each in demands({native.name: native, met.name: met}, streaming=False))
    assert not any(each.met for each in demands({native.name: native, missed.name: missed}, streaming=False))


def test_memory_is_no_demand_of_streaming_lists():
    pair = {each.name: each for each in (outcome("install"), outcome("wb-install", growth=9))}
    assert not any("growth" in each.name for each in demands(pair, streaming=True))
    assert any("growth" in each.name for each in demands(pair, streaming=False))


def test_the_picture_is_well_formed_and_shows_every_scenario():
    pair = {each.name: each for each in (outcome("rollout-100%"), outcome("wb-rollout-100%"))}
    text = "".join(ET.fromstring(draw(pair)).itertext())  # noqa: S314 - our own
    assert "wb-rollout-100%" in text
