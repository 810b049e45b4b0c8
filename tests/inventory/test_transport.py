"""Requests against a server that misbehaves in the ways that servers and networks do."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import web

from fake_apiserver import async_test, fake_api, json_answer, status_answer, write_kubeconfig
from watchbudget.inventory import connection, errors, transport
from watchbudget.inventory.transport import Api

LIST = "/apis/apps/v1/daemonsets"


def page(names: list[str], token: str | None = None) -> web.Response:
    metadata = {"continue": token} if token else {}
    return json_answer({"metadata": metadata, "items": [{"name": name} for name in names]})


async def collect(api: Api, into: list[str] | None = None) -> list[str]:
    into = [] if into is None else into
    await api.collect(LIST, lambda raw: raw["name"], into)
    return into


class TestPages:
    @async_test
    async def test_follows_the_token_to_the_end(self, tmp_path: Path):
        pages = {None: page(["a", "b"], "t1"), "t1": page(["c"], "t2"), "t2": page([])}

        async with fake_api(tmp_path, lambda request: pages[request.query.get("continue")]) as fake:
            assert await collect(fake.api) == ["a", "b", "c"]
            assert fake.requests == [
                f"GET {LIST}?limit=500",
                f"GET {LIST}?limit=500&continue=t1",
                f"GET {LIST}?limit=500&continue=t2",
            ]
            assert fake.api.requests == 3

    @async_test
    async def test_tells_the_version_of_its_beginning(self, tmp_path: Path):
        def handler(request: web.BaseRequest) -> web.Response:
            if "continue" in request.query:
                return json_answer({"metadata": {"resourceVersion": "9"}, "items": []})
            return json_answer({"metadata": {"resourceVersion": "7", "continue": "t"}, "items": []})

        async with fake_api(tmp_path, handler) as fake:
            assert await fake.api.collect(LIST, lambda raw: raw, []) == "7"

    @async_test
    async def test_a_token_survives_the_query_string(self, tmp_path: Path):
        token = "eyJ2Ijoi+/=&limit=0 ä"
        pages = {None: page(["a"], token), token: page(["b"])}

        async with fake_api(tmp_path, lambda request: pages[request.query.get("continue")]) as fake:
            assert await collect(fake.api) == ["a", "b"]

    @async_test
    async def test_null_items_are_none(self, tmp_path: Path):
        async with fake_api(tmp_path, lambda request: json_answer({"metadata": {}, "items": None})) as fake:
            assert await collect(fake.api) == []

    @async_test
    async def test_values_that_the_parser_refuses_are_left_out(self, tmp_path: Path):
        async with fake_api(tmp_path, lambda request: page(["a", "b", "c"])) as fake:
            into = []
            await fake.api.collect(LIST, lambda raw: None if raw["name"] == "b" else raw["name"], into)
            assert into == ["a", "c"]

    @async_test
    async def test_an_expired_list_goes_on_with_the_token_that_the_server_offers(self, tmp_path: Path):
        answers = {
            None: page(["a"], "old"),
            "old": status_answer(410, metadata={"continue": "new"}),
            "new": page(["b"]),
        }

        async with fake_api(tmp_path, lambda request: answers[request.query.get("continue")]) as fake:
            assert await collect(fake.api) == ["a", "b"]

    @async_test
    async def test_without_such_a_token_it_begins_anew_and_doubles_nothing(self, tmp_path: Path):
        expired = iter([True, False])

        def handler(request: web.BaseRequest) -> web.Response:
            if "continue" not in request.query:
                return page(["a"], "t")
            return status_answer(410) if next(expired) else page(["b"])

        async with fake_api(tmp_path, handler) as fake:
            assert await collect(fake.api) == ["a", "b"]
            assert len(fake.requests) == 4

    @async_test
    async def test_a_list_that_always_expires_is_given_up(self, tmp_path: Path):
        async with fake_api(
            tmp_path, lambda r: status_answer(410) if "continue" in r.query else page(["a"], "t")
        ) as fake:
            with pytest.raises(errors.Expired, match=f"{LIST} kept expiring"):
                await collect(fake.api)
            assert len(fake.requests) == 2 * (1 + transport.RESTARTS)

    @async_test
    async def test_a_list_that_does_not_advance_is_given_up(self, tmp_path: Path):
        async with fake_api(tmp_path, lambda request: page(["a"], "same")) as fake:
            with pytest.raises(errors.UnexpectedAnswer, match="does not advance"):
                await collect(fake.api)
            assert len(fake.requests) == 2

    @async_test
    async def test_what_was_read_before_a_failure_is_kept(self, tmp_path: Path):
        async with fake_api(
            tmp_path, lambda r: status_answer(403) if "continue" in r.query else page(["a"], "t")
        ) as fake:
            into = []
            with pytest.raises(errors.Forbidden):
                await collect(fake.api, into)
            assert into == ["a"]

    @pytest.mark.parametrize(
        "body", [[], "text", 7, {"items": {}}, {"items": [], "metadata": []}, {"items": [5]}, {}]
    )
    @async_test
    async def test_what_is_no_list_is_said_to_be_none(self, tmp_path: Path, body: object):
        async with fake_api(tmp_path, lambda request: json_answer(body)) as fake:
            with pytest.raises(errors.UnexpectedAnswer):
                await collect(fake.api)


class TestRepeats:
    @async_test
    async def test_429_is_repeated_after_the_time_that_the_server_asks_for(self, tmp_path: Path):
        answers = iter(
            [json_answer({}, 429, **{"Retry-After": "7"}), status_answer(429), json_answer({"ok": 1})]
        )

        async with fake_api(tmp_path, lambda request: next(answers)) as fake:
            assert await fake.api.get("/x") == {"ok": 1}
            assert fake.pauses == [7.0, 1.0]  # a second where the server does not say

    @async_test
    async def test_no_server_makes_us_wait_for_an_hour(self, tmp_path: Path):
        answers = iter([json_answer({}, 429, **{"Retry-After": "3600"}), json_answer({})])

        async with fake_api(tmp_path, lambda request: next(answers)) as fake:
            await fake.api.get("/x")
            assert fake.pauses == [transport.LONGEST_WAIT]

    @pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
    @async_test
    async def test_an_error_that_stays_ends_after_some_attempts(self, tmp_path: Path, code: int):
        async with fake_api(tmp_path, lambda request: status_answer(code, "it hurts")) as fake:
            with pytest.raises(errors.ServerError, match="it hurts"):
                await fake.api.get("/x")
            assert len(fake.requests) == transport.ATTEMPTS == fake.api.requests
            assert len(fake.pauses) == transport.ATTEMPTS - 1
            assert fake.pauses == sorted(fake.pauses)
            # one sick resource is no reason to give up on the others
            with pytest.raises(errors.ServerError):
                await fake.api.get("/y")
            assert fake.requests[-1] == "GET /y"

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 422, 501])
    @async_test
    async def test_a_refusal_is_not_repeated(self, tmp_path: Path, code: int):
        async with fake_api(tmp_path, lambda request: status_answer(code)) as fake:
            with pytest.raises(errors.ClusterError):
                await fake.api.get("/x")
            assert len(fake.requests) == 1

    @async_test
    async def test_a_connection_cut_in_the_middle_of_an_answer_is_made_again(self, tmp_path: Path):
        cut = iter([True, False])

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            if not next(cut):
                return json_answer({"ok": 1})
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"half')
            raise ConnectionResetError

        async with fake_api(tmp_path, handler) as fake:
            assert await fake.api.get("/x") == {"ok": 1}

    @async_test
    async def test_a_server_that_goes_away_is_asked_some_times_and_then_never_again(self, tmp_path: Path):
        answers = iter([json_answer({})])

        def handler(request: web.BaseRequest) -> web.Response:
            for answer in answers:
                return answer
            raise ConnectionResetError

        async with fake_api(tmp_path, handler) as fake:
            await fake.api.get("/first")
            with pytest.raises(errors.ServerGone, match="answered at first and does not any more"):
                await fake.api.get("/second")
            assert fake.api.requests == 1 + transport.ATTEMPTS
            asked = len(fake.requests)
            with pytest.raises(errors.ServerGone):
                await fake.api.get("/third")
            assert len(fake.requests) == asked  # not even tried


class TestRefusals:
    @async_test
    async def test_forbidden_names_the_permission_and_how_to_grant_it(self, tmp_path: Path):
        async with fake_api(tmp_path, lambda request: status_answer(403, 'User "x" cannot list')) as fake:
            with pytest.raises(errors.Forbidden) as caught:
                await collect(fake.api)
            text = str(caught.value)
            assert fake.url in text
            assert "context test" in text
            assert "`list daemonsets.apps`" in text
            assert 'User "x" cannot list' in text
            assert "kubectl create clusterrole NAME --verb=list --resource=daemonsets.apps" in text
            assert caught.value.permission == "list daemonsets.apps"

    @async_test
    async def test_unauthorized_says_that_the_login_has_expired(self, tmp_path: Path):
        async with fake_api(tmp_path, lambda request: status_answer(401, "Unauthorized")) as fake:
            with pytest.raises(errors.Unauthorized, match="token or login has expired"):
                await fake.api.get("/x")

    @async_test
    async def test_an_absent_object_is_none(self, tmp_path: Path):
        async with fake_api(tmp_path, lambda request: status_answer(404)) as fake:
            assert await fake.api.find("/api/v1/namespaces/x") is None

    @async_test
    async def test_a_login_page_is_not_taken_for_an_api_server(self, tmp_path: Path):
        async with fake_api(
            tmp_path, lambda request: web.Response(text="<html>Log in</html>", content_type="text/html")
        ) as fake:
            with pytest.raises(errors.UnexpectedAnswer, match="proxy or login page"):
                await fake.api.get("/x")

    @async_test
    async def test_deeply_nested_json_is_refused(self, tmp_path: Path):
        async with fake_api(tmp_path, lambda request: web.Response(body=b"[" * 200_000)) as fake:
            with pytest.raises(errors.UnexpectedAnswer):
                await fake.api.get("/x")

    @async_test
    async def test_of_a_huge_refusal_only_the_beginning_is_read(self, tmp_path: Path):
        sent = 0

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            nonlocal sent
            response = web.StreamResponse(status=403)
            await response.prepare(request)
            for _ in range(2000):
                await response.write(b"x" * 65536)
                sent += 65536
            return response

        async with fake_api(tmp_path, handler) as fake:
            with pytest.raises(errors.Forbidden, match="HTTP 403"):
                await fake.api.get("/x")
        assert sent < 100_000_000


class TestConnection:
    def test_no_server_is_said_at_once(self, tmp_path: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        kubeconfig = write_kubeconfig(tmp_path / "k", url, context="gone")

        async def main():
            async with connection.connect(str(kubeconfig)) as api:
                with pytest.raises(
                    errors.Unreachable, match=f"{url} \\(context gone\\) cannot be reached"
                ) as caught:
                    await api.get("/version")
                assert "kubectl config get-contexts" in str(caught.value)
                assert api.requests == 1

        asyncio.run(main())

    def test_a_name_that_does_not_resolve_is_said(self, tmp_path: Path):
        kubeconfig = write_kubeconfig(tmp_path / "k", "https://no-such-host.invalid:6443")

        async def main():
            async with connection.connect(str(kubeconfig)) as api:
                with pytest.raises(errors.Unreachable, match=r"no-such-host\.invalid"):
                    await api.get("/version")

        asyncio.run(main())

    def test_an_address_that_is_none_is_said(self, tmp_path: Path):
        kubeconfig = write_kubeconfig(tmp_path / "k", "https://host:port")

        async def main():
            async with connection.connect(str(kubeconfig)) as api:
                with pytest.raises(errors.ClusterError, match="kubectl config view"):
                    await api.get("/version")

        asyncio.run(main())

    def test_plain_http_where_tls_was_expected_is_said(self, tmp_path: Path):
        async def main():
            async with fake_api(tmp_path, lambda request: json_answer({})) as fake:
                other = write_kubeconfig(tmp_path / "tls", fake.url.replace("http:", "https:"))
                async with connection.connect(str(other)) as api:
                    with pytest.raises(errors.Unreachable, match="cannot be reached"):
                        await api.get("/version")

        asyncio.run(main())

    @async_test
    async def test_the_token_and_our_name_are_sent(self, tmp_path: Path):
        seen = {}

        def handler(request: web.BaseRequest) -> web.Response:
            seen.update(request.headers)
            return json_answer({})

        async with fake_api(tmp_path, handler) as fake:
            await fake.api.get("/version")
        assert seen["Authorization"] == "Bearer t"
        assert seen["User-Agent"].startswith("watchbudget/")
