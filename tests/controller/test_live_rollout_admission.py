"""Gate and cap on the real API server, with the real DaemonSet controller, scheduler and kubectl."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from live_admission import Webhooks, webhooks
from policy_samples import CALIBRATION, CENSUS, TODAY, budget
from watchbudget.api.budget import WatchBudget
from watchbudget.controller.admission import Snapshot, mutate, validate
from watchbudget.controller.pod_admission import hold
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.inventory.fleet import DaemonSet, Fleet
from watchbudget.localcluster import LocalCluster
from watchbudget.policy.judge import Judge

DOCS = Path(__file__).parents[2] / "docs" / "rollouts.md"
NAMESPACE = "rollout-admission-test"
KEPT = "watchbudget.io/max-unavailable"
HELD = "watchbudget.io/start=held"
CALICO = "quay.io/calico/node:v3.30.0"  # of which the catalogue is certain
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
ONE = budget("one", rollout={"maxConcurrentStarts": 1}, enforcement={"action": "Warn"})
FREE = budget("free", enforcement={"action": "Audit"})


class World:
    """What the webhooks go by; tests change it."""

    def __init__(self) -> None:
        self.leader = True
        self.known: dict[tuple[str, str], DaemonSet] = {}
        self.judged_by(ONE)

    def judged_by(self, *budgets: WatchBudget) -> None:
        bench = Judge(
            Fleet(daemon_sets=(), nodes=3, nodes_source="flag", census=CENSUS),
            budgets,
            today=TODAY,
            catalogue=load_catalogue(),
            calibration=CALIBRATION,
        )
        self.snapshot = Snapshot(bench, bench.ledgers([]))

    def judge(
        self, by: Callable[[AdmissionRequest, Snapshot | None], AdmissionResponse], request: AdmissionRequest
    ) -> AdmissionResponse:
        return by(request, self.snapshot)

    def hold(self, request: AdmissionRequest) -> AdmissionResponse:
        return hold(request, self.snapshot, self.known.get, lambda: self.leader)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def served(cluster: LocalCluster, world: World) -> Iterator[Webhooks]:
    handlers = {
        "/mutate-daemonsets": partial(world.judge, mutate),
        "/validate-daemonsets": partial(world.judge, validate),
        "/mutate-pods": world.hold,
    }
    with webhooks(cluster, NAMESPACE, handlers) as served:
        cluster.kubectl("-n", NAMESPACE, "create", "serviceaccount", "agent")
        until(
            lambda: "one" in warned(cluster.kubectl(*APPLY, "--dry-run=server", input=text(agent("probe"))))
        )
        yield served


@pytest.fixture(autouse=True)
def as_it_was(cluster: LocalCluster, served: Webhooks, world: World) -> Iterator[None]:
    world.__init__()  # type: ignore[misc]  # every test finds the same
    served.asked.clear()
    yield
    world.judged_by(FREE)
    cluster.kubectl("-n", NAMESPACE, "delete", "daemonset,deployment,pod", "--all", "--wait=false", "--force")
    until(lambda: not pods(cluster))


APPLY = ("-n", NAMESPACE, "apply", "-f", "-")
BY_ANOTHER = (*APPLY, "--server-side", "--field-manager=gitops")


def agent(name: str, value: object = "100%", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - of a pod
    """A DaemonSet that watches all namespaces."""
    spec = {
        "serviceAccountName": "agent",
        "containers": [{"name": "agent", "image": CALICO}],
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "annotations": {"watchbudget.io/watches": '{"namespaces": "all"}'}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": value}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec | changes},
        },
    }


def text(raw: dict[str, Any]) -> str:
    return yaml.safe_dump(raw)


def warned(done: Any) -> str:  # noqa: ANN401 - a CompletedProcess
    return str(done.stderr)


def until(done: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.1)


def path(name: str) -> str:
    return f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/{name}"


def stored(cluster: LocalCluster, name: str) -> dict[str, Any]:
    result: dict[str, Any] = cluster.request("GET", path(name)).json()
    return result


def width(raw: dict[str, Any]) -> tuple[object, object]:
    strategy = raw["spec"]["updateStrategy"]
    assert strategy["type"] == "RollingUpdate"
    return strategy["rollingUpdate"]["maxUnavailable"], raw["metadata"]["annotations"].get(KEPT)


def unmoved(raw: dict[str, Any]) -> tuple[object, object]:
    """What grows when an object is really changed; managedFields' times do not count."""
    return raw["metadata"]["generation"], raw["metadata"]["annotations"]


def pods(cluster: LocalCluster, selector: str = "") -> list[dict[str, Any]]:
    query = f"?labelSelector={selector}" if selector else ""
    items: list[dict[str, Any]] = cluster.request(
        "GET", f"/api/v1/namespaces/{NAMESPACE}/pods{query}"
    ).json()["items"]
    return items


def running(cluster: LocalCluster, selector: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods(cluster, selector) if pod["status"]["phase"] == "Running"]


def release(cluster: LocalCluster, pod: dict[str, Any]) -> None:
    """Exactly the patch by which permits are given."""
    index = [gate["name"] for gate in pod["spec"]["schedulingGates"]].index("watchbudget.io/start")
    patch = [
        {"op": "test", "path": f"/spec/schedulingGates/{index}/name", "value": "watchbudget.io/start"},
        {"op": "remove", "path": f"/spec/schedulingGates/{index}"},
        {"op": "replace", "path": "/metadata/labels/watchbudget.io~1start", "value": "permitted"},
    ]
    name = pod["metadata"]["name"]
    cluster.request("PATCH", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}", patch, headers=JSON_PATCH)


def test_pods_of_a_governed_daemonset_are_held_until_they_are_released(cluster: LocalCluster):
    cluster.kubectl(*APPLY, input=text(agent("held")))
    until(lambda: len(pods(cluster, HELD)) == 3)
    held = pods(cluster, HELD)
    assert [pod["spec"]["schedulingGates"] for pod in held] == [[{"name": "watchbudget.io/start"}]] * 3
    until(lambda: all(pod["status"].get("conditions") for pod in pods(cluster, HELD)))
    conditions = [pod["status"]["conditions"][0] for pod in pods(cluster, HELD)]
    assert {(each["type"], each["reason"]) for each in conditions} == {("PodScheduled", "SchedulingGated")}
    assert not any(pod["spec"].get("nodeName") for pod in held)

    release(cluster, held[0])
    until(lambda: running(cluster, "watchbudget.io/start=permitted") == [held[0]["metadata"]["name"]])
    assert len(pods(cluster, HELD)) == 2


def test_break_glass_as_the_docs_have_it(cluster: LocalCluster, tmp_path: Path):
    """Every gate of ours goes, wherever it stands among others, and those stay."""
    gates = [{"name": "example.org/other"}]
    cluster.kubectl(*APPLY, input=text(agent("held")))
    cluster.kubectl(*APPLY, input=text(agent("twice", schedulingGates=gates)))
    until(lambda: len(pods(cluster, HELD)) == 6)
    (script,) = re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "kubectl").symlink_to(cluster.layout.binaries["kubectl"])
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(cluster.kubeconfig)}
    subprocess.run(["sh", "-e", "-c", script], env=env, check=True)
    assert not pods(cluster, HELD)
    until(lambda: len(running(cluster, "app=held")) == 3)
    assert [pod["spec"]["schedulingGates"] for pod in pods(cluster, "app=twice")] == [gates] * 3


def test_others_never_reach_the_webhook_or_pass_it_untouched(
    cluster: LocalCluster, served: Webhooks, world: World
):
    container = {"name": "c", "image": CALICO}
    cluster.kubectl(
        *APPLY,
        input="---\n".join(
            text(each)
            for each in (
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": "alone"},
                    "spec": {"containers": [container]},
                },
                agent("other", containers=[{"name": "c", "image": "example.org/nothing:1"}])
                | {"apiVersion": "apps/v1", "kind": "Deployment"}
                | {"spec": agent("other")["spec"] | {"updateStrategy": None, "replicas": 2}},
                agent("critical", priorityClassName="system-node-critical"),
            )
        ),
    )
    world.known[(NAMESPACE, "quiet")] = DaemonSet(NAMESPACE, "quiet")
    cluster.kubectl(
        *APPLY, input=text(agent("quiet", containers=[{"name": "c", "image": "example.org/nothing:1"}]))
    )
    until(lambda: len(running(cluster, "")) == 9)
    assert all("watchbudget.io/start" not in pod["metadata"]["labels"] for pod in pods(cluster, "app"))
    reached = {
        owner["name"]
        for asked, request in served.asked
        if asked == "/mutate-pods"
        for owner in (request.object or {})["metadata"]["ownerReferences"]
    }
    assert reached == {"critical", "quiet"}


def test_without_a_leader_or_without_an_answer_pods_start_at_once(
    cluster: LocalCluster, served: Webhooks, world: World
):
    world.leader = False
    cluster.kubectl(*APPLY, input=text(agent("leaderless")))
    until(lambda: len(running(cluster, "app=leaderless")) == 3)
    world.leader = True
    served.stop()
    try:
        cluster.kubectl(*APPLY, input=text(agent("unanswered")))
        until(lambda: len(running(cluster, "app=unanswered")) == 3)
    finally:
        served.start()
    assert not pods(cluster, HELD)


def test_a_daemonset_that_nobody_has_seen_is_held_by_what_its_pods_show(cluster: LocalCluster, world: World):
    """With all that the API server and its admission plugins add to a pod."""
    cluster.kubectl(*APPLY, input=text(agent("unseen")))
    until(lambda: len(pods(cluster, HELD)) == 3)
    assert not world.known


def test_kubectl_apply_again_and_again(cluster: LocalCluster):
    first = cluster.kubectl(*APPLY, input=text(agent("applied")))
    assert (
        "Warning: WatchBudget one: maxUnavailable lowered from 100% to 1: maxConcurrentStarts is 1, and pods "
        "that wait would leave their nodes without the agent" in warned(first)
    )
    once = stored(cluster, "applied")
    assert width(once) == (1, "100%")
    for _ in range(2):
        cluster.kubectl(*APPLY, input=text(agent("applied")))
        assert unmoved(stored(cluster, "applied")) == unmoved(once)
    cluster.kubectl("-n", NAMESPACE, "diff", "-f", "-", input=text(agent("applied")))  # it would fail on any
    cluster.kubectl(*APPLY, input=text(agent("applied", 2)))
    assert width(stored(cluster, "applied")) == (1, "2")
    cluster.kubectl(*APPLY, input=text(agent("applied", 1)))
    assert width(stored(cluster, "applied")) == (1, "2")  # the cap's own number: nobody can tell whose it is
    cluster.kubectl("-n", NAMESPACE, "annotate", "daemonset/applied", f"{KEPT}-")
    assert width(stored(cluster, "applied")) == (1, None)


def test_server_side_apply_again_and_again(cluster: LocalCluster):
    manifest = text(agent("served"))
    cluster.kubectl(*BY_ANOTHER, input=manifest)
    once = stored(cluster, "served")
    assert width(once) == (1, "100%")
    # What GitOps tools compare: what they would get, and what there is.
    dry = json.loads(cluster.kubectl(*BY_ANOTHER, "--dry-run=server", "-o", "json", input=manifest).stdout)
    assert (dry["spec"], dry["metadata"]["annotations"]) == (once["spec"], once["metadata"]["annotations"])
    for _ in range(2):
        cluster.kubectl(*BY_ANOTHER, input=manifest)
        assert unmoved(stored(cluster, "served")) == unmoved(once)
    managers = {
        entry["manager"]
        for entry in stored(cluster, "served")["metadata"]["managedFields"]
        if "f:updateStrategy" in entry["fieldsV1"].get("f:spec", {})
    }
    assert managers == {"gitops"}  # the number stays the applier's: nobody conflicts with us


def test_whoever_takes_over_from_another_applier_has_to_force_it_once(cluster: LocalCluster):
    """The number that is stored is not the one that both send, so they cannot share it."""
    manifest = text(agent("taken-over"))
    cluster.kubectl(*APPLY, input=manifest)
    refused = cluster.kubectl(*BY_ANOTHER, input=manifest, check=False)
    assert "conflict" in refused.stderr
    assert ".spec.updateStrategy.rollingUpdate.maxUnavailable" in refused.stderr
    cluster.kubectl(*BY_ANOTHER, "--force-conflicts", input=manifest)
    cluster.kubectl(*BY_ANOTHER, input=manifest)
    assert width(stored(cluster, "taken-over")) == (1, "100%")


def test_an_edit_of_something_else_and_a_rollback_keep_the_owners_number(cluster: LocalCluster):
    cluster.kubectl(*APPLY, input=text(agent("edited")))
    image = [
        {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/image",
            "value": "quay.io/calico/node:v3.29.0",
        }
    ]
    for change in (
        ("patch", "daemonset/edited", "--type=json", "-p", json.dumps(image)),
        ("rollout", "restart", "daemonset/edited"),
        ("rollout", "undo", "daemonset/edited"),
        ("label", "daemonset/edited", "team=a"),
        ("annotate", "daemonset/edited", "note=b"),
    ):
        if change[1] == "undo":
            until(lambda: len(history(cluster, "edited")) > 1)
        cluster.kubectl("-n", NAMESPACE, *change)
        assert width(stored(cluster, "edited")) == (1, "100%")
    mine = {"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}}}
    cluster.kubectl("-n", NAMESPACE, "patch", "daemonset/edited", "-p", json.dumps(mine))
    assert width(stored(cluster, "edited")) == (1, "3")


def history(cluster: LocalCluster, name: str) -> list[Any]:
    revisions = cluster.request(
        "GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions?labelSelector=app={name}"
    ).json()
    items: list[Any] = revisions["items"]
    return items


def test_kubectl_replace_brings_the_owners_number_and_it_is_lowered_again(cluster: LocalCluster):
    cluster.kubectl(*APPLY, input=text(agent("replaced")))
    cluster.kubectl("-n", NAMESPACE, "replace", "-f", "-", input=text(agent("replaced", "50%")))
    assert width(stored(cluster, "replaced")) == (1, "50%")


def test_when_the_budget_goes_the_next_change_brings_the_owners_number_back(
    cluster: LocalCluster, world: World
):
    cluster.kubectl(*APPLY, input=text(agent("freed")))
    assert width(stored(cluster, "freed")) == (1, "100%")
    world.judged_by(FREE)
    cluster.kubectl("-n", NAMESPACE, "rollout", "restart", "daemonset/freed")
    assert width(stored(cluster, "freed")) == ("100%", None)


def test_on_delete_and_back(cluster: LocalCluster):
    cluster.kubectl(*APPLY, input=text(agent("parked")))
    for kind in ("OnDelete", "RollingUpdate"):
        patch = {"spec": {"updateStrategy": {"type": kind}}}
        cluster.kubectl("-n", NAMESPACE, "patch", "daemonset/parked", "-p", json.dumps(patch))
        raw = stored(cluster, "parked")
        assert raw["spec"]["updateStrategy"]["type"] == kind
        assert raw["metadata"]["annotations"][KEPT] == "100%"
    assert width(stored(cluster, "parked")) == (1, "100%")
