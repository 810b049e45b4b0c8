"""What does asking us cost whoever creates a DaemonSet?

The same DaemonSet, a Calico without Typha, is created again and again (dry run, under a new name each time)
on a real API server, in namespaces that differ in who is asked: nobody; `watchbudget run` with a fleet of 200
DaemonSets, by its validating webhook alone, as for most DaemonSets, and by both, where maxUnavailable may
have to be lowered; a stock kopf operator that does the least, likewise; a ValidatingAdmissionPolicy with two
`authorizer` checks.

The client is a ServiceAccount. One client sends to all in turn, in random order; then 16 clients send to one
after the other, in rounds. What is added is the difference to nobody being asked, of the same run.

    python bench/admission.py [--small] [--quiet-kopf]      table on the screen, JSON in bench/results/
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from admission_setup import (
    BUDGET,
    POLICY,
    PROVE,
    SAYS,
    VARIANTS,
    WARNED,
    candidate,
    fleet,
    only_in,
    path_of,
    stock_kopf,
)
from raw_client import RawClient
from results import show, write
from watchbudget.localcluster.cluster import LocalCluster
from watchbudget.localcluster.operator_process import OperatorProcess

CLIENTS = 16
QUIET = ("clusterrole-aggregation-controller", "namespace-controller")
"""Controllers that run: none that would make pods, or do anything about a dry run."""


def alone(client: RawClient, rounds: int) -> dict[str, list[float]]:
    """One client; each round asks all variants once, in random order."""
    bodies = {variant: candidate(variant) for variant in VARIANTS}
    taken: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds + 50):
        for variant in random.sample([*VARIANTS], len(VARIANTS)):
            seconds = ask(client, variant, bodies[variant]())
            if number >= 50:  # warm by then
                taken[variant].append(seconds)
    return taken


def ask(client: RawClient, variant: str, body: bytes) -> float:
    answer = client.post(path_of(variant), body)
    if answer.status != 201:
        raise SystemExit(f"{variant}: {answer.head}")
    if bool(answer.warnings) != (variant in WARNED):
        raise SystemExit(f"{variant}: {answer.warnings}: the comparison means nothing")
    return answer.seconds


def together(clients: list[RawClient], rounds: int, each: int) -> dict[str, dict[str, Any]]:
    """All clients at once; each round gives every variant a turn, in random order."""
    bodies = {variant: candidate(variant) for variant in VARIANTS}
    taken: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    elapsed = dict.fromkeys(VARIANTS, 0.0)

    def work(client: RawClient, variant: str) -> list[float]:
        return [ask(client, variant, bodies[variant]()) for _ in range(each)]

    with ThreadPoolExecutor(len(clients)) as pool:
        for number in range(rounds + 1):
            for variant in random.sample([*VARIANTS], len(VARIANTS)):
                started = time.perf_counter()
                found = [one for part in pool.map(work, clients, itertools.repeat(variant)) for one in part]
                if number:  # the first round warms
                    elapsed[variant] += time.perf_counter() - started
                    taken[variant] += found
    return {
        variant: {"taken": found, "perSecond": len(found) / elapsed[variant]}
        for variant, found in taken.items()
    }


def first_seen(client: RawClient, count: int) -> list[float]:
    """DaemonSets whose account nobody has heard of: the answer waits for a look at what is around them."""
    body, taken = candidate("watchbudget"), []
    for number in range(count):
        account = f'"serviceAccountName": "new-{number}"'.encode()
        raw = body().replace(b'"serviceAccountName": "calico-node"', account)
        taken.append(client.post(path_of("watchbudget"), raw).seconds)
    return taken


def configured(client: RawClient, count: int) -> list[float]:
    """DaemonSets warned about because of a ConfigMap: the answer waits for a second look at that."""
    body = candidate("watchbudget", name="vector")
    return [ask(client, "watchbudget", body()) for _ in range(count)]


def wait_until_asked(client: RawClient) -> None:
    """Until every variant's own words come back; a comparison with one that is not asked means nothing."""
    for variant, says in SAYS.items():
        body = candidate(variant, PROVE)
        deadline = time.monotonic() + 60
        while True:
            warnings = client.post(path_of(variant), body()).warnings
            if any(says in text for text in warnings) if says else not warnings:
                break
            if time.monotonic() > deadline:
                raise SystemExit(f"{variant} is not asked: {warnings}")
            time.sleep(0.2)


def quantile(taken: list[float], part: float) -> float:
    """In milliseconds."""
    return statistics.quantiles(taken, n=1000, method="inclusive")[round(part * 1000) - 1] * 1000


def figures_of(taken: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Quantiles of each variant, and what it adds to nobody being asked."""
    rows = {}
    for variant, found in taken.items():
        p50, p99 = quantile(found, 0.5), quantile(found, 0.99)
        bare = taken["nobody"]
        rows[variant] = {
            "p50": p50,
            "p99": p99,
            "addedP50": p50 - quantile(bare, 0.5),
            "addedP99": p99 - quantile(bare, 0.99),
            "max": max(found) * 1000,
            "requests": len(found),
        }
    return rows


@contextlib.contextmanager
def connected(cluster: LocalCluster, count: int) -> Iterator[list[RawClient]]:
    """So many connections of the ServiceAccount, just opened: the server closes those that lie idle."""
    token = cluster.token("bench-nobody", "client")
    clients = [RawClient(cluster.url, str(cluster.ca_file), token) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def run(*, small: bool, quiet_kopf: bool = False) -> dict[str, Any]:
    """Set up, prove that everyone is asked, measure."""
    with LocalCluster(controllers=QUIET) as cluster:
        cluster.add_nodes(50)
        cluster.wait_until_counted()
        cluster.kubectl("apply", "--server-side", "-f", "-", input=fleet(20 if small else 200))
        with OperatorProcess(cluster) as operator, stock_kopf(cluster, quiet=quiet_kopf):
            for kind in ("mutating", "validating"):
                only_in(cluster, f"{kind}webhookconfiguration", ("watchbudget", "clean", "capped"))
            cluster.apply(BUDGET)
            cluster.apply(POLICY)
            with connected(cluster, 1) as (client,):
                wait_until_asked(client)
                one = figures_of(alone(client, 150 if small else 2000))
                waited = {
                    "firstSeen": first_seen(client, 5 if small else 30),
                    "configured": configured(client, 5 if small else 30),
                }
            with connected(cluster, CLIENTS) as clients:
                sixteen = together(clients, 2 if small else 8, 10 if small else 40)
            errors = operator.metric("watchbudget_admission_errors_total")
    many = figures_of({variant: each["taken"] for variant, each in sixteen.items()})
    for variant, row in many.items():
        row["perSecond"] = sixteen[variant]["perSecond"]
    return {
        "quietKopf": quiet_kopf,
        "oneClient": one,
        f"clients{CLIENTS}": many,
        **{
            name: {"p50": statistics.median(taken) * 1000, "max": max(taken) * 1000}
            for name, taken in waited.items()
        },
        "errors": errors,
    }


def main() -> None:
    """Measure, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="a tenth of everything, to see that it runs")
    parser.add_argument(
        "--quiet-kopf", action="store_true", help="have kopf log nothing: the most that can be asked of us"
    )
    given = parser.parse_args()
    figures = run(small=given.small, quiet_kopf=given.quiet_kopf)
    for title, rows in (
        ("One client", figures["oneClient"]),
        (f"{CLIENTS} clients", figures[f"clients{CLIENTS}"]),
    ):
        show(
            f"{title}: creating a DaemonSet, ms",
            ["who is asked", "p50", "p99", "added p50", "added p99", "max", "requests/s"],
            [
                [
                    VARIANTS[variant],
                    *(f"{row[key]:.2f}" for key in ("p50", "p99", "addedP50", "addedP99", "max")),
                    f"{row['perSecond']:.0f}" if "perSecond" in row else "",
                ]
                for variant, row in rows.items()
            ],
        )
    for name, what in (
        ("firstSeen", "an agent whose account was never heard of"),
        ("configured", "an agent warned about because of its ConfigMap"),
    ):
        print(f"{what}: p50 {figures[name]['p50']:.0f} ms, longest {figures[name]['max']:.0f} ms")
    print(f"written to {write('admission', figures)}")


if __name__ == "__main__":
    main()
