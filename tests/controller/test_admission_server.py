"""The admission server over real sockets, with TLS verified against our own authority."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller_reviews import HOSTS, allow, body, now, request, serving, trusting
from fake_apiserver import async_test
from watchbudget.controller import tls
from watchbudget.controller.connection import MAX_BODY
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.controller.server import AdmissionServer


def deny(_: AdmissionRequest) -> AdmissionResponse:
    return AdmissionResponse(allowed=False, message="too much", warnings=("a\nb",))


def fail(_: AdmissionRequest) -> AdmissionResponse:
    raise RecursionError("deep")


def unwritable(_: AdmissionRequest) -> AdmissionResponse:
    return AdmissionResponse(allowed=True, patch=({"op": "add", "path": "/a", "value": object()},))


def nothing(_: AdmissionRequest) -> AdmissionResponse:
    return None  # type: ignore[return-value]


HANDLERS = {"/allow": allow, "/deny": deny, "/fail": fail, "/unwritable": unwritable, "/nothing": nothing}


async def post(
    session: aiohttp.ClientSession, url: str, data: bytes, **headers: str
) -> tuple[int, dict[str, Any]]:
    async with session.post(url, data=data, headers=headers) as answer:
        assert answer.content_type == "application/json"
        return answer.status, await answer.json()


def client(bundle: tls.Bundle, *, keep: bool = True) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=trusting(bundle), force_close=not keep)
    return aiohttp.ClientSession(connector=connector)


@async_test
async def test_answers_carry_the_uid_and_the_verdict():
    async with serving(HANDLERS) as (_, url, _, bundle), client(bundle) as session:
        status, review = await post(session, f"{url}/allow?timeout=5s", body(uid="x"))
        assert (status, review["response"]) == (200, {"uid": "x", "allowed": True})
        status, review = await post(session, f"{url}/deny", body())
        assert (status, review["response"]["allowed"]) == (200, False)
        assert review["response"]["warnings"] == ["a b"]


def test_a_denial_stands_in_the_log_on_one_line(caplog: pytest.LogCaptureFixture):
    def refuse(_: AdmissionRequest) -> AdmissionResponse:
        return AdmissionResponse(allowed=False, message="logging/agent is too dear:\n- by far" + "!" * 5000)

    @async_test
    async def run() -> None:
        async with serving({"/deny": refuse}) as (_, url, _, bundle), client(bundle) as session:
            await post(session, f"{url}/deny", body(name="agent", namespace="logging"))

    with caplog.at_level(logging.INFO):
        run()
    (line,) = [record.getMessage() for record in caplog.records if "Denied" in record.getMessage()]
    assert line.startswith("Denied: 'CREATE DaemonSet logging/agent': logging/agent is too dear: - by far!")
    assert len(line) < 1100


@async_test
async def test_an_unknown_path_never_allows():
    async with serving(HANDLERS) as (_, url, _, bundle), client(bundle) as session:
        for path in ("", "/", "/nosuch", "/allow/", "//allow", "/allow/x", "/ALLOW", "/livez", "/%00"):
            status, answer = await post(session, f"{url}{path}", body())
            assert (status, "response" in answer) == (404, False), path


@async_test
async def test_only_post_is_answered():
    async with serving(HANDLERS) as (_, url, _, bundle), client(bundle) as session:
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
            async with session.request(method, f"{url}/allow", data=body()) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, "POST")
                assert "POST" in (await answer.json())["message"]


def padded(size: int) -> bytes:
    empty = body(object={"metadata": {"name": ""}})
    return body(object={"metadata": {"name": "x" * (size - len(empty))}})


@async_test
async def test_bodies_of_up_to_seven_mebibytes_are_read():
    async with serving(HANDLERS) as (_, url, _, bundle), client(bundle) as session:
        status, answer = await post(session, f"{url}/allow", padded(MAX_BODY))
        assert (status, answer["response"]["allowed"]) == (200, True)
        status, answer = await post(session, f"{url}/allow", padded(MAX_BODY + 1))
        assert (status, "7340032 bytes" in answer["message"]) == (413, True)


@async_test
async def test_what_is_compressed_is_refused_so_nothing_can_unpack_to_more():
    bomb = gzip.compress(b" " * (MAX_BODY + 1))
    async with serving(HANDLERS) as (_, url, _, bundle), client(bundle) as session:
        for data in (bomb, b"no gzip"):
            status, answer = await post(session, f"{url}/allow", data, **{"Content-Encoding": "gzip"})
            assert (status, "not compressed" in answer["message"]) == (415, True)


@pytest.mark.parametrize("path", ["/fail", "/unwritable", "/nothing"])
def test_a_fault_of_ours_lets_the_object_through_and_is_seen(path: str, caplog: pytest.LogCaptureFixture):
    @async_test
    async def run():
        async with serving(HANDLERS) as (_, url, probes, bundle), client(bundle) as session:
            status, review = await post(session, f"{url}{path}", body(uid="x"))
            expected = ["watchbudget: internal error, not judged"]
            assert (status, review["response"]) == (200, {"uid": "x", "allowed": True, "warnings": expected})
            async with session.get(f"{probes}/metrics") as answer:
                assert f'watchbudget_admission_errors_total{{path="{path}"}} 1.0' in await answer.text()

    run()
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "logging/agent was let through unjudged" in record.getMessage().replace("'", "")
    assert record.exc_info


def fuzz(bodies: st.SearchStrategy[bytes], check: Callable[[int, dict[str, Any]], None]) -> None:
    """Send many bodies over one connection."""
    with asyncio.Runner() as runner:
        context = serving(HANDLERS)
        _, url, _, bundle = runner.run(context.__aenter__())
        session = runner.run(_enter(bundle))

        @settings(max_examples=150, deadline=None)
        @given(bodies)
        def send(data: bytes):
            check(*runner.run(post(session, f"{url}/deny", data)))

        try:
            send()
        finally:
            runner.run(session.close())
            runner.run(context.__aexit__(None, None, None))


async def _enter(bundle: tls.Bundle) -> aiohttp.ClientSession:
    return client(bundle)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
reviews = st.dictionaries(st.sampled_from(sorted(request())), json_values).map(lambda f: body(**f))


def test_any_bytes_get_a_clear_answer_and_never_an_allow():
    def check(status: int, answer: dict[str, Any]):
        if status == 200:
            assert answer["response"]["allowed"] is False
        else:
            assert (status, answer["message"][:13]) == (400, "watchbudget: ")

    fuzz(st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()) | reviews, check)


@async_test
async def test_probes_and_metrics():
    ready: list[str | None] = ["no WatchBudget has been read yet"]
    bundle = tls.create(HOSTS, now())
    server = AdmissionServer(
        HANDLERS, lambda: ready[0], address=("127.0.0.1", 0), probe_address=("127.0.0.1", 0)
    )
    await server.start_probes()
    probes = f"http://127.0.0.1:{server.probe_port}"

    async def probe(path: str, method: str = "GET") -> tuple[int, str]:
        async with session.request(method, f"{probes}{path}") as answer:
            return answer.status, await answer.text()

    async with client(bundle) as session:
        assert await probe("/livez") == (200, "ok\n")
        assert await probe("/readyz") == (503, "not ready: the admission server has not started\n")
        with pytest.raises(RuntimeError, match="load_certificate"):
            await server.start()
        server.load_certificate(bundle.certificate, bundle.key)
        await server.start()
        assert await probe("/readyz") == (503, "not ready: no WatchBudget has been read yet\n")
        ready[0] = None
        assert await probe("/readyz") == (200, "ok\n")
        assert (await probe("/readyz", "POST"))[0] == 405
        assert (await probe("/deny"))[0] == 404
        for path in ("/deny", "/deny", "/allow", "/fail"):
            await post(session, f"https://127.0.0.1:{server.port}{path}", body())
        await post(session, f"https://127.0.0.1:{server.port}/allow", b"{}")
        await post(session, f"https://127.0.0.1:{server.port}/typo", body())
        for path, data, coding in (
            ("deny", b"x", "gzip"),
            ("deny", padded(MAX_BODY + 1), "identity"),
            ("typo", b"x", "gzip"),
        ):
            await post(
                session, f"https://127.0.0.1:{server.port}/{path}", data, **{"Content-Encoding": coding}
            )
        _, metrics = await probe("/metrics")
    for path, verdict, count in (
        ("/deny", "denied", 2), ("/allow", "allowed", 1), ("/fail", "error", 1), ("/allow", "refused", 1),
        ("unknown", "refused", 2), ("/deny", "refused", 2),
    ):  # fmt: skip
        line = f'watchbudget_admission_seconds_count{{path="{path}",verdict="{verdict}"}} {count}.0'
        assert line in metrics
    await server.close()


@async_test
async def test_rotation_under_load_fails_no_request():
    first = tls.create(HOSTS, now())
    rotated = tls.carry_out(first, tls.Plan.ROTATE_CA, HOSTS, now())
    second = tls.carry_out(rotated, tls.Plan.RENEW_SERVING, HOSTS, now())
    done = asyncio.Event()
    served: list[bool] = []
    counts = [0, 0, 0]

    async def load(number: int, *, keep: bool) -> None:
        async with client(rotated, keep=keep) as session:
            while not done.is_set():
                assert (await post(session, f"{url}/allow", body()))[0] == 200
                counts[number] += 1

    async with serving(HANDLERS, first) as (server, url, _, _):
        tasks = [asyncio.create_task(load(n, keep=keep)) for n, keep in enumerate((False, False, True))]
        for bundle in (first, second, first, second):
            before = list(counts)
            server.load_certificate(bundle.certificate, bundle.key)
            while any(now < then + 5 for now, then in zip(counts, before, strict=True)):
                assert not any(task.done() for task in tasks)
                await asyncio.sleep(0.01)
            served.append(await shows(server.port, second, rotated))
        done.set()
        await asyncio.gather(*tasks)
    assert served == [False, True, False, True]


async def shows(port: int, bundle: tls.Bundle, trusted: tls.Bundle) -> bool:
    """Whether the server on a port shows this bundle's certificate to a new connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(trusted))
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return bool(shown == ssl.PEM_cert_to_DER_cert(bundle.certificate.decode()))


@async_test
async def test_a_certificate_that_cannot_be_used_leaves_the_one_before():
    async with serving(HANDLERS) as (server, url, _, bundle):
        other = tls.create(HOSTS, now())
        for pair in ((other.certificate, bundle.key), (b"", b""), (other.certificate, b"x")):
            with pytest.raises(ssl.SSLError):
                server.load_certificate(*pair)
        async with client(bundle) as session:
            assert (await post(session, f"{url}/allow", body()))[0] == 200


@async_test
async def test_draining_serves_on_says_so_and_closes():
    async with (
        serving(HANDLERS) as (server, url, probes, bundle),
        client(bundle) as session,
        client(bundle) as prober,
    ):
        await post(session, f"{url}/allow", body())
        drain = asyncio.create_task(server.drain(0.4))
        await asyncio.sleep(0.1)
        async with prober.get(f"{probes}/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "not ready: shutting down\n")
        async with session.post(f"{url}/allow", data=body()) as answer:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        await drain
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(session, f"{url}/allow", body())


@async_test
async def test_a_request_under_way_when_it_closes_is_answered():
    async with serving(HANDLERS) as (server, _, _, bundle):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting(bundle))
        data = body()
        head = f"POST /allow HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data[:20])
        await asyncio.sleep(0.1)
        closing = asyncio.create_task(server.close())
        await asyncio.sleep(0.1)
        writer.write(data[20:])
        assert (await reader.read(15)).startswith(b"HTTP/1.1 200")
        await closing
        writer.close()
        with suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()
