"""Fills a cluster with as many namespaces and network policies as a real large one has, of a chosen size.

Sizes are those the API server stores (protobuf in etcd), because the census metrics count these. What an
object weighs there depends on what the server adds (managedFields above all), so the seeder does not guess:
it asks for a dry run, measures the protobuf in the answer, and pads an annotation until the size is right.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from watchbudget.localcluster.errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchbudget.localcluster.client import ApiClient

__all__ = ["SeedPlan", "SeedResult", "padding", "seed"]

WORKERS = 16
"""Connections; more do not help on a machine that the API server shares."""

PADDING = "watchbudget.io/seed-padding"
NAMESPACES = "/api/v1/namespaces"


@dataclass(frozen=True, kw_only=True)
class SeedPlan:
    """What to fill in.

    Attributes:
        namespaces: How many, named ``wb-seed-00001`` and so on.
        network_policies_per_namespace: How many in each of them.
        bytes_per_namespace: Stored size of each Namespace. Real ones with the labels and annotations of a few
            tools have about 1,000.
        bytes_per_network_policy: Stored size of each NetworkPolicy.
    """

    namespaces: int
    network_policies_per_namespace: int = 0
    bytes_per_namespace: int = 1000
    bytes_per_network_policy: int = 1000

    @property
    def objects(self) -> int:
        """How many objects that makes."""
        return self.namespaces * (1 + self.network_policies_per_namespace)


@dataclass(frozen=True)
class SeedResult:
    """What a seeding did.

    Attributes:
        created: New objects.
        existing: Objects that were there already; they keep the size they have.
        seconds: How long it took.
    """

    created: int
    existing: int
    seconds: float


def seed(client: ApiClient, plan: SeedPlan, progress: Callable[[int, int], None]) -> SeedResult:
    """Create what the plan asks for; doing it again, or after an interruption, creates what is missing.

    Args:
        client: Who creates it.
        plan: How much.
        progress: Called after each object with the number done and the total.

    Raises:
        LocalClusterError: An object is larger than asked for even without padding.
        ApiError: The API server refused an object.
    """
    if plan.namespaces < 1:
        return SeedResult(0, 0, 0.0)
    started = time.monotonic()
    counts = {True: 0, False: 0}

    def done(new: bool) -> None:  # noqa: FBT001 - the shape of create_all's callback
        counts[new] += 1
        progress(counts[True] + counts[False], plan.objects)

    numbers = range(1, plan.namespaces + 1)
    pad = padding(
        plan.bytes_per_namespace, lambda length: _stored_size(client, NAMESPACES, namespace(0, length))
    )
    client.create_all(((NAMESPACES, namespace(n, pad)) for n in numbers), workers=WORKERS, on_done=done)
    if plan.network_policies_per_namespace:
        probe = _policies(1)
        size = plan.bytes_per_network_policy
        pad = padding(size, lambda length: _stored_size(client, probe, network_policy(1, 0, length)))
        each = range(1, plan.network_policies_per_namespace + 1)
        policies = ((_policies(n), network_policy(n, m, pad)) for n, m in itertools.product(numbers, each))
        client.create_all(policies, workers=WORKERS, on_done=done)
    return SeedResult(counts[True], counts[False], time.monotonic() - started)


def padding(wanted: int, measure: Callable[[int], int]) -> int:
    """Return the length of padding with which an object has the ``wanted`` size.

    Lengths are themselves stored in one to three bytes, so the size does not grow quite in step with the
    padding; a second and third measurement settle that. Where no padding gives exactly that size, one byte
    less is as near as it gets.

    Raises:
        LocalClusterError: Without padding it is larger already.
    """
    smallest = measure(0)
    if smallest > wanted:
        raise LocalClusterError(
            f"The smallest seed object of this kind has {smallest} bytes; {wanted} were asked for"
        )
    length = wanted - smallest
    for _ in range(4):
        excess = measure(length) - wanted
        if excess == 0:
            break
        length = max(0, length - excess)
    return length


def namespace(number: int, pad: int) -> dict[str, Any]:
    """Return a Namespace such as teams' tooling makes them."""
    team = f"team-{number % 97:02d}"
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": f"wb-seed-{number:05d}",
            "labels": {
                "app.kubernetes.io/managed-by": "watchbudget-seed",
                "team": team,
                "environment": ("dev", "int", "prd")[number % 3],
                "pod-security.kubernetes.io/enforce": "baseline",
            },
            "annotations": {"owner": f"{team}@example.com", PADDING: "x" * pad},
        },
    }


def network_policy(namespace_number: int, number: int, pad: int) -> dict[str, Any]:
    """Return a NetworkPolicy that lets an application's own namespace and the ingress in."""
    application = f"app-{number % 100:02d}"
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"wb-seed-{number:05d}",
            "namespace": f"wb-seed-{namespace_number:05d}",
            "labels": {"app.kubernetes.io/managed-by": "watchbudget-seed"},
            "annotations": {PADDING: "x" * pad},
        },
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": application}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [
                        {"podSelector": {}},
                        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}},
                    ],
                    "ports": [{"protocol": "TCP", "port": 8080}],
                }
            ],
        },
    }


def _policies(number: int) -> str:
    return f"/apis/networking.k8s.io/v1/namespaces/wb-seed-{number:05d}/networkpolicies"


def _stored_size(client: ApiClient, path: str, body: object) -> int:
    accept = {"Accept": "application/vnd.kubernetes.protobuf"}
    return len(client.request("POST", f"{path}?dryRun=All", body, headers=accept).body)
