"""What does asking us cost whoever creates a DaemonSet?

The same DaemonSet, a Vector that watches all namespaces twice, is created again and again (dry run) on a real
API server, in four namespaces that differ in who is asked:

- nobody;
- both webhooks of a `watchbudget run` with a fleet of 200 DaemonSets, which annotate it and warn;
- a stock kopf operator whose validating webhook does nothing;
- a ValidatingAdmissionPolicy with two `authorizer` checks, which warns.

The client is a ServiceAccount. One client sends to all four in turn, in random order; then 16 clients send to
one after the other, in rounds. What is gained is the difference to nobody being asked, of the same run.

    python bench/admission.py [--small]      table on the screen, JSON in bench/results/admission.json
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from typing import Any

from admission_setup import (
    BUDGET,
    POLICY,
    PROVE,
    SAYS,
    VARIANTS,
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
            seconds = ask(client, variant, bodies[variant])
            if number >= 50:  # warm by then
                taken[variant].append(seconds)
    return taken


def ask(client: RawClient, variant: str, body: bytes) -> float:
    answer = client.post(path_of(variant), body)
    if answer.status != 201:
        raise SystemExit(f"{variant}: {answer.head}")
    if bool(answer.warnings) != (variant in ("watchbudget", "policy")):
        raise SystemExit(f"{variant}: {answer.warnings}: the comparison means nothing")
    return answer.seconds


def together(clients: list[RawClient], rounds: int, each: int) -> dict[str, dict[str, Any]]:
    """All clients at once; each round gives every variant a turn, in random order."""
    taken: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    elapsed = dict.fromkeys(VARIANTS, 0.0)
    for number in range(rounds + 1):
        for variant in random.sample([*VARIANTS], len(VARIANTS)):
            body = candidate(variant)
            found: list[float] = []

            def work(
                client: RawClient, variant: str = variant, body: bytes = body, to: list[float] = found
            ) -> None:
                to.extend([ask(client, variant, body) for _ in range(each)])

            threads = [threading.Thread(target=work, args=(client,)) for client in clients]
            started = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if len(found) != each * len(clients):
                raise SystemExit(f"{variant}: {len(found)} of {each * len(clients)} were answered")
            if number:  # the first round warms
                taken[variant] += found
                elapsed[variant] += time.perf_counter() - started
    return {
        variant: {"taken": found, "perSecond": len(found) / elapsed[variant]}
        for variant, found in taken.items()
    }


def first_seen(client: RawClient, count: int) -> list[float]:
    """DaemonSets whose account nobody has heard of: the answer waits for a look at what is around them."""
    bodies = [
        candidate("watchbudget", f"new-{number}").replace(
            b'"serviceAccountName": "vector"', f'"serviceAccountName": "new-{number}"'.encode()
        )
        for number in range(count)
    ]
    return [client.post(path_of("watchbudget"), body).seconds for body in bodies]


def wait_until_asked(client: RawClient) -> None:
    """Until every variant's own words come back; a comparison with one that is not asked means nothing."""
    for variant, says in SAYS.items():
        body = candidate(variant, **{PROVE: "yes"})
        deadline = time.monotonic() + 60
        while True:
            warnings = client.post(path_of(variant), body).warnings
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


def run(*, small: bool) -> dict[str, Any]:
    """Set up, prove that everyone is asked, measure."""
    with LocalCluster(controllers=QUIET) as cluster:
        cluster.add_nodes(50)
        cluster.kubectl("apply", "--server-side", "-f", "-", input=fleet(20 if small else 200))
        with OperatorProcess(cluster) as operator, stock_kopf(cluster):
            only_in(cluster, "mutatingwebhookconfiguration")
            only_in(cluster, "validatingwebhookconfiguration")
            cluster.apply(BUDGET)
            cluster.apply(POLICY)
            token = cluster.token("bench-nobody", "client")
            clients = [RawClient(cluster.url, str(cluster.ca_file), token) for _ in range(CLIENTS)]
            try:
                wait_until_asked(clients[0])
                one = figures_of(alone(clients[0], 200 if small else 3000))
                sixteen = together(clients, 2 if small else 10, 10 if small else 40)
                new = first_seen(clients[0], 5 if small else 30)
            finally:
                for client in clients:
                    client.close()
            errors = operator.metric("watchbudget_admission_errors_total")
    many = figures_of({variant: each["taken"] for variant, each in sixteen.items()})
    for variant, row in many.items():
        row["perSecond"] = sixteen[variant]["perSecond"]
    return {
        "oneClient": one,
        f"clients{CLIENTS}": many,
        "firstSeenMilliseconds": {"p50": statistics.median(new) * 1000, "max": max(new) * 1000},
        "errors": errors,
    }


def main() -> None:
    """Measure, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="a tenth of everything, to see that it runs")
    figures = run(small=parser.parse_args().small)
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
    new = figures["firstSeenMilliseconds"]
    print(f"an agent whose account was never heard of: p50 {new['p50']:.0f} ms, longest {new['max']:.0f} ms")
    print(f"written to {write('admission', figures)}")


if __name__ == "__main__":
    main()
