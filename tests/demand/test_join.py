"""How evidence is joined: what RBAC refuses, what the catalogue knows, what an owner may add to it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from demand_builders import ALL, configured, container, daemon_set, demand
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.demand.declared import ANNOTATION
from watchbudget.demand.join import demands_of
from watchbudget.demand.model import Evidence, Grant, Watches
from watchbudget.inventory.fleet import Container, DaemonSet, Fleet

YES, NO, DEPENDS, UNKNOWN = Watches.YES, Watches.NO, Watches.DEPENDS, Watches.UNKNOWN

WATCHER = container("jtblin/kube2iam:0.10.9", "kube2iam")
CLEAN = container("fluent/fluent-bit:5.1.1", "fluent-bit")
STRANGER = container("corp/agent:1.0.0", "main")
DEPENDING = container("gcr.io/datadoghq/agent:7.60.0", "agent")


def _grant(scope: object, **fields: object) -> tuple[Grant, ...]:
    return (Grant(NAMESPACES, ("list", "watch"), scope, ("RoleBinding/a", "Role/a"), **fields),)


def test_one_demand_per_resource_in_their_order():
    owner = daemon_set(WATCHER)
    resources = (NETWORK_POLICIES, NAMESPACES, GroupResource("apps", "deployments"))
    found = demands_of(
        owner, Fleet((owner,)), ALL, "serviceAccount", resources, load_catalogue(), rbac_known=True
    )
    assert tuple(one.resource for one in found) == resources


def test_a_known_agent_with_the_right_to_watches():
    found = demand(daemon_set(WATCHER))
    assert (found.watches, found.evidence, found.watchers_per_pod) == (YES, Evidence.CATALOGUE, 1)
    assert found.agent is not None
    assert (found.agent.agent, found.agent.container, found.agent.version) == (
        "kube2iam",
        "kube2iam",
        "0.10.9",
    )
    assert found.sources
    assert "service account logging/agent may list and watch every object" in found.reason


def test_the_right_that_a_known_agent_does_not_use_is_no_watch():
    found = demand(daemon_set(CLEAN))
    assert (found.watches, found.evidence, found.watchers_per_pod) == (NO, Evidence.CATALOGUE, 0)


def test_the_right_of_an_unknown_agent_leaves_it_unknown():
    found = demand(daemon_set(STRANGER))
    assert (found.watches, found.evidence, found.watchers_per_pod) == (UNKNOWN, Evidence.GRANTED, 1)
    assert "container main" in found.reason


@pytest.mark.parametrize("agent", [WATCHER, STRANGER, DEPENDING, CLEAN])
def test_who_may_not_does_not(agent: Container):
    found = demand(daemon_set(agent), grants=())
    assert (found.watches, found.evidence, found.watchers_per_pod) == (NO, Evidence.GRANTED, 0)
    assert "the API server would refuse" in found.reason


def test_a_refused_watcher_is_still_named():
    found = demand(daemon_set(WATCHER), grants=())
    assert found.agent is not None
    assert "otherwise: kube2iam 0.10.9" in found.reason


def test_a_grant_of_another_resource_is_none():
    assert demand(daemon_set(WATCHER), resource=NAMESPACES, grants=ALL[1:]).watches is NO


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_either_verb_is_enough_to_count(verb: str):
    assert demand(daemon_set(WATCHER), grants=(replace(ALL[0], verbs=(verb,)),)).watches is YES


def test_grants_in_some_namespaces_are_no_cluster_wide_copy():
    found = demand(daemon_set(WATCHER), grants=_grant("namespaces", namespaces=("b", "a")))
    assert found.watches is NO
    assert "in namespace a, b only" in found.reason
    named = demand(daemon_set(WATCHER), grants=_grant("named", names=("kube-system",)))
    assert named.watches is NO
    assert "by name only" in named.reason


def test_what_the_server_itself_refused_is_refused():
    found = demand(daemon_set(WATCHER), grants=_grant("cluster", confirmed=False))
    assert found.watches is NO
    assert "own authorizers refuse" in found.reason


def test_without_rbac_among_the_input_the_grant_is_assumed_and_that_is_said():
    found = demand(daemon_set(WATCHER), grants=(), rbac_known=False)
    assert (found.watches, found.evidence) == (YES, Evidence.CATALOGUE)
    assert (
        "no grant of service account logging/agent is among the input; that there is one is assumed"
        in found.reason
    )


def test_without_rbac_the_default_account_s_grant_is_not_assumed():
    found = demand(daemon_set(WATCHER, service_account="default"), grants=(), rbac_known=False)
    assert (found.watches, found.evidence) == (DEPENDS, Evidence.CATALOGUE)
    assert "unless somebody bound it" in found.reason


def test_without_rbac_a_stranger_is_unknown_and_a_clean_agent_clean():
    assert demand(daemon_set(STRANGER), grants=(), rbac_known=False).watches is UNKNOWN
    assert demand(daemon_set(CLEAN), grants=(), rbac_known=False).watches is NO


@pytest.mark.parametrize("agent", [WATCHER, STRANGER, DEPENDING])
def test_pods_without_credentials_watch_nothing(agent: Container):
    found = demand(daemon_set(agent), identity="none")
    assert (found.watches, found.evidence) == (NO, Evidence.GRANTED)
    assert "no credentials" in found.reason


@pytest.mark.parametrize(("agent", "watches"), [(WATCHER, YES), (STRANGER, UNKNOWN), (CLEAN, NO)])
def test_with_a_kubeconfig_the_account_s_rights_decide_nothing(agent: Container, watches: Watches):
    found = demand(daemon_set(agent), identity="kubeconfig", grants=())
    assert found.watches is watches
    assert watches is NO or "kubeconfig" in found.reason


def test_a_stranger_beside_a_clean_agent_has_the_same_rights():
    found = demand(daemon_set(CLEAN, STRANGER))
    assert (found.watches, found.evidence) == (UNKNOWN, Evidence.GRANTED)
    assert "nothing is known of container main" in found.reason
    assert (
        demand(daemon_set(CLEAN, container("quay.io/brancz/kube-rbac-proxy:v0.22.1", "proxy"))).watches is NO
    )
    assert demand(daemon_set(WATCHER, STRANGER)).watches is YES


def test_init_containers_watch_nothing_unless_they_are_sidecars():
    assert demand(daemon_set(CLEAN, replace(WATCHER, init=True))).watches is NO
    assert demand(daemon_set(CLEAN, replace(WATCHER, init=True, sidecar=True))).watches is YES


def test_two_agents_in_one_pod_add_up():
    knp = container("registry.k8s.io/networking/kube-network-policies:v1.1.1", "knp")
    found = demand(daemon_set(WATCHER, knp))
    assert (found.watches, found.watchers_per_pod) == (YES, 2)
    assert demand(daemon_set(WATCHER, knp), resource=NETWORK_POLICIES).watchers_per_pod == 1


def _declaring(owner: DaemonSet, said: object) -> DaemonSet:
    return replace(owner, annotations={ANNOTATION: json.dumps({"namespaces": said})})


@pytest.mark.parametrize("agent", [WATCHER, CLEAN, STRANGER, DEPENDING])
@pytest.mark.parametrize("trusted", [True, False])
def test_an_owner_may_always_say_that_all_is_watched(agent: Container, trusted: bool):
    found = demand(_declaring(daemon_set(agent), "all"), trust_declarations=trusted)
    assert (found.watches, found.evidence, found.watchers_per_pod) == (YES, Evidence.DECLARED, 1)


@pytest.mark.parametrize(("agent", "watches"), [(WATCHER, YES), (DEPENDING, DEPENDS), (STRANGER, UNKNOWN)])
def test_an_owner_may_say_that_nothing_is_watched_only_where_that_is_trusted(
    agent: Container, watches: Watches
):
    owner = _declaring(daemon_set(agent), "none")
    found = demand(owner)
    assert found.watches is watches
    assert found.evidence is not Evidence.DECLARED
    assert "does not trust" in found.reason
    trusted = demand(owner, trust_declarations=True)
    assert (trusted.watches, trusted.evidence, trusted.watchers_per_pod) == (NO, Evidence.DECLARED, 0)


def test_a_selector_narrows_a_known_watch_only_where_it_is_trusted():
    owner = _declaring(daemon_set(WATCHER), "tier=tenant")
    assert demand(owner).selector is None
    trusted = demand(owner, trust_declarations=True)
    assert (trusted.watches, trusted.selector) == (YES, "tier=tenant")


def test_a_selector_makes_an_unknown_watch_a_known_one():
    found = demand(_declaring(daemon_set(STRANGER), "tier=tenant"))
    assert (found.watches, found.selector, found.evidence) == (YES, "tier=tenant", Evidence.DECLARED)


def test_declaring_all_over_a_selective_watch_makes_it_unselective():
    text = {"v.yaml": "sources: {k: {type: kubernetes_logs, extra_namespace_label_selector: a=b}}"}
    owner, fleet = configured("timberio/vector:0.50.0", text)
    assert demand(owner, fleet).selector == "a=b"
    assert demand(_declaring(owner, "all"), fleet).selector is None


def test_a_declaration_that_nobody_understands_changes_nothing():
    owner = daemon_set(WATCHER)
    assert demand(_declaring(owner, 3), trust_declarations=True) == demand(owner)


@given(
    st.sampled_from([WATCHER, CLEAN, STRANGER, DEPENDING]),
    st.sampled_from(["none", "all", "a=b", 3]),
    st.booleans(),
    st.sampled_from(["serviceAccount", "kubeconfig", "none"]),
    st.booleans(),
)
def test_trust_only_ever_weakens(
    agent: Container, said: object, granted: bool, identity: object, rbac_known: bool
):
    owner = _declaring(daemon_set(agent), said)
    common: dict[str, object] = {
        "grants": ALL if granted else (),
        "identity": identity,
        "rbac_known": rbac_known,
    }
    plain, trusted = (demand(owner, trust_declarations=trust, **common) for trust in (False, True))
    assert trusted.watchers_per_pod <= plain.watchers_per_pod
    assert plain.watches is trusted.watches or trusted.watches is NO
    assert plain.evidence <= trusted.evidence
    for one in (plain, trusted):
        assert (one.watchers_per_pod == 0) == (one.watches is NO)
