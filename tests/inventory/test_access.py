"""Access reviews: what is asked, how often, and what a refusal or a lost server leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from fake_apiserver import FakeApiServer, async_test, fake_api, json_answer, status_answer
from watchbudget.api.resources import DEFAULT_WATCHED, NAMESPACES
from watchbudget.inventory.access import review_access
from watchbudget.inventory.fleet import AccessReviews, Problem
from watchbudget.inventory.pool import WORKERS

ACCOUNTS = [(f"ns{number}", "agent") for number in range(10)]


async def review(
    fake: FakeApiServer, accounts: list[tuple[str, str]]
) -> tuple[AccessReviews, list[Problem], list[int]]:
    problems: list[Problem] = []
    shown: list[int] = []
    reviews = await review_access(
        fake.api, accounts, DEFAULT_WATCHED, problems, lambda done, total: shown.append(total)
    )
    return reviews, problems, shown


def verdict(allowed: bool, **more: object) -> web.Response:
    return json_answer({"status": {"allowed": allowed, **more}}, 201)


@async_test
async def test_every_account_resource_and_verb_is_asked_once(tmp_path: Path):
    specs = []

    async def handler(request: web.BaseRequest) -> web.Response:
        spec = (await request.json())["spec"]
        specs.append(spec)
        return verdict(spec["resourceAttributes"]["verb"] == "list")

    async with fake_api(tmp_path, handler) as fake:
        reviews, problems, shown = await review(fake, [("logging", "vector"), ("logging", "vector")])
    assert problems == []
    assert shown == [4, 4, 4, 4]
    assert reviews.state == "asked"
    assert reviews.allowed == {
        ("logging", "vector", resource, verb): verb == "list"
        for resource in DEFAULT_WATCHED
        for verb in ("list", "watch")
    }
    assert specs[0] == {
        "user": "system:serviceaccount:logging:vector",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:logging", "system:authenticated"],
        "resourceAttributes": {"verb": "list", "group": "", "resource": "namespaces"},
    }


@async_test
async def test_some_are_asked_at_once_but_not_all(tmp_path: Path):
    running = most = 0

    async def handler(request: web.BaseRequest) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return verdict(True)

    async with fake_api(tmp_path, handler) as fake:
        reviews, _, _ = await review(fake, ACCOUNTS)
    assert len(reviews.allowed) == 40
    assert 1 < most <= WORKERS


@async_test
async def test_forbidden_is_asked_once_and_explained(tmp_path: Path):
    async with fake_api(tmp_path, lambda request: status_answer(403, "no")) as fake:
        reviews, problems, _ = await review(fake, ACCOUNTS)
        assert reviews == AccessReviews("forbidden", {})
        assert len(fake.requests) == 1
    assert [problem.severity for problem in problems] == ["warning"]
    assert "told from roles and bindings alone" in problems[0].message
    assert "create subjectaccessreviews.authorization.k8s.io" in problems[0].message


@async_test
async def test_a_server_that_goes_away_leaves_the_answers_it_gave(tmp_path: Path):
    given = 0

    def handler(request: web.BaseRequest) -> web.Response:
        nonlocal given
        if given == 12:
            raise ConnectionResetError
        given += 1
        return verdict(True)

    async with fake_api(tmp_path, handler) as fake:
        reviews, problems, _ = await review(fake, ACCOUNTS)
    assert reviews.state == "partial"
    assert len(reviews.allowed) == 12
    assert set(reviews.allowed.values()) == {True}
    assert [problem.severity for problem in problems] == ["error"]
    assert "only 12 of 40 access reviews were answered" in problems[0].message


@async_test
async def test_an_authorizer_that_failed_is_told_a_missing_role_is_not(tmp_path: Path):
    async def handler(request: web.BaseRequest) -> web.Response:
        spec = (await request.json())["spec"]
        if spec["resourceAttributes"]["resource"] == NAMESPACES.resource:
            return verdict(False, evaluationError='clusterrole.rbac.authorization.k8s.io "gone" not found')
        return verdict(False, evaluationError="webhook: deadline exceeded")

    async with fake_api(tmp_path, handler) as fake:
        reviews, problems, _ = await review(fake, ACCOUNTS[:1])
    assert set(reviews.allowed.values()) == {False}
    assert len(problems) == 2  # list and watch of network policies
    assert all("webhook: deadline exceeded" in problem.message for problem in problems)


@async_test
async def test_an_answer_without_a_verdict_is_a_no(tmp_path: Path):
    async with fake_api(tmp_path, lambda request: json_answer({"status": ["allowed"]}, 201)) as fake:
        reviews, _, _ = await review(fake, ACCOUNTS[:1])
    assert set(reviews.allowed.values()) == {False}


@async_test
async def test_without_accounts_nothing_is_asked(tmp_path: Path):
    async with fake_api(tmp_path, lambda request: status_answer(500)) as fake:
        reviews, problems, _ = await review(fake, [])
        assert (reviews.state, problems, fake.requests) == ("asked", [], [])
