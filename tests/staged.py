"""A cluster whose starts the operator paces: agents to start, and what the audit log tells of them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from audit import audited
from operator_process import USER, OperatorProcess, manifests
from watchbudget.localcluster import LocalCluster

NAMESPACE = "agents"
FEW = 12
NAMESPACES = 50
WATCHES = "quay.io/calico/node:v3.30.0"  # of which the catalogue is certain
NEWER = WATCHES.replace("v3.30.0", "v3.30.1")
QUIET = "docker.io/library/busybox:1.36"
LABEL = "watchbudget.io/start"
KEPT = "watchbudget.io/max-unavailable"
READY_DELAY = "pod-ready.stage.kwok.x-k8s.io/delay"
CRASH = "localcluster.watchbudget.io/crash"
PLAYED = "localcluster.watchbudget.io/agent"  # "external": Ready only once `Staged.play` says so
SOON = {READY_DELAY: "0.3s"}
WHEN_PLAYED = {PLAYED: "external"}
SYNCED = "localcluster.watchbudget.io/synced"
MERGE = {"Content-Type": "application/merge-patch+json"}
ON_DELETE = {"type": "OnDelete"}

Raw = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
ACCOUNTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: agent, namespace: {NAMESPACE}}}
---
apiVersion: {_RBAC}/v1
kind: ClusterRole
metadata: {{name: agent}}
rules:
  - {{apiGroups: [""], resources: [namespaces, nodes, pods], verbs: [get, list, watch]}}
---
apiVersion: {_RBAC}/v1
kind: ClusterRoleBinding
metadata: {{name: agent}}
roleRef: {{apiGroup: {_RBAC}, kind: ClusterRole, name: agent}}
subjects: [{{kind: ServiceAccount, name: agent, namespace: {NAMESPACE}}}]
"""
"""What agents need to watch all namespaces."""


def eventually(holds: Callable[[], Any], what: str, seconds: float = 90) -> Any:  # noqa: ANN401 - whatever it gives
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, f"never: {what} (at last {value!r})"
        time.sleep(0.1)
    return value


def agent(
    name: str,
    *,
    image: str = WATCHES,
    nodes: str = "",
    pods: dict[str, str] | None = None,
    strategy: Raw | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **pod: Any,  # noqa: ANN401
) -> Raw:
    """A DaemonSet whose owner wants all of its pods replaced at once.

    Args:
        name: its name.
        image: what it runs.
        nodes: the pool on whose nodes it runs; on all if there is none.
        pods: annotations of its pods: how KWOK plays them.
        strategy: its update strategy.
        labels: its own labels.
        annotations: its own annotations.
        **pod: fields of its pods' spec.
    """
    spec = {
        "containers": [{"name": "agent", "image": image}],
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "serviceAccountName": "agent",
        "nodeSelector": {"pool": nodes} if nodes else {},
        **pod,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "updateStrategy": strategy
            or {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"metadata": {"labels": {"app": name}, "annotations": pods or {}}, "spec": spec},
        },
    }


@contextlib.contextmanager
def paced_cluster(nodes: int, *options: str) -> Iterator[tuple[LocalCluster, OperatorProcess]]:
    """A cluster with the operator, run with these options; `FEW` of its nodes are of pool "few"."""
    with LocalCluster() as cluster:
        cluster.add_nodes(FEW, labels={"pool": "few"})
        cluster.add_nodes(nodes - FEW)
        cluster.apply(ACCOUNTS)
        cluster.seed(namespaces=NAMESPACES)
        operator = OperatorProcess(cluster, *options, installed=True)
        install(cluster, operator.port)  # meanwhile the API server counts
        cluster.wait_until_counted()
        with operator:
            yield cluster, operator


def install(cluster: LocalCluster, port: int, patience: int = 10) -> None:
    """Apply the manifests; the API server waits longer for our webhooks: the machine may be slow."""
    built = re.sub("timeoutSeconds: [0-9]+", f"timeoutSeconds: {patience}", manifests(cluster, port))
    cluster.kubectl("apply", "--server-side", "-f", "-", input=built)
    cluster.kubectl("wait", "--for=condition=Established", "crd/watchbudgets.watchbudget.io", "--timeout=30s")


@dataclass
class Story:
    """What became of one pod, by the audit log; seconds, by the API server's clock.

    Attributes:
        patched: when our account changed it: its release, the end of its permit.
        kubelet: when KWOK wrote its status.
        deleted: when it was deleted, and by whom.
    """

    patched: list[float] = field(default_factory=list)
    kubelet: list[float] = field(default_factory=list)
    deleted: float | None = None
    deleted_by: str = ""


class Staged:
    """The cluster, its operator, and what has happened since the test began."""

    def __init__(self, cluster: LocalCluster, operator: OperatorProcess) -> None:
        """Begin to look at the audit log here."""
        self.cluster, self.operator = cluster, operator
        self._begun = cluster.audit_log.stat().st_size

    # What is done.

    def budget(self, name: str = "staged", *, selector: Raw | None = None, **rollout: Any) -> None:  # noqa: ANN401
        """Apply a budget with this `rollout`, and wait until it is followed."""
        spec = {
            "enforcement": {"action": "Warn"},
            "daemonSetSelector": selector or {},
            "rollout": {"settle": "0s", "maxHold": "10s", **rollout},
        }
        self.put_budget(name, spec)

    def put_budget(self, name: str, spec: Raw) -> None:
        """Apply a budget, and wait until it is followed."""
        kind = {"apiVersion": "watchbudget.io/v1alpha1", "kind": "WatchBudget"}
        self.cluster.apply(json.dumps({**kind, "metadata": {"name": name}, "spec": spec}))
        eventually(lambda: self._is_followed(name), f"{name} is followed")

    def apply(self, *objects: Raw) -> str:
        """Apply objects as people do; returns what kubectl says."""
        done = self.cluster.apply("---\n".join(yaml.safe_dump(each) for each in objects))
        return done.stdout + done.stderr

    def annotate(self, what: str, *annotations: str) -> None:
        """Annotate `kind/name` of our namespace."""
        self.cluster.kubectl("annotate", "-n", NAMESPACE, what, "--overwrite", *annotations)

    def play(self, *pods: Raw) -> None:
        """Be the agents in these pods: their lists are done, they are Ready. Pods that are gone have none."""
        for pod in pods:
            synced = {"metadata": {"annotations": {SYNCED: "true"}}}
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}"
            answer = self.cluster.request("PATCH", path, synced, headers=MERGE, check=False)
            assert answer.status in (200, 404), (path, answer.status, answer.body)

    def tell(self) -> None:
        """Print how things stand, for whoever reads of a failure."""
        for pod in self.pods():
            print(pod["metadata"]["name"], pod["metadata"]["labels"].get(LABEL), pod["status"]["phase"])
        print(self.cluster.kubectl("get", "wb", "-o", "wide").stdout)
        print(self.operator.output()[-3000:])

    def clear(self) -> None:
        """Take away agents and budgets, and wait until they are forgotten."""
        self.cluster.kubectl(
            "delete", "ds,deployment,pod", "--all", "-n", NAMESPACE, "--wait=false", "--force"
        )
        self.cluster.kubectl("delete", "wb", "--all")
        eventually(lambda: not self.pods(), "the pods are gone")
        eventually(lambda: "watchbudget_daemonsets{" not in self.operator.probe("/metrics")[1], "it is quiet")

    # What is there.

    def pods(self, name: str = "", start: str | None = None) -> list[Raw]:
        """The pods of one agent, or of all, that are not on their way out; those held or permitted alone."""
        selector = ",".join(
            ([f"app={name}"] if name else []) + ([f"{LABEL}={start}"] if start is not None else [])
        )
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={selector}"
        items: list[Raw] = self.cluster.request("GET", path).json()["items"]
        return [each for each in items if "deletionTimestamp" not in each["metadata"]]

    def held(self, name: str = "") -> list[Raw]:
        """Pods that wait."""
        return self.pods(name, "held")

    def permitted(self, name: str = "") -> list[Raw]:
        """Pods that start: those that have begun to be Ready keep the label for a while."""
        return [pod for pod in self.pods(name, "permitted") if not is_ready(pod)]

    def started(self, name: str) -> list[Raw]:
        """Pods that are Ready."""
        return [pod for pod in self.pods(name) if is_ready(pod)]

    def running(self, name: str) -> list[Raw]:
        """Pods that run, Ready or not."""
        return [pod for pod in self.pods(name) if runs(pod)]

    def released(self, name: str) -> set[str]:
        """Names of an agent's pods that our account has changed: released, or let go."""
        return {pod for pod, story in self.stories(name).items() if story.patched}

    def unmarked(self) -> bool:
        """Whether no pod carries our label any more."""
        return not any(LABEL in pod["metadata"]["labels"] for pod in self.pods())

    def done(self, name: str, count: int, image: str = "") -> bool:
        """Whether so many pods, all there are, are Ready and free of our label, with this image if given."""
        pods = self.pods(name)
        return len(pods) == count and all(
            is_ready(pod)
            and LABEL not in pod["metadata"]["labels"]
            and (not image or pod["spec"]["containers"][0]["image"] == image)
            for pod in pods
        )

    def daemon_set(self, name: str) -> Raw:
        """The DaemonSet as it is stored."""
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{name}"
        found: Raw = self.cluster.request("GET", path).json()
        return found

    def status(self, name: str = "staged") -> Raw:
        """A budget's status."""
        found = self.cluster.request("GET", f"/apis/watchbudget.io/v1alpha1/watchbudgets/{name}").json()
        status: Raw = found.get("status", {})
        return status

    def rollout(self, name: str, budget: str = "staged") -> Raw:
        """What the budget's status tells of an agent's rollout; empty while there is none."""
        rollouts = self.status(budget).get("rollouts", [])
        return next((each for each in rollouts if each["name"] == name), {})

    def events(self, regarding: str) -> dict[str, str]:
        """Reasons and notes of our events about an object."""
        items = self.cluster.request("GET", "/apis/events.k8s.io/v1/events").json()["items"]
        return {
            each["reason"]: each["note"]
            for each in items
            if each["regarding"]["name"] == regarding
            and each.get("reportingController", "").startswith("watchbudget.io/")
        }

    def _is_followed(self, name: str) -> bool:
        path = f"/apis/watchbudget.io/v1alpha1/watchbudgets/{name}"
        budget = self.cluster.request("GET", path).json()
        seen = budget.get("status", {}).get("observedGeneration")
        return bool(seen == budget["metadata"]["generation"])

    # What has happened.

    def stories(self, *names: str) -> dict[str, Story]:
        """By pod, of these agents or of all, what was done to it since the test began."""
        stories: dict[str, Story] = {}
        for event in self._audited("pods"):
            ref, user = event["objectRef"], event["user"].get("username")
            name = ref.get("name", "")
            if not name or (names and name.rpartition("-")[0] not in names):
                continue
            story, when = stories.setdefault(name, Story()), _seconds(event["requestReceivedTimestamp"])
            if event["verb"] == "patch" and user == USER and "subresource" not in ref:
                story.patched.append(when)
            elif event["verb"] == "patch" and ref.get("subresource") == "status" and "kwok" in user:
                story.kubelet.append(when)
            elif event["verb"] == "delete" and (story.deleted is None or when < story.deleted):
                story.deleted, story.deleted_by = when, user  # the kubelet deletes it too, at the end
        return stories

    def in_flight(self, *names: str, settle: float = 0, ready_at: int = 1) -> int:
        """How many pods had a permit at once, at most.

        A start begins when the API server gets our patch that releases the pod. It ends, so much later,
        when the API server gets KWOK's status that makes it Ready: before we can know it. So what the
        operator may count as ended has ended here. An API server that is killed may have carried that out and
        not logged it: then it ends when KWOK says that the pod has been Ready since, in whole seconds.

        Args:
            *names: of these agents together; of all if none is named.
            settle: seconds that a permit lasts after its pod is Ready.
            ready_at: which of KWOK's status writes makes a pod Ready, from 1 on.
        """
        moves: list[tuple[float, int]] = []
        ready = {pod["metadata"]["name"]: since for pod in self.pods() if (since := _ready_since(pod))}
        for name, story in self.stories(*names).items():
            if not story.patched:
                continue
            told = story.kubelet[ready_at - 1] if len(story.kubelet) >= ready_at else ready.get(name)
            ends = [told + settle] if told is not None else []
            ends += [story.deleted] if story.deleted is not None else []
            moves.append((story.patched[0], 1))
            if ends:
                moves.append((max(min(ends), story.patched[0]), -1))
        return _most(moves)

    def without(self, name: str) -> int:
        """How many nodes were without a Ready pod of an agent at once, at most, because it was replaced."""
        moves = []
        for story in self.stories(name).values():
            if story.deleted is not None:
                moves.append((story.deleted, 1))
            elif story.kubelet:
                moves.append((story.kubelet[0], -1))
        return _most(moves)

    def writes(self, resource: str) -> list[str]:
        """Names of the objects of a kind that our account has written since the test began."""
        return [
            event["objectRef"].get("name", "")
            for event in self._audited(resource)
            if event["user"].get("username") == USER
            and event["verb"] in ("patch", "update", "create", "delete")
        ]

    def asked(self, webhook: str) -> int:
        """How many pods the API server has asked a webhook about, of those that were created."""
        return sum(
            any(webhook in value for key, value in event.get("annotations", {}).items() if "webhook" in key)
            for event in self._audited("pods")
            if event["verb"] == "create"
        )

    def let_in_unasked(self) -> list[float]:
        """When pods were created of which a webhook did not answer: the API server tells that it failed open.

        (`MutationAuditAnnotationFailedOpenKeyPrefix` in k8s.io/apiserver's
        pkg/admission/plugin/webhook/mutating/dispatcher.go.)
        """
        return [
            _seconds(event["requestReceivedTimestamp"])
            for event in self._audited("pods")
            if event["verb"] == "create"
            and any(key.startswith("failed-open.mutation.") for key in event.get("annotations", {}))
        ]

    def _audited(self, resource: str) -> Iterator[Raw]:
        """What was done to objects of a kind, in our namespace or none."""
        for event in audited(self.cluster, offset=self._begun):
            ref = event.get("objectRef", {})
            if (
                event["stage"] == "ResponseComplete"
                and ref.get("resource") == resource
                and ref.get("namespace", NAMESPACE) == NAMESPACE
                and event["responseStatus"]["code"] < 300
            ):
                yield event


def _ready_since(pod: Raw) -> float | None:
    """The end of the second in which a pod became Ready; None if it is not."""
    for each in pod["status"].get("conditions", ()):
        if each["type"] == "Ready" and each["status"] == "True":
            return _seconds(each["lastTransitionTime"]) + 1
    return None


@contextlib.contextmanager
def one_test(cluster: LocalCluster, operator: OperatorProcess) -> Iterator[Staged]:
    """What happens in one test of several that share a cluster; whatever it left is taken away."""
    staged = Staged(cluster, operator)
    yield staged
    staged.tell()
    staged.clear()


def names(pods: list[Raw]) -> set[str]:
    """Of pods."""
    return {pod["metadata"]["name"] for pod in pods}


def runs(pod: Raw) -> bool:
    """Whether a pod runs, Ready or not."""
    return bool(pod["status"]["phase"] == "Running")


def is_ready(pod: Raw) -> bool:
    """Whether a pod is Ready."""
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def is_gated(pod: Raw) -> bool:
    """Whether our gate holds a pod."""
    return any(gate["name"] == LABEL for gate in pod["spec"].get("schedulingGates", []))


def _most(moves: list[tuple[float, int]]) -> int:
    """The highest level; what ends at the very time at which something begins has ended."""
    level = most = 0
    for _, step in sorted(moves):
        level += step
        most = max(most, level)
    return most


def _seconds(stamp: str) -> float:
    return dt.datetime.fromisoformat(stamp).timestamp()
