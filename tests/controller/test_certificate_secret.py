"""The Secret of certificates and the CA bundles, against an API server in memory."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import logging
from typing import Any

import jsonpatch
import pytest

from controller_reviews import HOSTS
from fake_apiserver import async_test
from watchbudget.controller import tls
from watchbudget.controller.secret_store import SecretStore, publish
from watchbudget.controller.wire import Reply, WireError

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SECRET = "/api/v1/namespaces/wb/secrets/certs"
VALIDATING = ("validatingwebhookconfigurations", "watchbudget")
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/watchbudget"


class Server:
    """Objects by path, with versions; `before` runs ahead of each write, as another client would."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.writes: list[str] = []
        self.before: list[Any] = []
        self.time = START

    def put(self, path: str, value: dict[str, Any]) -> None:
        version = int(self.objects.get(path, {}).get("metadata", {}).get("resourceVersion", 0)) + 1
        value = copy.deepcopy(value)
        value.setdefault("metadata", {})["resourceVersion"] = str(version)
        self.objects[path] = value

    async def request(self, method: str, path: str, body: Any = None, **_: object) -> Reply:  # noqa: ANN401
        if method != "GET" and self.before:
            self.before.pop()()
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
        there = self.objects.get(path)
        if (there is None) != (method == "POST"):
            return Reply(404 if there is None else 409, {"message": "no"})
        if method == "GET":
            return Reply(200, copy.deepcopy(there))
        if method == "PUT" and body["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
            return Reply(409, {"message": "modified"})
        if method == "PATCH":
            try:
                body = jsonpatch.apply_patch(there, body)
            except jsonpatch.JsonPatchTestFailed:
                return Reply(422, {"message": "test failed"})
        self.writes.append(method)
        self.put(path, body)
        return Reply(200, copy.deepcopy(self.objects[path]))

    def store(self, *, leads: bool = True) -> SecretStore:
        return SecretStore(self, "wb", "certs", HOSTS, may_write=lambda: leads, now=lambda: self.time)


@async_test
async def test_replicas_share_what_the_first_made():
    server = Server()
    standby, leader = server.store(leads=False), server.store()
    assert await standby.ensure() is None
    made = await leader.ensure()
    assert await standby.ensure() == made == await server.store().ensure()
    assert server.writes == ["POST"]
    assert server.objects[SECRET]["type"] == "kubernetes.io/tls"


@async_test
async def test_whoever_comes_second_takes_the_others():
    server, other = Server(), Server()
    theirs = await other.store().ensure()
    server.before = [lambda: server.put(SECRET, other.objects[SECRET])]
    assert await server.store().ensure() == theirs


@pytest.mark.parametrize(
    "data",
    [None, {}, [], {"ca.crt": "%%%"}, {"ca.crt": 7}, "keys of another"],
)
def test_damaged_content_is_replaced_with_a_logged_reason(data: object, caplog: pytest.LogCaptureFixture):
    @async_test
    async def run():
        server = Server()
        store = server.store()
        first = await store.ensure()
        secret = server.objects[SECRET]
        secret["metadata"]["labels"] = {"kept": "yes"}
        if data == "keys of another":
            secret["data"]["tls.key"] = base64.b64encode(tls.create(HOSTS, START).key).decode()
        else:
            secret["data"] = data
        second = await store.ensure()
        assert second is not None
        assert first is not None
        assert second.certificate == first.certificate  # still trusted: nothing fails meanwhile
        assert second.ca_certificates.endswith(first.ca_certificates)
        assert second.ca_key != first.ca_key
        assert await server.store().ensure() == second
        assert server.objects[SECRET]["metadata"]["labels"] == {"kept": "yes"}

    run()
    assert "cannot be used and will be replaced: " in caplog.text
    assert "PRIVATE" not in caplog.text


@async_test
async def test_deleted_it_comes_back_as_a_rotation():
    server = Server()
    store, standby = server.store(), server.store(leads=False)
    first = await store.ensure()
    await standby.ensure()
    del server.objects[SECRET]
    assert await standby.ensure() == first
    second = await store.ensure()
    assert first is not None
    assert second is not None
    assert second.certificate == first.certificate
    assert second.ca_certificates.endswith(first.ca_certificates)
    for _ in range(3):  # in the end nothing of the old keys is left
        server.time += tls.SETTLE
        last = await store.ensure()
    assert last is not None
    assert first.ca_certificates not in last.ca_certificates
    assert last.key != first.key


@async_test
async def test_only_the_leader_renews_and_the_others_follow():
    server = Server()
    leader, standby = server.store(), server.store(leads=False)
    first = await leader.ensure()
    await standby.ensure()
    server.time += dt.timedelta(days=61)
    assert await standby.ensure() == first
    second = await leader.ensure()
    assert second != first
    assert await standby.ensure() == second
    assert server.writes == ["POST", "PUT"]


@async_test
async def test_one_that_never_stands_still_is_an_error():
    server = Server()
    await server.store().ensure()
    server.time += dt.timedelta(days=61)
    server.before = [lambda: server.put(SECRET, server.objects[SECRET])] * 9
    with pytest.raises(WireError, match="kept changing"):
        await server.store().ensure()


@async_test
async def test_a_refusal_says_what_and_keeps_what_is_served():
    class Refusing(Server):
        async def request(self, method: str, path: str, body: Any = None, **_: object) -> Reply:  # noqa: ANN401
            return Reply(403, {"message": "secrets is forbidden"})

    with pytest.raises(WireError, match="secrets is forbidden"):
        await Refusing().store().ensure()


def configuration(*names: str) -> dict[str, Any]:
    webhooks = [{"name": name, "clientConfig": {"url": "https://x/y"}} for name in names]
    return {"metadata": {"name": "watchbudget"}, "webhooks": webhooks}


def bundles(server: Server) -> dict[str, str | None]:
    return {w["name"]: w["clientConfig"].get("caBundle") for w in server.objects[WEBHOOKS]["webhooks"]}


@async_test
async def test_the_ca_bundle_is_written_where_it_differs_and_nothing_else():
    server = Server()
    server.put(WEBHOOKS, configuration("a", "b"))
    wanted = base64.b64encode(b"ca").decode()
    for _ in range(2):
        assert await publish(server, [VALIDATING], "wb", b"ca", lambda: True) == []
    assert bundles(server) == {"a": wanted, "b": wanted}
    assert server.writes == ["PATCH"]
    await publish(server, [VALIDATING], "wb", b"new", lambda: False)
    assert server.writes == ["PATCH"]


@async_test
async def test_webhooks_in_another_order_meanwhile_do_not_mix():
    server = Server()
    server.put(WEBHOOKS, configuration("a", "b"))
    server.before = [lambda: server.put(WEBHOOKS, configuration("c", "a"))]
    await publish(server, [VALIDATING], "wb", b"ca", lambda: True)
    assert set(bundles(server)) == {"c", "a"}
    assert None not in bundles(server).values()


@async_test
async def test_a_rule_that_refuses_the_ca_bundle_is_named():
    server = Server()
    server.put(WEBHOOKS, configuration("a"))

    class Ruled:
        async def request(self, method: str, path: str, *args: Any, **options: Any) -> Reply:  # noqa: ANN401
            if method == "PATCH":
                return Reply(422, {"message": "ValidatingAdmissionPolicy 'limits' denied request"})
            return await server.request(method, path, *args, **options)

    with pytest.raises(WireError, match="not accepted: PATCH"):
        await publish(Ruled(), [VALIDATING], "wb", b"ca", lambda: True)  # type: ignore[arg-type]


@async_test
async def test_configurations_that_are_not_there_are_named():
    server = Server()
    server.put(WEBHOOKS, {"metadata": {"name": "watchbudget"}})  # one without webhooks is no fault
    others = [("mutatingwebhookconfigurations", "gone"), VALIDATING]
    assert await publish(server, others, "wb", b"ca", lambda: True) == [
        "There is no mutatingwebhookconfigurations/gone: its webhooks are not called"
    ]


@async_test
async def test_webhooks_of_another_operator_are_left_alone():
    server = Server()
    theirs = configuration("a")
    theirs["webhooks"][0]["clientConfig"] = {"service": {"namespace": "other", "name": "watchbudget"}}
    server.put(WEBHOOKS, theirs)
    assert await publish(server, [VALIDATING], "wb", b"ca", lambda: True) == [
        "validatingwebhookconfigurations/watchbudget leads to another operator, in namespace other"
    ]
    assert server.writes == []
    assert await publish(server, [VALIDATING], "other", b"ca", lambda: True) == []
    assert server.writes == ["PATCH"]


def test_each_change_is_told(caplog: pytest.LogCaptureFixture):
    @async_test
    async def run():
        server = Server()
        await server.store().ensure()
        server.time += dt.timedelta(days=61)
        for _ in range(2):
            await server.store().ensure()

    with caplog.at_level(logging.INFO):
        run()
    told = ["The Secret certs is being made", "Certificates in the Secret certs: renew_serving"]
    assert [r.getMessage() for r in caplog.records if r.name.startswith("watchbudget")] == told
