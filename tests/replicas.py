"""Replicas of the operator that the audit log can tell apart, and what it tells of them."""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import yaml

import reads
from api_proxy import ApiProxy
from audit import Event
from controller_reviews import body
from operator_process import NAMESPACE, OperatorProcess
from watchbudget.localcluster import LocalCluster

__all__ = [
    "LEASE_PATH",
    "SECRET_PATH",
    "Replica",
    "Reviewer",
    "agent",
    "eventually",
    "judged_anew",
    "moment",
    "put_budget",
    "received",
    "requests",
    "sent_by",
    "writes",
]

_CREDENTIAL = "authentication.kubernetes.io/credential-id"


class Replica(OperatorProcess):
    """One replica with a token of its own, perhaps behind a proxy.

    Attributes:
        credential: what the audit log calls its token.
    """

    def __init__(
        self,
        cluster: LocalCluster,
        *options: str,
        proxy: ApiProxy | None = None,
        **rest: Any,  # noqa: ANN401 - those of an OperatorProcess
    ) -> None:
        super().__init__(cluster, *options, **rest)
        self._proxy = proxy
        self.credential = ""

    def make_kubeconfig(self) -> Path:
        document = yaml.safe_load(super().make_kubeconfig().read_text())
        claims: str = document["users"][0]["user"]["token"].split(".")[1]
        self.credential = f"JTI={json.loads(base64.urlsafe_b64decode(claims + '=='))['jti']}"
        if self._proxy is not None:
            document["clusters"][0]["cluster"] = {"server": self._proxy.url}
        path = Path(self._folder.name) / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path


def eventually(holds: Callable[[], Any], seconds: float = 30) -> Any:  # noqa: ANN401 - whatever it gives
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, f"after {seconds} s still {value!r}"
        time.sleep(0.1)
    return value


def requests(cluster: LocalCluster, replica: Replica | None = None) -> Iterator[Event]:
    """What our account asked of the API server, all replicas or one, in the order of the audit log."""
    for event in reads.requests(cluster):
        if event["stage"] != "ResponseStarted" and (replica is None or sent_by(event, replica)):
            yield event


def writes(cluster: LocalCluster, replica: Replica | None = None) -> list[Event]:
    """What of that was carried out and stored."""
    return [
        event
        for event in requests(cluster, replica)
        if event["verb"] not in {"get", "list", "watch"}
        and event["objectRef"]["resource"] != "subjectaccessreviews"
        and event.get("responseStatus", {}).get("code", 0) < 300
    ]


def received(event: Event) -> dt.datetime:
    """When the API server got a request."""
    return dt.datetime.fromisoformat(event["requestReceivedTimestamp"])


def moment() -> dt.datetime:
    """Now, by the clock that the API server on this machine has too."""
    return dt.datetime.now(dt.UTC)


def sent_by(event: Event, replica: Replica) -> bool:
    """Whether a replica sent a request."""
    return bool(event["user"].get("extra", {}).get(_CREDENTIAL) == [replica.credential])


def put_budget(cluster: LocalCluster, name: str, *, seconds: float = 40, **spec: object) -> None:
    """Apply a budget, and wait until its status is of this generation: it is in force."""
    body = {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget", "metadata": {"name": name}}
    cluster.apply(json.dumps(body | {"spec": spec}))
    path = f"/apis/watchbudget.io/v1alpha1/watchbudgets/{name}"

    def followed() -> bool:
        budget = cluster.request("GET", path).json()
        return bool(budget.get("status", {}).get("observedGeneration") == budget["metadata"]["generation"])

    eventually(followed, seconds)


def judged_anew(cluster: LocalCluster, seconds: float = 40) -> Event:
    """Change a budget and wait until its status follows: the write of that, by whoever writes."""
    name, begun = "story", moment()
    put_budget(cluster, name, seconds=seconds, limits={"cachePerPod": f"{time.monotonic_ns() % 10**9 + 1}Ki"})

    def told() -> list[Event]:
        return [
            event
            for event in writes(cluster)
            if event["objectRef"].get("subresource") == "status"
            and event["objectRef"].get("name") == name
            and received(event) > begun
        ]

    last: Event = eventually(told)[-1]  # the status is seen before the log tells who wrote it
    return last


def agent(
    name: str = "agent", namespace: str = "default", image: str = "example.org/agent:2"
) -> dict[str, Any]:
    """A DaemonSet that watches all namespaces by its owner's word, and has no memory limit."""
    selector = {"app": name}
    pod = {"containers": [{"name": "agent", "image": image}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"watchbudget.io/watches": '{"namespaces": "all"}'},
        },
        "spec": {
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": pod},
        },
    }


class Reviewer:
    """Asks a replica the same thing again and again, as an API server would; use it as a context manager.

    Attributes:
        answers: how often which answer came: `denied`, `allowed`, `not connected`, or what went wrong.
    """

    def __init__(self, replica: Replica, *, keep: bool = True) -> None:
        """Prepare.

        Args:
            replica: to ask.
            keep: one connection for all requests, opened again where it was closed; else one for each.
        """
        secret = replica.cluster.request("GET", SECRET_PATH).json()
        authority = base64.b64decode(secret["data"]["ca.crt"]).decode()
        self.answers: Counter[str] = Counter()
        self._trust = ssl.create_default_context(cadata=authority)
        self._port, self._keep = replica.port, keep
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def wait_for(self, count: int) -> None:
        """Wait for so many more answers."""
        before = self.answers.total()
        eventually(lambda: self.answers.total() >= before + count)

    def _run(self) -> None:
        connection: http.client.HTTPSConnection | None = None
        data = body(namespace="default", object=agent())
        while not self._end.is_set():
            if connection is None:
                connection = http.client.HTTPSConnection(
                    "127.0.0.1", self._port, context=self._trust, timeout=5
                )
                try:
                    connection.connect()
                except OSError:
                    self.answers["not connected"] += 1
                    connection = None
                    time.sleep(0.05)
                    continue
            try:
                connection.request("POST", "/validate-daemonsets", data)
                answer = connection.getresponse()
                said = json.loads(answer.read())
                closing = answer.will_close
                allowed = said["response"]["allowed"] if answer.status == 200 else answer.status
                self.answers[{True: "allowed", False: "denied"}.get(allowed, str(allowed))] += 1
            except (OSError, http.client.HTTPException) as error:
                self.answers[type(error).__name__] += 1
                closing = True
            if closing or not self._keep:
                connection.close()
                connection = None
            time.sleep(0.03)


NAMESPACE_PATH = f"/api/v1/namespaces/{NAMESPACE}"
LEASE_PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/watchbudget"
SECRET_PATH = f"{NAMESPACE_PATH}/secrets/watchbudget-tls"
