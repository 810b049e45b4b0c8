"""Vector: every kubernetes_logs source counts, and each has to be told on its own."""

from __future__ import annotations

import pytest

from demand_builders import configured, container, daemon_set, demand
from watchbudget.api.resources import NETWORK_POLICIES
from watchbudget.demand.model import Evidence, Watches
from watchbudget.inventory.fleet import ConfigMap, EnvVar, Fleet, Volume

IMAGE = "docker.io/timberio/vector:0.50.0-distroless-libc"

TWO = """
sources:
  tenants: {type: kubernetes_logs%s}
  platform: {type: kubernetes_logs%s}
  metrics: {type: host_metrics}
sinks: {out: {type: blackhole, inputs: [tenants]}}
"""
OFF = ", insert_namespace_fields: false"


def test_each_source_is_a_watcher_of_its_own():
    found = demand(*configured(IMAGE, {"vector.yaml": TWO % ("", "")}))
    assert (found.watches, found.watchers_per_pod, found.selector) == (Watches.YES, 2, None)
    assert found.evidence is Evidence.CATALOGUE
    assert "tenants, platform" in found.reason
    assert found.narrowing is not None
    assert found.narrowing.since == "0.50.0"
    assert found.narrowing.lost_fields == ("kubernetes.namespace_labels",)


def test_a_second_source_that_was_forgotten_still_watches_and_is_named():
    found = demand(*configured(IMAGE, {"vector.yaml": TWO % (OFF, "")}))
    assert (found.watches, found.watchers_per_pod) == (Watches.YES, 1)
    assert "1 of 2 configured (platform)" in found.reason


def test_all_sources_told_means_no_watch():
    found = demand(*configured(IMAGE, {"vector.yaml": TWO % (OFF, OFF)}))
    assert (found.watches, found.watchers_per_pod, found.narrowing) == (Watches.NO, 0, None)


def test_an_older_release_does_not_know_the_option():
    found = demand(*configured(IMAGE.replace("0.50.0", "0.49.1"), {"vector.yaml": TWO % (OFF, OFF)}))
    assert (found.watches, found.watchers_per_pod) == (Watches.YES, 2)
    assert "since 0.50.0 only" in found.reason


def test_an_unknown_release_with_the_option_depends():
    found = demand(*configured("timberio/vector:latest", {"vector.yaml": TWO % (OFF, OFF)}))
    assert found.watches is Watches.DEPENDS
    assert "names no release" in found.reason


def test_a_server_side_selector_is_one_and_unselective_sources_undo_it():
    chosen = ', extra_namespace_label_selector: "tier=tenant"'
    both = demand(*configured(IMAGE, {"vector.yaml": TWO % (chosen, chosen)}))
    assert (both.watches, both.selector, both.watchers_per_pod) == (Watches.YES, "tier=tenant", 2)
    one = demand(*configured(IMAGE, {"vector.yaml": TWO % (chosen, "")}))
    assert (one.watches, one.selector, one.watchers_per_pod) == (Watches.YES, None, 2)
    pods_only = ", extra_label_selector: app=x"
    assert demand(*configured(IMAGE, {"vector.yaml": TWO % (pods_only, pods_only)})).selector is None


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("vector.toml", '[sources.k]\ntype = "kubernetes_logs"\ninsert_namespace_fields = false\n'),
        ("vector.json", '{"sources": {"k": {"type": "kubernetes_logs", "insert_namespace_fields": false}}}'),
        ("vector.yaml", "sources: {k: {type: kubernetes_logs, insert_namespace_fields: False}}"),
        ("config", '[sources.k]\ntype = "kubernetes_logs"\ninsert_namespace_fields = false\n'),
        ("a.yaml", "x: &d {insert_namespace_fields: false}\nsources: {k: {<<: *d, type: kubernetes_logs}}"),
    ],
)
def test_yaml_toml_json_and_merges_read_alike(key: str, text: str):
    assert demand(*configured(IMAGE, {key: text})).watches is Watches.NO
    assert demand(*configured(IMAGE, {key: text.lower().replace("false", "true")})).watches is Watches.YES


def test_sources_over_several_keys_and_config_maps_add_up():
    one = container(IMAGE, mounts=(("config", "/etc/vector"),))
    owner = daemon_set(one, volumes=(Volume("config", config_maps=("a", "b")),))
    source = "sources: {%s: {type: kubernetes_logs}}"
    maps = (
        ConfigMap("logging", "a", {"a.yaml": source % "a", "README": "not: [a, config"}),
        ConfigMap("logging", "b", {"b.yaml": source % "b"}),
        ConfigMap("elsewhere", "b", {"c.yaml": source % "c"}),
    )
    assert demand(owner, Fleet(daemon_sets=(owner,), config_maps=maps)).watchers_per_pod == 2


def test_no_kubernetes_logs_source_means_no_watch():
    found = demand(*configured(IMAGE, {"vector.yaml": "sources: {m: {type: host_metrics}}"}))
    assert found.watches is Watches.NO
    assert "no kubernetes_logs source" in found.reason


def test_a_missing_config_map_depends_and_is_named():
    found = demand(*configured(IMAGE, None))
    assert (found.watches, found.watchers_per_pod) == (Watches.DEPENDS, 1)
    assert "ConfigMap config is not among the input" in found.reason


def test_a_secret_depends():
    one = container(IMAGE, mounts=(("config", "/etc/vector"),))
    found = demand(daemon_set(one, volumes=(Volume("config", secrets=("vector-config",)),)))
    assert found.watches is Watches.DEPENDS
    assert "Secret vector-config" in found.reason


def test_a_certificate_beside_a_configuration_that_was_read_changes_nothing():
    mounts = (("config", "/etc/vector"), ("tls", "/etc/tls"))
    owner = daemon_set(
        container(IMAGE, mounts=mounts),
        volumes=(Volume("config", config_maps=("config",)), Volume("tls", secrets=("tls",))),
    )
    maps = (ConfigMap("logging", "config", {"vector.yaml": TWO % (OFF, OFF)}),)
    assert demand(owner, Fleet(daemon_sets=(owner,), config_maps=maps)).watches is Watches.NO


def test_a_secret_projected_into_the_configuration_s_own_folder_may_hold_another_source():
    owner = daemon_set(
        container(IMAGE, mounts=(("config", "/etc/vector"),)),
        volumes=(Volume("config", config_maps=("config",), secrets=("more",)),),
    )
    maps = (ConfigMap("logging", "config", {"vector.yaml": TWO % (OFF, OFF)}),)
    assert demand(owner, Fleet(daemon_sets=(owner,), config_maps=maps)).watches is Watches.DEPENDS


@pytest.mark.parametrize(
    "text",
    [
        "sources: [",
        "sources: {k: {type: kubernetes_logs}",
        "\x00",
        "a: &a [*a]",
        "[" * 5000,
        "{" * 100 + "}" * 100,
    ],
)
def test_malformed_configuration_depends_and_names_config_map_and_key(text: str):
    found = demand(*configured(IMAGE, {"vector.yaml": text}))
    assert found.watches is Watches.DEPENDS
    assert "ConfigMap config, key vector.yaml" in found.reason


def test_a_broken_file_beside_a_narrowed_one_may_hold_another_source():
    found = demand(*configured(IMAGE, {"a.yaml": TWO % (OFF, OFF), "b.yaml": "sources: ["}))
    assert found.watches is Watches.DEPENDS
    assert "key b.yaml" in found.reason


def test_options_from_the_environment_are_read():
    text = TWO % (", insert_namespace_fields: '${NS:-true}'", OFF)
    assert demand(*configured(IMAGE, {"v.yaml": text})).watches is Watches.YES
    assert demand(*configured(IMAGE, {"v.yaml": text}, env={"NS": "false"})).watches is Watches.NO
    hidden = (EnvVar("NS", None, "secret/x/y"),)
    assert demand(*configured(IMAGE, {"v.yaml": text}, env=hidden)).watches is Watches.DEPENDS


@pytest.mark.parametrize(
    ("tag", "stack"), [("0.32.0", "kube-rs-old"), ("0.57.0", "kube-rs"), ("latest", "kube-rs")]
)
def test_the_client_library_follows_the_release(tag: str, stack: str):
    assert demand(*configured(f"timberio/vector:{tag}", {"v.yaml": TWO % ("", "")})).stack == stack


def test_network_policies_are_not_watched():
    found = demand(*configured(IMAGE, {"v.yaml": TWO % ("", "")}), resource=NETWORK_POLICIES)
    assert found.watches is Watches.NO
