"""memory-limit-missing and memory-limit-below-peak, and that their patches mend what they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_samples import (
    BASE,
    MIB,
    PEAK,
    budget,
    context,
    daemon_set,
    demand,
    from_manifest,
    only,
    patched,
    rules_of,
)
from watchbudget.api.quantity import parse_quantity
from watchbudget.api.resources import NETWORK_POLICIES
from watchbudget.demand.model import AgentMatch, Watches
from watchbudget.inventory.fleet import Container, LimitRange
from watchbudget.policy.limits import container_patch, recommended_limit
from watchbudget.policy.rules import memory_limit_below_peak, memory_limit_missing

MISSING, BELOW = memory_limit_missing.RULE, memory_limit_below_peak.RULE
NEEDED = BASE + PEAK


def limited(limit: int | None, **fields: object) -> Container:
    return Container("agent", "example.org/agent:2.1.0", memory_limit=limit, **fields)  # type: ignore[arg-type]


SIDECAR = Container("proxy", "example.org/proxy")


class TestMissing:
    def test_fires_without_a_limit_and_names_the_container_and_the_peak(self):
        material = MISSING.check(context())
        assert material is not None
        assert material.message == (
            "no memory limit on agent: caches of namespaces may grow until the node runs out "
            "(a re-list takes 90 MiB today)"
        )
        assert material.remedy.patch == (
            {
                "op": "add",
                "path": "/spec/template/spec/containers/0/resources",
                "value": {"limits": {"memory": "128Mi"}},
            },
        )

    def test_is_silent_with_a_limit(self):
        assert MISSING.check(context(item=daemon_set(containers=(limited(MIB),)))) is None

    def test_a_sidecar_without_a_limit_is_named_and_gets_no_invented_figure(self):
        material = MISSING.check(context(item=daemon_set(containers=(limited(MIB), SIDECAR))))
        assert material is not None
        assert material.message == "no memory limit on proxy, in a pod that watches namespaces"
        assert material.remedy.patch == ()

    def test_the_namespaces_default_and_the_pods_own_limit_count(self):
        assert MISSING.check(context(limit_ranges=(LimitRange("logging", "d", 64 * MIB),))) is None
        assert MISSING.check(context(item=daemon_set(pod_memory_limit=64 * MIB))) is None

    def test_where_nobody_knows_which_container_watches_no_patch_is_guessed(self):
        item = daemon_set(containers=(limited(None), SIDECAR))
        material = MISSING.check(context(demand(agent=None), item=item))
        assert material is not None
        assert material.remedy.patch == ()
        assert "agent, proxy" in material.message

    def test_a_watch_of_unknown_size_needs_a_limit_too(self):
        material = MISSING.check(context(demand(selector="a=b")))
        assert material is not None
        assert material.remedy.patch == ()


class TestBelowPeak:
    @pytest.mark.parametrize(("limit", "fires"), [(NEEDED - 1, True), (NEEDED, False), (None, False)])
    def test_fires_one_byte_below_what_a_relist_takes(self, limit: int | None, fires: bool):
        material = BELOW.check(context(item=daemon_set(containers=(limited(limit),))))
        assert (material is not None) is fires

    def test_says_the_sum(self):
        material = BELOW.check(context(item=daemon_set(containers=(limited(64 * MIB),))))
        assert material is not None
        assert material.message == (
            "agent may use 64 MiB, but a re-list takes 90 MiB (33 MiB idle, 57 MiB caches): "
            "it is killed, lists again, is killed again"
        )
        assert material.remedy.text.startswith("Raise resources.limits.memory of agent to 128 MiB or more")

    def test_the_limit_of_the_container_that_watches_counts(self):
        roomy = Container("proxy", "x", memory_limit=10 * NEEDED)
        assert BELOW.check(context(item=daemon_set(containers=(limited(MIB), roomy)))) is not None
        tight = Container("proxy", "x", memory_limit=MIB)
        assert BELOW.check(context(item=daemon_set(containers=(limited(NEEDED), tight)))) is None

    def test_where_nobody_knows_which_container_watches_the_sum_is_the_bound(self):
        half = limited(NEEDED // 2), Container("other", "x", memory_limit=NEEDED // 2 - 1)
        material = BELOW.check(context(demand(agent=None), item=daemon_set(containers=half)))
        assert material is not None
        assert material.message.startswith("the pod may use")
        assert material.remedy.patch == ()

    def test_two_caches_of_one_process_share_its_base(self):
        both = demand(), demand(NETWORK_POLICIES)
        enough = BASE + 2 * PEAK
        assert BELOW.check(context(*both, item=daemon_set(containers=(limited(enough),)))) is None
        assert BELOW.check(context(*both, item=daemon_set(containers=(limited(enough - 1),)))) is not None

    def test_two_watching_containers_are_judged_each(self):
        other = demand(NETWORK_POLICIES, agent=AgentMatch("o", "Other", "other", None))
        item = daemon_set(containers=(limited(MIB), Container("other", "x", memory_limit=2 * MIB)))
        material = BELOW.check(context(demand(), other, item=item))
        assert material is not None
        assert [operation["path"] for operation in material.remedy.patch] == [
            f"/spec/template/spec/containers/{index}/resources/limits/memory" for index in (0, 1)
        ]

    def test_the_pods_limit_binds_all_containers_and_is_raised_above_them(self):
        item = daemon_set(containers=(limited(32 * MIB),), pod_memory_limit=64 * MIB)
        material = BELOW.check(context(item=item))
        assert material is not None
        assert [operation["path"] for operation in material.remedy.patch] == [
            "/spec/template/spec/containers/0/resources/limits/memory",
            "/spec/template/spec/resources/limits/memory",
        ]
        only_pod = BELOW.check(context(item=daemon_set(pod_memory_limit=64 * MIB)))
        assert only_pod is not None
        assert only_pod.message.startswith("the pod may use 64 MiB")
        assert [operation["path"] for operation in only_pod.remedy.patch] == [
            "/spec/template/spec/resources/limits/memory"
        ]

    def test_the_namespaces_default_may_be_what_is_too_low(self):
        material = BELOW.check(context(limit_ranges=(LimitRange("logging", "d", 64 * MIB),)))
        assert material is not None
        assert material.message.startswith("agent may use 64 MiB")

    def test_what_is_uncertain_does_not_count(self):
        item = daemon_set(containers=(limited(NEEDED),))
        unsure = demand(NETWORK_POLICIES, Watches.DEPENDS)
        assert BELOW.check(context(demand(), unsure, item=item)) is None
        assert (
            BELOW.check(context(demand(selector="a=b"), item=daemon_set(containers=(limited(MIB),)))) is None
        )


MANIFEST: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {
        "name": "agent",
        "namespace": "logging",
        "annotations": {"watchbudget.io/watches": '{"namespaces": "all"}'},
    },
    "spec": {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": {
            "metadata": {"labels": {"app": "agent"}},
            "spec": {
                "initContainers": [{"name": "setup", "image": "setup:1"}],
                "containers": [{"name": "agent", "image": "agent:1"}],
            },
        },
    },
}


@pytest.mark.parametrize(
    "resources",
    [
        None,
        {},
        {"limits": {"cpu": "1"}},
        {"requests": {"memory": "700Mi"}},
        {"limits": None, "requests": {"cpu": "1"}},
        {"limits": {"memory": "16Mi", "cpu": "1"}},
    ],
)
@pytest.mark.parametrize("sidecar", [False, True])
def test_the_patch_mends_the_manifest_and_keeps_everything_else(
    resources: dict[str, Any] | None, sidecar: bool, tmp_path: Path
):
    pod = {**MANIFEST["spec"]["template"]["spec"]}
    watcher = {"name": "agent", "image": "agent:1", "resources": resources}
    if sidecar:
        pod["initContainers"] = [{"name": "setup", "image": "setup:1"}, watcher | {"restartPolicy": "Always"}]
        pod["containers"] = []
    else:
        pod["containers"] = [watcher]
    raw = patched(MANIFEST, [{"op": "replace", "path": "/spec/template/spec", "value": pod}])
    if sidecar:  # a pod needs a container; this one is limited, so that the sidecar is the question
        raw["spec"]["template"]["spec"]["containers"] = [
            {"name": "main", "image": "main:1", "resources": {"limits": {"memory": "1Gi"}}}
        ]
        patch = container_patch(from_manifest(raw, tmp_path).daemon_sets[0], "agent", 512 * MIB)
    else:
        judgement = only(from_manifest(raw, tmp_path), budget())
        (finding,) = (each for each in judgement.findings if each.rule.startswith("memory-limit"))
        patch = finding.remedy.patch
    mended = patched(raw, patch)
    after = only(from_manifest(mended, tmp_path), budget())
    assert not [rule for rule in rules_of(after) if rule.startswith("memory-limit")]
    container = mended["spec"]["template"]["spec"]["initContainers" if sidecar else "containers"][-1]
    given = resources or {}
    assert {
        key: value for key, value in (given.get("limits") or {}).items() if key != "memory"
    }.items() <= container["resources"]["limits"].items()
    assert container["resources"].get("requests") == given.get("requests")
    request = (given.get("requests") or {}).get("memory", 0)
    assert parse_quantity(container["resources"]["limits"]["memory"]) >= parse_quantity(request) or sidecar


def test_no_patch_for_a_container_that_is_not_there():
    assert container_patch(daemon_set(), "gone", MIB) == ()


@given(st.integers(0, 2**50), st.integers(0, 2**50), st.none() | st.integers(0, 2**50))
def test_a_recommended_limit_holds_what_is_needed_with_headroom_and_never_falls(
    needed: int, more: int, request_: int | None
):
    limit = recommended_limit(needed, request_)
    assert limit * 100 >= needed * 130
    assert limit >= (request_ or 0)
    assert limit % (16 * MIB) == 0
    assert recommended_limit(needed + more, request_) >= limit
