"""Answers of the server's authorizers: kept as long as roles say the same, and for their time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from fake_apiserver import async_test
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES
from watchbudget.controller.reviews import AT_ONCE, Reviews
from watchbudget.inventory.errors import ClusterError, Forbidden, ServerGone
from watchbudget.inventory.fleet import CLUSTER, AccessReviews, Problem
from watchbudget.inventory.parse import binding, role
from watchbudget.inventory.rbac import Rbac

AGENT, OTHER = ("logging", "agent"), ("logging", "other")
RESOURCES = (NAMESPACES, NETWORK_POLICIES)


def rbac(*accounts: tuple[str, str]) -> Rbac:
    """Roles by which these accounts may watch namespaces."""
    problems: list[Problem] = []
    api = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    rule = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]}
    raw = api | {"kind": "ClusterRole", "metadata": {"name": "watch"}, "rules": [rule]}
    bound = api | {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "watch"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "watch"},
        "subjects": [
            {"kind": "ServiceAccount", "namespace": namespace, "name": name} for namespace, name in accounts
        ],
    }
    found = Rbac((role(raw, CLUSTER, problems),), (binding(bound, CLUSTER, problems),))  # type: ignore[arg-type]
    assert not problems
    return found


class Authorizers:
    """Answers access reviews; also by what no role shows."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)  # names of service accounts
        self.asked = 0
        self.error: ClusterError | None = None

    async def create(self, _: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if self.error:
            raise self.error
        name = body["spec"]["user"].rpartition(":")[2]
        return {"status": {"allowed": name in self.allowed}}


class Rig:
    def __init__(self, *allowed: str) -> None:
        self.time = 0.0
        self.server = Authorizers(*allowed)
        self.reviews = Reviews(lasts=100.0, clock=lambda: self.time)

    def sift(self, of: Rbac, *accounts: tuple[str, str]) -> AccessReviews:
        return self.reviews.sift(of, accounts or (AGENT,), RESOURCES, complete=True)

    async def ask(self) -> bool:
        """All of it; whether anything may come out differently."""
        changed = False
        while self.reviews.missing:
            changed |= await self.reviews.ask(self.server)  # type: ignore[arg-type]
        return changed


def said(answers: AccessReviews, account: tuple[str, str] = AGENT) -> set[bool]:
    return {allowed for question, allowed in answers.allowed.items() if question[:2] == account}


@async_test
async def test_roles_answer_until_the_server_has():
    rig, roles = Rig("agent"), rbac()
    answers = rig.sift(roles)
    assert (answers.state, answers.allowed) == ("partial", {})
    assert len(rig.reviews.missing) == 4
    assert await rig.ask()  # no role shows it
    answers = rig.sift(roles)
    assert (answers.state, said(answers)) == ("asked", {True})
    assert rig.server.asked == 4


@async_test
async def test_an_answer_that_confirms_the_roles_changes_nothing():
    rig = Rig()
    rig.sift(rbac())
    assert not await rig.ask()


@async_test
async def test_what_roles_say_differently_is_dropped_and_asked_again():
    rig = Rig()
    rig.sift(rbac(OTHER), AGENT, OTHER)
    await rig.ask()
    rig.server.allowed = {"agent"}
    answers = rig.sift(rbac(AGENT, OTHER), AGENT, OTHER)  # a role came for the agent
    assert said(answers) == {False}  # those of network policies, of which roles say what they said
    assert len(answers.allowed) == 6
    assert {question[:2] for question in rig.reviews.missing} == {AGENT}
    asked = rig.server.asked
    assert not await rig.ask()  # allowed, as the roles say
    assert rig.server.asked == asked + 2


@async_test
async def test_roles_that_are_new_and_say_the_same_keep_all():
    rig = Rig()
    rig.sift(rbac())
    await rig.ask()
    assert rig.sift(rbac()).state == "asked"
    assert rig.reviews.missing == []


@async_test
async def test_answers_grow_old_and_hold_until_there_are_newer_ones():
    rig, roles = Rig("agent"), rbac()
    rig.sift(roles)
    await rig.ask()
    rig.time = 101.0
    answers = rig.sift(roles)
    assert (answers.state, said(answers)) == ("partial", {True})
    assert len(rig.reviews.missing) == 4
    rig.server.allowed.clear()
    assert await rig.ask()
    assert said(rig.sift(roles)) == {False}


@async_test
async def test_accounts_that_are_gone_are_forgotten():
    rig, roles = Rig(), rbac()
    rig.sift(roles, AGENT, OTHER)
    await rig.ask()
    assert said(rig.sift(roles, AGENT), OTHER) == set()
    rig.sift(roles, AGENT, OTHER)
    assert len(rig.reviews.missing) == 4


@async_test
async def test_where_it_is_forbidden_roles_alone_tell_for_a_while(caplog: pytest.LogCaptureFixture):
    rig, roles = Rig(), rbac()
    rig.sift(roles)
    rig.server.error = Forbidden("no", "create subjectaccessreviews")
    await rig.ask()
    assert rig.sift(roles) == AccessReviews("forbidden")
    assert rig.reviews.missing == []
    rig.time = 101.0
    rig.server.error = None
    rig.sift(roles)
    await rig.ask()
    assert rig.sift(roles).state == "asked"
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1


@async_test
async def test_a_server_that_went_away_is_told_and_asked_the_rest_later():
    rig, roles = Rig("agent"), rbac()
    rig.sift(roles)
    rig.server.error = ServerGone("gone")
    with pytest.raises(ServerGone):
        await rig.ask()
    rig.server.error = None
    assert rig.sift(roles).state == "partial"
    await rig.ask()
    assert said(rig.sift(roles)) == {True}


@async_test
async def test_thousands_are_asked_in_parts():
    rig = Rig()
    accounts = [("logging", f"a{number}") for number in range(300)]
    rig.reviews.sift(rbac(), accounts, RESOURCES, complete=True)
    await rig.reviews.ask(rig.server)  # type: ignore[arg-type]
    assert rig.server.asked == AT_ONCE
    assert len(rig.reviews.missing) == 1200 - AT_ONCE
