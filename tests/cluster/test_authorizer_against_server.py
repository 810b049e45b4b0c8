"""Our authorizer and the API server's own, asked the same questions."""

from __future__ import annotations

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from rbac_cases import ACCOUNTS, API, NAMESPACES, Case, Generator, account_case, api_object, api_path
from watchbudget.api.resources import NAMESPACES as ALL_NAMESPACES
from watchbudget.api.resources import NETWORK_POLICIES, GroupResource
from watchbudget.demand.aggregation import settled_rules
from watchbudget.demand.authorizer import Authorizer, groups_of, username_of
from watchbudget.demand.builtin_roles import builtin_roles
from watchbudget.demand.grants import effective_verbs, grants_of
from watchbudget.demand.scope import is_cluster_scoped
from watchbudget.inventory.fleet import DaemonSet, Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from watchbudget.inventory.rbac import Rbac
    from watchbudget.localcluster import LocalCluster

SEED = 20
CASES = 5000
WORKERS = 8


@pytest.fixture(scope="module")
def rbac() -> Rbac:
    return Generator(SEED).rbac()


@pytest.fixture(scope="module")
def server(control_plane: None, rbac: Rbac) -> Iterator[LocalCluster]:
    """A cluster of this module's own: some of the bindings are to every account there is."""
    from watchbudget.localcluster import LocalCluster  # noqa: PLC0415 - only where it can be had

    with LocalCluster() as started:
        for namespace in NAMESPACES:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            started.request("POST", "/api/v1/namespaces", body)
        objects = [(api_path(item), api_object(item)) for item in (*rbac.roles, *rbac.bindings)]
        started.admin.create_all(objects, workers=WORKERS, on_done=lambda _new: None)
        _wait_until_settled(started)
        yield started


def test_answers_are_those_of_the_server(server: LocalCluster, rbac: Rbac):
    authorizer = Authorizer(rbac)
    cases = [*Generator(SEED + 1).cases(rbac, CASES), *_bootstrap_cases()]
    allowed = _ask(server, cases)
    differing = _differing(server, cases, allowed, lambda case: _ours(authorizer, case))
    assert not differing, _explained(server, differing)
    share = sum(allowed) / len(cases)
    assert 0.2 <= share <= 0.8, f"{share:.0%} allowed: a sample that asks for one answer proves little"
    # Each way of being allowed or denied that we claim to know must have been met on both sides.
    for what, of_kind in _KINDS.items():
        answers = {answer for case, answer in zip(cases, allowed, strict=True) if of_kind(case)}
        assert answers == {True, False}, f"questions with {what} were all answered {answers}"


def test_grants_are_what_the_server_allows_in_every_scope(server: LocalCluster, rbac: Rbac):
    authorizer = Authorizer(rbac)
    resources = (
        ALL_NAMESPACES,
        NETWORK_POLICIES,
        GroupResource("", "pods"),
        GroupResource("apps", "deployments"),
    )
    expected: dict[Case, bool] = {}
    for account in ACCOUNTS:
        daemon_set = DaemonSet(account[0], "agent", account[1])
        grants = grants_of(daemon_set, Fleet((daemon_set,), rbac), authorizer, resources)
        for resource, verb in itertools.product(resources, ("list", "watch")):
            everywhere = verb in effective_verbs(grants, resource)
            request = {"verb": verb, "group": resource.group, "resource": resource.resource}
            expected[account_case(account, **request)] = everywhere
            if is_cluster_scoped(resource):
                continue
            for namespace in NAMESPACES:
                expected[account_case(account, **request, namespace=namespace)] = everywhere or any(
                    grant.scope == "namespaces" and namespace in grant.namespaces and verb in grant.verbs
                    for grant in grants
                    if grant.resource == resource
                )
    cases = list(expected)
    allowed = _ask(server, cases)
    assert not _differing(server, cases, allowed, expected.__getitem__)
    assert {True, False} == set(allowed)


def test_builtin_roles_are_those_of_the_server(cluster: LocalCluster):
    _wait_until_settled(cluster)  # it may have just been started
    selector = "labelSelector=kubernetes.io/bootstrapping%3Drbac-defaults"
    theirs = {
        (item["metadata"].get("namespace"), item["metadata"]["name"]): _resource_rules(item)
        for kind in ("clusterroles", "roles")
        for item in cluster.request("GET", f"/apis/{API}/v1/{kind}?{selector}").json()["items"]
    }
    settled = settled_rules(role for role in builtin_roles() if role.namespace is None)
    ours = {
        (role.namespace, role.name): {
            (frozenset(rule.verbs), rule.api_groups, frozenset(rule.resources), rule.resource_names)
            for rule in (role.rules if role.namespace else settled[role.name])
        }
        for role in builtin_roles()
    }
    assert ours.keys() == theirs.keys()
    differing = {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}
    assert not differing


def test_cluster_scoped_resources_are_those_of_the_server(cluster: LocalCluster):
    # Aggregated discovery tells every group in one answer.
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    scopes = {
        GroupResource(group["metadata"].get("name", ""), resource["resource"]): resource["scope"]
        for path in ("/api", "/apis")
        for group in cluster.request("GET", path, headers=accept).json()["items"]
        for version in group["versions"]
        for resource in version["resources"]
        if "list" in resource["verbs"]
    }
    assert len(scopes) > 50
    wrong = [str(name) for name, scope in scopes.items() if is_cluster_scoped(name) != (scope == "Cluster")]
    assert not wrong


_KINDS: dict[str, Callable[[Case], bool]] = {
    "a name": lambda case: bool(case.name),
    "no name": lambda case: not case.name,
    "a subresource": lambda case: bool(case.subresource),
    "the cluster scope": lambda case: not case.namespace,
    "a namespace": lambda case: bool(case.namespace),
    "a group without its service account": lambda case: case.user == "jane",
    "namespaces": lambda case: case.resource == "namespaces",
    "network policies of the right group": lambda case: (
        (case.group, case.resource) == ("networking.k8s.io", "networkpolicies")
    ),
    "network policies of another group": lambda case: (
        case.resource == "networkpolicies" and case.group != "networking.k8s.io"
    ),
}


def _bootstrap_cases() -> list[Case]:
    """What the server's own bindings give, and do not give, to accounts without any of ours."""
    stranger, dns = ("wbr-stranger", "default"), ("kube-system", "kube-dns")
    return [
        account_case(account, verb=verb, group=group, resource=resource)
        for account in (stranger, dns)
        for verb in ("create", "list", "watch")
        for group, resource in (
            ("", "endpoints"),
            ("", "namespaces"),
            ("networking.k8s.io", "networkpolicies"),
            ("authorization.k8s.io", "selfsubjectaccessreviews"),
            ("authorization.k8s.io", "subjectaccessreviews"),
        )
    ]


def _ours(authorizer: Authorizer, case: Case) -> bool:
    return authorizer.allows(
        case.user,
        case.groups,
        case.verb,
        case.group,
        case.resource,
        namespace=case.namespace or None,
        name=case.name or None,
        subresource=case.subresource,
    )


def _ask(server: LocalCluster, cases: Iterable[Case]) -> list[bool]:
    with ThreadPoolExecutor(WORKERS) as pool:
        return [status["allowed"] for status in pool.map(lambda case: _status(server, case), cases)]


def _status(server: LocalCluster, case: Case) -> dict[str, Any]:
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    status: dict[str, Any] = server.request("POST", path, case.review()).json()["status"]
    return status


def _differing(
    server: LocalCluster, cases: list[Case], allowed: list[bool], expected: Callable[[Case], bool]
) -> list[Case]:
    suspects = [case for case, answer in zip(cases, allowed, strict=True) if expected(case) != answer]
    if suspects:  # a cache of the server's that lags behind is not a difference
        time.sleep(2)
        again = _ask(server, suspects)
        return [case for case, answer in zip(suspects, again, strict=True) if expected(case) != answer]
    return suspects


def _explained(server: LocalCluster, differing: list[Case]) -> str:
    shown = [f"{case}\n  server: {json.dumps(_status(server, case))}" for case in differing[:20]]
    return f"{len(differing)} answers differ:\n" + "\n".join(shown)


def _wait_until_settled(server: LocalCluster) -> None:
    """Wait until nothing has been aggregated for two seconds: the controller does not say when it is done."""
    deadline, last, since = time.monotonic() + 60, "", time.monotonic()
    while time.monotonic() < deadline:
        items = server.request("GET", f"/apis/{API}/v1/clusterroles").json()["items"]
        now = json.dumps([(item["metadata"]["name"], item.get("rules")) for item in items])
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 2:
            return
        time.sleep(0.2)
    pytest.fail("aggregated roles still change after a minute")


def _resource_rules(item: dict[str, Any]) -> set[tuple[Any, ...]]:
    return {
        (
            frozenset(rule["verbs"]),
            tuple(rule["apiGroups"]),
            frozenset(rule["resources"]),
            tuple(rule.get("resourceNames", ())),
        )
        for rule in item.get("rules") or ()
        if rule.get("resources")
    }


def test_user_names_and_groups_are_those_of_a_token(cluster: LocalCluster):
    """Who a real token is, by the server's own TokenReview."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": cluster.token("default", "default")},
    }
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    user = cluster.request("POST", path, review).json()["status"]["user"]
    assert user["username"] == username_of("default", "default")
    assert set(user["groups"]) == set(groups_of("default"))
