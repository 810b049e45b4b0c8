"""unselective-watch: fires on every full copy that counts, and names what to do about it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from policy_samples import CACHE, CENSUS, GRANT, OPTION, budget, context, demand
from watchbudget.api.resources import NETWORK_POLICIES
from watchbudget.demand.model import Evidence, Narrowing, Watches
from watchbudget.inventory.fleet import Census
from watchbudget.policy.rules.unselective_watch import RULE


def test_says_what_every_pod_keeps_and_what_that_costs():
    material = RULE.check(context())
    assert material is not None
    assert (
        material.message == "every pod keeps a copy of all namespaces: 29 MiB per pod, 2.8 GiB on 100 nodes"
    )
    assert material.remedy.target == "DaemonSet logging/agent"


def test_a_selector_of_the_server_is_enough():
    assert RULE.check(context(demand(selector="team=a"))) is None


def test_one_wide_watch_beside_a_narrow_one_is_named_alone():
    material = RULE.check(context(demand(selector="a=b"), demand(NETWORK_POLICIES)))
    assert material is not None
    assert "all networkpolicies:" in material.message
    assert "namespaces" not in material.message


def test_the_agents_own_option_is_the_remedy_and_frees_the_copy():
    material = RULE.check(context(demand(narrowing=OPTION)))
    assert material is not None
    assert material.remedy.text == "Agent: set watch_namespaces: false (since 2.0.0; lost then: labels)."
    assert material.freed_bytes == 100 * CACHE


def test_an_older_release_is_upgraded_first():
    agent = replace(demand().agent, version="1.9.3")
    material = RULE.check(context(demand(narrowing=OPTION, agent=agent)))
    assert material is not None
    assert material.remedy.text.startswith(
        "Agent: upgrade from 1.9.3 to 2.0.0 or later, then set watch_namespaces: false"
    )


def test_an_option_that_gives_up_the_agents_work_is_no_saving():
    option = Narrowing("--policies=false", lost_fields=("enforcement of policies",), ends_function=True)
    material = RULE.check(context(demand(narrowing=option)))
    assert material is not None
    assert material.freed_bytes == 0
    assert "only where enforcement of policies is not needed" in material.remedy.text


def test_an_option_that_loses_nothing_and_frees_the_node_is_a_saving():
    material = RULE.check(context(demand(narrowing=Narrowing("a central agent"))))
    assert material is not None
    assert material.freed_bytes > 0


def test_an_option_that_only_spares_the_api_server_frees_no_memory():
    material = RULE.check(context(demand(narrowing=Narrowing("a proxy", frees_memory=False))))
    assert material is not None
    assert material.freed_bytes == 0
    assert "the pods go on holding their copies" in material.remedy.text


def test_a_known_agent_without_an_option_is_said_to_have_none():
    material = RULE.check(context())
    assert material is not None
    assert material.remedy.text.startswith("Agent has no known option to watch fewer namespaces")
    assert material.freed_bytes == 0


def test_an_owners_own_agent_is_told_to_select():
    own = demand(agent=None, evidence=Evidence.DECLARED)
    material = RULE.check(context(own))
    assert material is not None
    assert "a selector that the API server applies" in material.remedy.text


@pytest.mark.parametrize("watches", [Watches.UNKNOWN, Watches.DEPENDS])
def test_permission_alone_leads_to_the_role_that_gives_it(watches: Watches):
    strict = budget(enforcement={"action": "Deny", "minimumEvidence": "granted"})
    uncertain = demand(watches=watches, evidence=Evidence.GRANTED)
    material = RULE.check(context(uncertain, of=strict, shared_with=("Deployment typha",)))
    assert material is not None
    assert material.message.startswith("every pod may keep a copy of all namespaces")
    assert (
        "take list and watch of namespaces out of ClusterRole/agent (bound by ClusterRoleBinding/agent, "
        "on which Deployment typha may rely too)" in material.remedy.text
    )
    assert '{"namespaces": "none"}' in material.remedy.text
    assert material.freed_bytes == 0


@pytest.mark.parametrize("role", ["view", "cluster-admin", "system:node-proxier"])
def test_nobody_is_told_to_change_a_role_of_the_cluster_itself(role: str):
    strict = budget(enforcement={"minimumEvidence": "granted"})
    of_the_cluster = replace(GRANT, path=("ClusterRoleBinding/agent", f"ClusterRole/{role}"))
    uncertain = demand(watches=Watches.UNKNOWN, evidence=Evidence.GRANTED)
    material = RULE.check(context(uncertain, of=strict, grants=(of_the_cluster,)))
    assert material is not None
    assert (
        "let ClusterRoleBinding/agent bind a role without list and watch of namespaces instead of "
        f"ClusterRole/{role}; if" in material.remedy.text
    )


def test_a_permission_that_no_role_explains_names_the_account():
    strict = budget(enforcement={"minimumEvidence": "granted"})
    unexplained = replace(GRANT, path=("SubjectAccessReview",), verbs=("watch",))
    uncertain = demand(watches=Watches.UNKNOWN, evidence=Evidence.GRANTED)
    material = RULE.check(context(uncertain, of=strict, grants=(unexplained,)))
    assert material is not None
    assert "take watch of namespaces away from service account logging/agent" in material.remedy.text


def test_without_a_census_it_fires_without_a_price():
    material = RULE.check(context(census=Census()))
    assert material is not None
    assert material.message == "every pod keeps a copy of all namespaces"


def test_one_node_is_singular():
    material = RULE.check(context(nodes=1, census=CENSUS))
    assert material is not None
    assert material.message.endswith("29 MiB on 1 node")
