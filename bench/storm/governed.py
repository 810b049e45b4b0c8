"""WatchBudget at work in the bench's cluster, installed and removed as an administrator does it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storm.objects import NAMESPACE
from storm.scenarios import Scenario
from storm.world import World

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))  # the operator's harness is the tests' own

from operator_process import OperatorProcess  # noqa: E402

__all__ = ["governing"]

_BUDGET = "storm"
_WITHIN = 60.0
_CLUSTER_WIDE = (
    "mutatingwebhookconfigurations,validatingwebhookconfigurations,"
    "validatingadmissionpolicies,validatingadmissionpolicybindings,flowschemas,prioritylevelconfigurations"
)


@contextmanager
def governing(world: World, scenario: Scenario, starts: int | None) -> Iterator[dict[str, int]]:
    """Run the operator with a WatchBudget that governs the agents; yields its process by name.

    Everything is at its default but what counts as a priced resource, what the scenario says, and
    maxConcurrentStarts if `starts` is given. Begins once the operator has judged the budget; afterwards no
    webhook and no priority level of it is left.
    """
    cluster = world.cluster
    with OperatorProcess(cluster) as operator:
        try:
            cluster.apply(_manifest(world, scenario, starts))
            _wait_for_judgement(world)
            _wait_for_gate(world, operator)
            assert operator.process is not None  # noqa: S101 - it is ready
            yield {"watchbudget": operator.process.pid}
        finally:
            for line in operator.output().splitlines():
                if " ERROR " in line or (" WARNING " in line and "no webhook" not in line):
                    print(f"  operator: {line}", file=sys.stderr)
            ours = "--selector=app.kubernetes.io/name=watchbudget"
            cluster.kubectl("delete", _CLUSTER_WIDE, ours, "--ignore-not-found")
            cluster.kubectl("delete", "watchbudget", _BUDGET, "--ignore-not-found")


def _wait_for_gate(world: World, operator: OperatorProcess) -> None:
    """Only a leader holds pods, and only once the API server trusts its webhook's certificate.

    The Lease of the scenario before may have to run out first.
    """
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/watchbudget"
    deadline = time.monotonic() + _WITHIN
    while True:
        webhooks = world.cluster.request("GET", path).json()["webhooks"]
        if operator.metric("watchbudget_leading") and all(
            webhook["clientConfig"].get("caBundle") for webhook in webhooks
        ):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the operator holds no pods:\n{operator.output()}")
        time.sleep(0.2)


def _manifest(world: World, scenario: Scenario, starts: int | None) -> str:
    said = {
        "settle": scenario.settle,
        "maxConcurrentStarts": starts,
        "maxUnavailable": scenario.unavailable,
    }
    rollout = ", ".join(f"{field}: {value}" for field, value in said.items() if value is not None)
    resources = ", ".join(f'{{group: "{group}", resource: {resource}}}' for resource, group in world.priced())
    return f"""\
apiVersion: watchbudget.io/v1alpha1
kind: WatchBudget
metadata: {{name: {_BUDGET}}}
spec:
  namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {NAMESPACE}}}}}
  resources: [{resources}]
  rollout: {{gate: true, {rollout}}}
"""


def _wait_for_judgement(world: World) -> None:
    path = f"/apis/watchbudget.io/v1alpha1/watchbudgets/{_BUDGET}"
    deadline = time.monotonic() + _WITHIN
    while True:
        status = world.cluster.request("GET", path).json().get("status", {})
        conditions = {each["type"]: each for each in status.get("conditions", ())}
        accepted = conditions.get("Accepted", {})
        if accepted.get("status") == "True" and conditions.get("Compliant", {}).get("status") == "True":
            return
        if accepted.get("status") == "False":
            raise RuntimeError(f"the budget is not accepted: {accepted}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the budget is not judged: {status}")
        time.sleep(0.2)
