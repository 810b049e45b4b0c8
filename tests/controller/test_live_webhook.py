"""The real API server calls our server, with certificates from our Secret, through a whole rotation."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from typing import Any

import pytest

from controller_reviews import now
from controller_transport import TokenTransport
from fake_apiserver import async_test
from live_cluster import AUDITORS, make_auditor
from watchbudget.controller import tls
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.controller.secret_store import SecretStore, publish
from watchbudget.controller.server import AdmissionServer
from watchbudget.localcluster import LocalCluster

NAMESPACE = "webhook-test"
CONFIGURATION = ("validatingwebhookconfigurations", "webhook-test")
RULES = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "update"]},
    {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["validatingwebhookconfigurations"],
        "verbs": ["get", "patch"],
    },
]


def judge(review: AdmissionRequest) -> AdmissionResponse:
    if review.name.startswith("bad"):
        return AdmissionResponse(allowed=False, message="38 GiB, budget 2 GiB", warnings=("too\nmuch",))
    return AdmissionResponse(allowed=True)


def configuration(port: int) -> dict[str, Any]:
    webhook = {
        "name": "test.watchbudget.io",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/validate"},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 5,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        "rules": [
            {
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "resources": ["daemonsets"],
                "operations": ["CREATE", "UPDATE"],
            }
        ],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": CONFIGURATION[1]},
        "webhooks": [webhook],
    }


def daemon_set(name: str, padding: int = 0) -> dict[str, Any]:
    labels = {"app": "x"}
    spec = {"containers": [{"name": "c", "image": "x", "args": ["x" * padding]}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@pytest.fixture
def token(cluster: LocalCluster):
    make_auditor(cluster, "webhook", RULES)
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield cluster.token(AUDITORS, "webhook")
    path = f"/apis/admissionregistration.k8s.io/v1/{'/'.join(CONFIGURATION)}"
    cluster.request("DELETE", path, check=False)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_no_request_fails_while_authority_and_certificate_change(
    cluster: LocalCluster, token: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tls, "SETTLE", dt.timedelta(seconds=2))
    create = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"
    done = asyncio.Event()

    def send(name: str, padding: int = 0) -> Any:  # noqa: ANN401
        return cluster.request("POST", f"{create}?dryRun=All", daemon_set(name, padding), check=False)

    async def load() -> int:
        count = 0
        while not done.is_set():
            answer = await asyncio.to_thread(send, "good")
            assert answer.status == 201, answer.body
            count += 1
            await asyncio.sleep(0.02)
        return count

    @async_test
    async def run():
        time = now() - dt.timedelta(days=250)
        async with TokenTransport(cluster.url, cluster.ca_file, token) as transport:
            store = SecretStore(
                transport, NAMESPACE, "certs", ["127.0.0.1"], may_write=lambda: True, now=lambda: time
            )
            server = AdmissionServer(
                {"/validate": judge}, address=("127.0.0.1", 0), probe_address=("127.0.0.1", 0)
            )
            first = await store.ensure()
            time = now() - dt.timedelta(days=50)
            first = await store.ensure()  # an old authority; its certificate is good for a while
            assert first is not None
            server.load_certificate(first.certificate, first.key)
            await server.start()
            # In every answer: so each request is a new handshake.
            server._draining = True
            cluster.request(
                "POST",
                f"/apis/admissionregistration.k8s.io/v1/{CONFIGURATION[0]}",
                configuration(server.port),
            )
            assert (
                await publish(transport, [CONFIGURATION], "none", first.ca_certificates, lambda: True) == []
            )
            await until_it_bites(send)

            loads = [asyncio.create_task(load()) for _ in range(2)]
            stages = [first]
            while len(stages) < 4 and not any(task.done() for task in loads):
                time = dt.datetime.now(dt.UTC)
                bundle = await store.ensure()
                assert bundle is not None
                if bundle != stages[-1]:
                    stages.append(bundle)
                    await publish(transport, [CONFIGURATION], "none", bundle.ca_certificates, lambda: True)
                    server.load_certificate(bundle.certificate, bundle.key)
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.5)
            done.set()
            assert min(await asyncio.gather(*loads)) > 20

            names = [(s.ca_certificates.count(b"BEGIN"), s.certificate == first.certificate) for s in stages]
            assert names == [(1, True), (2, True), (2, False), (1, False)]
            path = f"/apis/admissionregistration.k8s.io/v1/{'/'.join(CONFIGURATION)}"
            stored = cluster.request("GET", path).json()["webhooks"][0]["clientConfig"]["caBundle"]
            assert base64.b64decode(stored) == stages[-1].ca_certificates
            assert (await asyncio.to_thread(send, "good", 1_200_000)).status == 201
            await server.close()
            assert (await asyncio.to_thread(send, "good")).status == 500  # it was really asked

    run()


async def until_it_bites(send: Any) -> None:  # noqa: ANN401
    """The API server learns of the webhook and its CA bundle by a watch."""
    for _ in range(100):
        answer = await asyncio.to_thread(send, "bad")
        if answer.status == 403:
            said = answer.json()["message"]
            assert said == 'admission webhook "test.watchbudget.io" denied the request: 38 GiB, budget 2 GiB'
            assert answer.headers["Warning"] == '299 - "too much"'
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"the webhook was never asked: {answer.body!r}")
