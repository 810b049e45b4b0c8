"""Configuration text is somebody else's: it may be anything, and costs bounded time and no exception."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demand_builders import configured, demand
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.demand.documents import UnreadableError, parse, plain, walk
from watchbudget.demand.model import Watches
from watchbudget.inventory.fleet import EnvVar

IMAGES = [
    "timberio/vector:0.50.0",
    "otel/opentelemetry-collector-contrib:0.158.0",
    "fluent/fluentd-kubernetes-daemonset:v1.19.3",
    "docker.elastic.co/beats/metricbeat:8.15.0",
    "docker.elastic.co/beats/filebeat:8.15.0",
    "quay.io/signalfx/signalfx-agent:3.6.1",
    "quay.io/cilium/cilium:v1.18.1",
    "quay.io/calico/node:v3.31.0",
]

WORDS = st.sampled_from(
    [
        *("sources", "transforms", "type", "kubernetes_logs", "insert_namespace_fields", "monitors"),
        *(
            "service",
            "pipelines",
            "receivers",
            "processors",
            "k8sattributes",
            "extract",
            "labels",
            "from",
            "namespace",
        ),
        *(
            "module",
            "kubernetes",
            "metricsets",
            "filebeat.autodiscover",
            "providers",
            "add_kubernetes_metadata",
        ),
        *("add_resource_metadata", "<<"),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=8) | st.just("${X:-y}"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=25,
)
KEYS = st.sampled_from(["a.yaml", "a.toml", "a.json", "fluent.conf", "relay"])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(IMAGES), KEYS, st.text(max_size=400))
def test_no_text_breaks_a_reader(image: str, key: str, text: str):
    assert demand(*configured(image, {key: text})).watches in Watches


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(IMAGES), VALUES)
def test_no_structure_breaks_a_reader(image: str, value: object):
    found = demand(*configured(image, {"config.json": json.dumps(value)}))
    assert found.watches in Watches
    assert (found.watchers_per_pod == 0) == (found.watches is Watches.NO)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=80),
    st.lists(st.text(max_size=40), max_size=4),
    st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=3),
)
def test_no_image_argument_or_variable_breaks_the_join(
    image: str, words: list[str], env: list[tuple[str, str]]
):
    variables = tuple(EnvVar(name, value) for name, value in env) + tuple(EnvVar(n, None, v) for n, v in env)
    owner, fleet = configured(image, {"a": "b"}, args=tuple(words), command=tuple(words), env=variables)
    demand(owner, fleet)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "k0: &k0 [x, x]\n"
        + "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]\n" for i in range(1, 12)),
        "[" * 100_000,
        "- " * 5_000 + "x",
        "{" * 60 + "}" * 60,
        "a: 1\n" * 150_000,
        "x" * (1 << 20) + "y",
        "a: [" + "1," * 250_000 + "]",
    ],
    ids=["itself", "expanding", "brackets", "dashes", "braces", "lines", "too large", "many"],
)
@pytest.mark.parametrize("name", ["a.yaml", "a.json", "a.toml", "a"])
def test_hostile_sizes_are_refused_in_bounded_time(name: str, text: str):
    began = time.monotonic()
    with pytest.raises(UnreadableError):
        parse(name, text)
    assert time.monotonic() - began < 20


def test_yaml_scalars_stay_text():
    assert parse("a.yaml", "a: 12:30:45\nb: 2024-99-99\nc: 0b\nd: =\ne: yes") == {
        "a": "12:30:45",
        "b": "2024-99-99",
        "c": "0b",
        "d": "=",
        "e": "yes",
    }


def test_walk_gives_every_pair_and_plain_writes_as_files_do():
    assert list(walk({"a": [{"b": 1}]})) == [("a", [{"b": 1}]), ("", {"b": 1}), ("b", 1)]
    assert [plain(value) for value in (True, False, None, 3, "x")] == ["true", "false", "", "3", "x"]


def test_recognition_of_a_thousand_containers_takes_moments():
    catalogue = load_catalogue()
    owner, _ = configured("registry.example.org/none/such:1.0.0")
    began = time.monotonic()
    for _ in range(1000):
        catalogue.recognise(owner.containers[0])
    assert time.monotonic() - began < 5
