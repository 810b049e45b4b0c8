"""What the storm benchmark's figures rest on: they are claimed in the documentation."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))


from storm.chart import draw
from storm.demands import demands
from storm.figures import Latency, Outcome, latencies
from storm.scenarios import SCENARIOS, named
from watchbudget.localcluster.play.bystander import Sample


def test_only_requests_due_in_the_window_count_and_failures_count_as_such():
    samples = [Sample("a", "read", due, 0.1 * due, 200) for due in (1.0, 2.0, 3.0)]
    samples.append(Sample("a", "write", 2.5, 9.0, 429))
    found = latencies(samples, 2.0, 3.0)
    assert (found["a"].requests, found["a"].failed, found["a"].most) == (2, 1, 9.0)
    assert (found["a read"].requests, found["a read"].failed, found["a read"].most) == (1, 0, 0.2)


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


def test_rollouts_of_any_width_have_a_name():
    assert all(named(each.name) == each for each in SCENARIOS)
    known = {"rollout-7": ("7", None, None), "rollout-13%": ("13%", None, None)}
    known["wb-rollout-6"] = "100%", 6, "0s"
    for name, (width, unavailable, settle) in known.items():
        found = named(name)
        assert found is not None
        assert (found.max_unavailable, found.unavailable, found.settle) == (width, unavailable, settle)
    assert not any(map(named, ("rollout-0", "wb-rollout-10%", "rollout-", "install-7", "rollout-7 ")))
