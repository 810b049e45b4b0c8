"""One replica of staged starts, by a plan that is given. Arguments: kubeconfig, namespace, name, plan (JSON).

One whose name begins with `standby` never leads. Prints what it tells, one JSON array a line: of which
object, type, reason, note.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from watchbudget.controller.client import Client
from watchbudget.controller.events import ObjectRef
from watchbudget.controller.lease import Durations, Elector
from watchbudget.controller.plan import Plan
from watchbudget.controller.rollouts import Rollouts
from watchbudget.controller.start_news import StartNews
from watchbudget.inventory.connection import open_client
from watchbudget.rollout.model import Ceiling, Terms

DURATIONS = Durations(lease=3, renew=2, retry=0.4)
LEASE = "pacing"


def plan_from(text: str) -> Plan:
    raw = json.loads(text)
    terms = {
        tuple(name.split("/")): Terms(**{**its, "budgets": tuple(its["budgets"])})
        for name, its in raw["terms"].items()
    }
    ceilings = {name: Ceiling(**its) for name, its in raw["ceilings"].items()}
    return Plan(terms=terms, ceilings=ceilings)


def tell(regarding: ObjectRef, kind: str, reason: str, note: str, action: str) -> None:
    print(json.dumps([regarding.name, kind, reason, note]), flush=True)


async def main(kubeconfig: str, namespace: str, name: str, plan: str) -> None:
    async with open_client(kubeconfig) as (client, _), open_client(kubeconfig) as (fresh, _):
        transport = Client(client)
        rollouts: Rollouts
        elector = Elector(
            transport,
            namespace,
            LEASE,
            name,
            durations=DURATIONS,
            still_alive=lambda: not name.startswith("standby") and rollouts.progressing(),
        )
        lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}"
        rollouts = Rollouts(
            transport, Client(fresh, fresh_connections=True), lease, elector, news=StartNews(tell)
        )
        rollouts.carry(plan_from(plan))
        await asyncio.gather(elector.run(), rollouts.run())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(main(*sys.argv[1:]))
