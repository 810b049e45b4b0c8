"""The fleet of a real control plane: complete, by few requests and rights, and honest about gaps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from live_cluster import (
    AGENTS,
    AUDITORS,
    ROOT,
    audit_rules,
    make_auditor,
    requests_of,
    single_permissions,
    wait_for_counted_daemon_sets,
)
from watchbudget.api.resources import DEFAULT_WATCHED, NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.inventory.cluster import load, read_fleet
from watchbudget.inventory.connection import connect
from watchbudget.inventory.fleet import DaemonSet, Fleet, ResourceCensus
from watchbudget.localcluster import LocalCluster

PROTOBUF = {"Accept": "application/vnd.kubernetes.protobuf"}
PATHS = {NAMESPACES: "/api/v1/namespaces", NETWORK_POLICIES: "/apis/networking.k8s.io/v1/networkpolicies"}
LISTING = [
    {"apiGroups": [""], "resources": ["namespaces", "nodes"], "verbs": ["list"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list"]},
]


@pytest.fixture(scope="module")
def live(control_plane: None) -> Iterator[LocalCluster]:
    """A cluster of this module's own: three nodes, three agents, an auditor."""
    with LocalCluster(service_accounts=False) as cluster:
        cluster.add_nodes(3)
        cluster.apply(AGENTS.read_text())
        wait_for_counted_daemon_sets(cluster)
        cluster.wait_for_census("nodes", 3)
        yield cluster


@pytest.fixture(scope="module")
def auditor(live: LocalCluster) -> Path:
    return make_auditor(live, "auditor", audit_rules())


@pytest.fixture(scope="module")
def fleet(live: LocalCluster, auditor: Path) -> Fleet:
    return load(str(auditor))


def without_metrics() -> list[dict[str, object]]:
    return [rule for rule in audit_rules() if "nonResourceURLs" not in rule]


def daemon_set(fleet: Fleet, name: str) -> DaemonSet:
    return next(item for item in fleet.daemon_sets if item.name == name)


def entry(fleet: Fleet, resource: GroupResource) -> ResourceCensus:
    found = fleet.census.of(resource)
    assert found is not None
    return found


class TestFleet:
    def test_daemon_sets_with_the_nodes_that_their_controller_counted(self, fleet: Fleet):
        keys = [item.key for item in fleet.daemon_sets]
        assert keys == [("wb-live", "shipper"), ("wb-live-two", "nowhere"), ("wb-live-two", "policy-agent")]
        assert daemon_set(fleet, "shipper").service_account == "shipper"
        assert daemon_set(fleet, "shipper").nodes == 3
        assert daemon_set(fleet, "nowhere").nodes == 0
        assert (fleet.nodes, fleet.nodes_source) == (3, "cluster")

    def test_roles_and_bindings_of_the_cluster_and_of_their_namespaces_only(self, fleet: Fleet):
        assert fleet.complete_rbac
        roles = {(role.namespace, role.name) for role in fleet.rbac.roles}
        assert {(None, "wb-live-shipper"), (None, "cluster-admin"), ("wb-live-two", "policies")} <= roles
        bindings = {(binding.namespace, binding.name) for binding in fleet.rbac.bindings}
        assert {(None, "wb-live-shipper"), (None, "cluster-admin"), ("wb-live-two", "policies")} <= bindings
        assert {namespace for namespace, _ in roles | bindings} == {None, "wb-live-two"}  # not kube-system's

    def test_what_the_authorizers_say(self, fleet: Fleet):
        assert fleet.access.state == "asked"
        allowed = {key for key, value in fleet.access.allowed.items() if value}
        assert allowed == {("wb-live", "shipper", NAMESPACES, verb) for verb in ("list", "watch")}
        assert len(fleet.access.allowed) == 2 * 2 * 2  # two accounts, two resources, two verbs

    def test_accounts_limits_labels_and_sharers(self, fleet: Fleet):
        accounts = {(item.namespace, item.name): item.automount for item in fleet.service_accounts}
        assert accounts == {
            ("wb-live", "shipper"): False
        }  # the default account of the other does not exist here
        assert [(item.namespace, item.default_memory_limit) for item in fleet.limit_ranges] == [
            ("wb-live", 128 * 2**20)
        ]
        assert fleet.namespace_labels["wb-live"]["team"] == "observability"
        assert set(fleet.namespace_labels) == {"wb-live", "wb-live-two"}
        assert fleet.shared_accounts == {("wb-live", "shipper"): ("Deployment typha",)}

    def test_only_the_config_maps_that_are_referred_to(self, fleet: Fleet):
        assert [(item.name, dict(item.data)) for item in fleet.config_maps] == [
            ("shipper-config", {"agent.yaml": "sources: {}"})
        ]

    def test_an_absent_config_map_is_told_unless_it_is_optional(self, fleet: Fleet):
        assert [(problem.severity, problem.object) for problem in fleet.problems] == [
            ("warning", "ConfigMap wb-live/shipper-absent")
        ]

    def test_the_server_and_the_time_of_the_census(self, live: LocalCluster, fleet: Fleet):
        assert fleet.census.server_version == (1, 36)
        assert entry(fleet, NAMESPACES).source == "metrics"
        assert entry(fleet, NAMESPACES).read_at is not None
        assert fleet.budget_documents == ()

    def test_only_the_namespaces_asked_for(self, auditor: Path):
        fleet = load(str(auditor), namespaces=["wb-live", "wb-live"])
        assert [item.key for item in fleet.daemon_sets] == [("wb-live", "shipper")]

    def test_a_namespace_that_does_not_exist_is_told(self, auditor: Path):
        fleet = load(str(auditor), namespaces=["no-such-namespace"])
        assert fleet.daemon_sets == ()
        assert [problem.severity for problem in fleet.problems] == ["error"]
        assert "there is no namespace 'no-such-namespace'" in fleet.problems[0].message


class TestRights:
    def test_it_never_lists_or_watches_what_it_prices(self, live: LocalCluster, auditor: Path, fleet: Fleet):
        events = requests_of(live, "auditor")
        assert len(events) > 20
        assert {event["verb"] for event in events} == {"list", "get", "create"}
        listed = {event["objectRef"]["resource"] for event in events if event["verb"] == "list"}
        assert listed == {
            "daemonsets",
            "deployments",
            "clusterroles",
            "clusterrolebindings",
            "roles",
            "rolebindings",
            "limitranges",
            "watchbudgets",
        }
        created = {event["objectRef"]["resource"] for event in events if event["verb"] == "create"}
        assert created == {"subjectaccessreviews"}
        assert all("limit=500" in event["requestURI"] for event in events if event["verb"] == "list")

    @pytest.mark.parametrize("permission", [name for name, _ in single_permissions(audit_rules())])
    def test_every_permission_is_needed_and_its_absence_told(self, live: LocalCluster, permission: str):
        rules = [rule for name, rule in single_permissions(audit_rules()) if name != permission]
        name = "without-" + permission.replace(" ", "-").replace("/", "").replace(".", "-")
        kubeconfig = make_auditor(live, name, rules)
        if permission == "list daemonsets.apps":
            with pytest.raises(Exception, match=f"`{permission}`"):
                load(str(kubeconfig))
            return
        fleet = load(str(kubeconfig))
        told = [problem for problem in fleet.problems if f"`{permission}`" in problem.message]
        assert told, [str(problem) for problem in fleet.problems]
        assert len(fleet.daemon_sets) == 3
        if permission != "create subjectaccessreviews.authorization.k8s.io":
            assert fleet.access.state == "asked"
        if "role" in permission:
            assert not fleet.complete_rbac

    def test_forbidden_access_reviews_leave_the_roles(self, live: LocalCluster, fleet: Fleet):
        rules = [rule for rule in audit_rules() if rule.get("resources") != ["subjectaccessreviews"]]
        found = load(str(make_auditor(live, "no-reviews", rules)))
        assert found.access.state == "forbidden"
        assert dict(found.access.allowed) == {}
        assert found.complete_rbac
        assert {role.name for role in found.rbac.roles} >= {"wb-live-shipper", "policies"}

    def test_neither_roles_nor_reviews_is_an_error(self, live: LocalCluster):
        bare = [{"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["list"]}]
        found = load(str(make_auditor(live, "bare", bare)))
        assert len(found.daemon_sets) == 3
        assert any(
            "grants may be missing" in problem.message
            for problem in found.problems
            if problem.severity == "error"
        )
        counted = [problem for problem in found.problems if "could not be counted" in problem.message]
        assert len(counted) == 2
        assert (found.nodes, found.nodes_source) == (3, "assumed")  # from the largest DaemonSet
        # what is missing in each namespace is told once, not once for each
        assert len(found.problems) == len({problem.message for problem in found.problems}) < 20

    def test_a_namespace_whose_daemon_sets_are_forbidden_is_an_error_of_its_own(self, live: LocalCluster):
        kubeconfig = make_auditor(live, "one-namespace", [])
        live.kubectl("create", "role", "ds", "--verb=list", "--resource=daemonsets.apps", "-n", "wb-live")
        subject = f"--serviceaccount={AUDITORS}:one-namespace"
        live.kubectl("create", "rolebinding", "one-auditor", "--role=ds", subject, "-n", "wb-live")
        fleet = load(str(kubeconfig), namespaces=["wb-live", "wb-live-two"])
        live.kubectl("delete", "role/ds", "rolebinding/one-auditor", "-n", "wb-live")
        assert [item.key for item in fleet.daemon_sets] == [("wb-live", "shipper")]
        told = [problem.message for problem in fleet.problems if problem.severity == "error"]
        assert any("not all DaemonSets of namespace wb-live-two could be read" in message for message in told)


def true_bytes(live: LocalCluster, resource: GroupResource) -> int:
    return len(live.request("GET", PATHS[resource], headers=PROTOBUF).body)


def true_count(live: LocalCluster, resource: GroupResource) -> int:
    return len(live.request("GET", PATHS[resource]).json()["items"])


async def _count_requests(kubeconfig: Path) -> int:
    async with connect(str(kubeconfig)) as api:
        await read_fleet(api)
        return api.requests


@pytest.fixture(scope="module")
def before(live: LocalCluster, auditor: Path) -> int:
    live.seed(namespaces=10, network_policies_per_namespace=2, bytes_per_network_policy=900)
    return asyncio.run(_count_requests(auditor))


@pytest.fixture(scope="module")
def seeded(live: LocalCluster, before: int) -> LocalCluster:
    live.seed(
        namespaces=300,
        network_policies_per_namespace=2,
        bytes_per_namespace=1200,
        bytes_per_network_policy=900,
    )
    live.wait_for_census("networkpolicies", 600, group="networking.k8s.io")
    live.wait_for_census("namespaces", true_count(live, NAMESPACES))
    return live


class TestCensus:
    """In this order: few objects, then 300 namespaces and 600 policies."""

    def test_ten_namespaces_and_three_hundred_cost_the_same_requests(
        self, before: int, seeded: LocalCluster, auditor: Path
    ):
        assert asyncio.run(_count_requests(auditor)) == before

    @pytest.mark.parametrize("resource", DEFAULT_WATCHED, ids=str)
    def test_metrics_tell_the_count_exactly_and_the_bytes_nearly(
        self, seeded: LocalCluster, auditor: Path, resource: GroupResource
    ):
        found = entry(load(str(auditor)), resource)
        assert found.source == "metrics"
        assert found.objects == true_count(seeded, resource)
        assert found.stored_bytes == pytest.approx(true_bytes(seeded, resource), rel=0.15)

    @pytest.mark.parametrize("resource", DEFAULT_WATCHED, ids=str)
    def test_without_metrics_a_page_does(self, seeded: LocalCluster, resource: GroupResource):
        kubeconfig = make_auditor(seeded, "no-metrics", [*without_metrics(), *LISTING])
        fleet = load(str(kubeconfig))
        assert [problem.object for problem in fleet.problems] == ["ConfigMap wb-live/shipper-absent"]
        found = entry(fleet, resource)
        assert (found.source, found.bytes_assumed) == ("page", False)
        assert found.objects == true_count(seeded, resource)
        assert found.stored_bytes == pytest.approx(true_bytes(seeded, resource), rel=0.15)
        # both ways must price alike
        assert found.stored_bytes == pytest.approx(
            entry(load(str(seeded.kubeconfig)), resource).stored_bytes, rel=0.05
        )
        assert (fleet.nodes, fleet.nodes_source) == (3, "cluster")
        listed = {
            event["requestURI"]
            for event in requests_of(seeded, "no-metrics")
            if event["verb"] == "list"
            and event["objectRef"]["resource"] in {"namespaces", "networkpolicies", "nodes"}
        }
        assert listed == {f"{path}?limit=100" for path in PATHS.values()} | {"/api/v1/nodes?limit=1"}

    def test_neither_metrics_nor_lists_is_an_error(self, seeded: LocalCluster):
        fleet = load(str(make_auditor(seeded, "no-census", without_metrics())))
        assert fleet.census.resources == ()
        errors = [problem.message for problem in fleet.problems if problem.severity == "error"]
        assert len(errors) == 2
        assert all("`get /metrics`" in message for message in errors)

    def test_a_custom_resource_is_measured_in_json_as_it_is_stored(self, seeded: LocalCluster):
        crd = yaml.safe_load((Path(__file__).with_name("live_crd.yaml")).read_text())
        seeded.apply(yaml.safe_dump(crd))
        seeded.kubectl(
            "wait", "--for=condition=Established", "crd/identities.live.watchbudget.io", "--timeout=20s"
        )
        things = [
            {
                "apiVersion": "live.watchbudget.io/v1",
                "kind": "Identity",
                "metadata": {"name": f"id-{number}"},
                "spec": {"text": "x" * 500},
            }
            for number in range(30)
        ]
        for thing in things:
            seeded.request("POST", "/apis/live.watchbudget.io/v1/identities", thing)
        identities = GroupResource("live.watchbudget.io", "identities")
        seeded.wait_for_census("identities", 30, group="live.watchbudget.io")
        by_metrics = entry(load(str(seeded.kubeconfig), resources=[identities]), identities)
        rules = [{"apiGroups": ["live.watchbudget.io"], "resources": ["identities"], "verbs": ["list"]}]
        kubeconfig = make_auditor(seeded, "custom", [*without_metrics(), *rules])
        by_page = entry(load(str(kubeconfig), resources=[identities]), identities)
        assert (by_metrics.source, by_page.source) == ("metrics", "page")
        assert (by_metrics.objects, by_page.objects) == (30, 30)
        assert by_page.stored_bytes == pytest.approx(by_metrics.stored_bytes, rel=0.15)


def test_lists_of_more_than_a_page_are_read_whole(live: LocalCluster, auditor: Path):
    for number in range(1100):
        role = {"metadata": {"name": f"wb-many-{number}", "labels": {"wb-many": "yes"}}, "rules": []}
        live.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    fleet = load(str(auditor))
    live.kubectl("delete", "clusterroles", "-l", "wb-many=yes", "--wait=false")
    names = [role.name for role in fleet.rbac.roles if role.name.startswith("wb-many-")]
    assert sorted(names) == sorted(f"wb-many-{number}" for number in range(1100))
    asked = [event["requestURI"] for event in requests_of(live, "auditor")]
    assert sum("clusterroles?limit=500&continue=" in uri for uri in asked) >= 2


class TestBudgets:
    def test_the_clusters_budgets_are_found_and_what_they_watch_is_counted(
        self, live: LocalCluster, auditor: Path
    ):
        crd = ROOT / "crds" / "watchbudget.io_watchbudgets.yaml"
        live.kubectl("apply", "--server-side", "-f", str(crd))
        live.kubectl(
            "wait", "--for=condition=Established", "crd/watchbudgets.watchbudget.io", "--timeout=20s"
        )
        budget = {
            "apiVersion": "watchbudget.io/v1alpha1",
            "kind": "WatchBudget",
            "metadata": {"name": "services-too"},
            "spec": {"resources": [{"group": "", "resource": "services"}]},
        }
        live.apply(yaml.safe_dump(budget))
        fleet = load(str(auditor))
        live.kubectl("delete", "wb/services-too")
        (source, document), *rest = fleet.budget_documents
        assert rest == []
        assert str(source) == "cluster"
        assert (document["apiVersion"], document["kind"]) == ("watchbudget.io/v1alpha1", "WatchBudget")
        services = GroupResource("", "services")
        assert [item.resource for item in fleet.census.resources] == [*DEFAULT_WATCHED, services]
        assert ("wb-live", "shipper", services, "list") in fleet.access.allowed


def test_nothing_is_left_open(live: LocalCluster, auditor: Path):
    """An unclosed session or socket would be told on stderr."""
    code = (
        "import sys\n"
        "from watchbudget.inventory import cluster\n"
        "assert 'kubernetes' not in sys.modules, 'a command that needs no cluster pays for the client'\n"
        f"print(len(cluster.load({str(auditor)!r}).daemon_sets))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("3", "")


def test_progress_is_told(auditor: Path):
    told: list[tuple[str, int, int | None]] = []
    load(str(auditor), progress=lambda stage, done=0, total=None: told.append((stage, done, total)))
    assert [stage for stage, _, _ in told if stage != told[0][0]]
    assert ("Asking what service accounts may do", 8, 8) in told
    assert all(total is None or done <= total for _, done, total in told)
