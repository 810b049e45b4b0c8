"""DaemonSets, budgets and contexts by hand, for the tests of rules and judgement."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from msgspec.structs import replace

from watchbudget.api.budget import WatchBudget, parse_budget
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.cost.calibration import load_calibration
from watchbudget.demand.catalogue import Catalogue
from watchbudget.demand.model import AgentMatch, Demand, Evidence, Grant, Narrowing, Watches
from watchbudget.inventory import manifests
from watchbudget.inventory.fleet import Census, Container, DaemonSet, Fleet, LimitRange, ResourceCensus
from watchbudget.policy.context import Context
from watchbudget.policy.judge import judge
from watchbudget.policy.memory import memory_of
from watchbudget.policy.model import Audit, Judgement
from watchbudget.policy.watched import bill_under

MIB = 2**20
TODAY = date(2026, 11, 24)
CALIBRATION = load_calibration()
NOTHING_KNOWN = Catalogue((), ())

# One watch of all namespaces by a Go agent with streaming lists: 20 MB + 10 MB of cache, 60 MB at a re-list.
OBJECTS, STORED = 10_000, 6_666_666
CACHE, PEAK = 29_999_999, 59_999_998
BASE = CALIBRATION.row("client-go-0.36-streaming").base_bytes

CENSUS = Census(
    (
        ResourceCensus(NAMESPACES, OBJECTS, STORED, "metrics"),
        ResourceCensus(NETWORK_POLICIES, OBJECTS, STORED, "metrics"),
    ),
    (1, 36),
)

GRANT = Grant(NAMESPACES, ("list", "watch"), "cluster", ("ClusterRoleBinding/agent", "ClusterRole/agent"))
OPTION = Narrowing("watch_namespaces: false", "2.0.0", ("labels",))


def demand(resource: GroupResource = NAMESPACES, watches: Watches = Watches.YES, **fields: object) -> Demand:
    """A watch by the agent in container `agent`; fields of Demand to taste."""
    given: dict[str, object] = {
        "evidence": Evidence.CATALOGUE,
        "reason": "it does",
        "stack": "client-go-streaming",
        "agent": AgentMatch("agent", "Agent", "agent", "2.1.0"),
    }
    return Demand(resource=resource, watches=watches, **(given | fields))  # type: ignore[arg-type]


def budget(name: str = "test", **spec: object) -> WatchBudget:
    """A budget as YAML would give it: `enforcement={"action": "Deny"}`."""
    spec.setdefault("enforcement", {"action": "Deny"})
    return parse_budget(
        {
            "apiVersion": "watchbudget.io/v1alpha1",
            "kind": "WatchBudget",
            "metadata": {"name": name},
            "spec": spec,
        }
    )


def daemon_set(**fields: object) -> DaemonSet:
    """A DaemonSet of one container `agent` without limits."""
    given: dict[str, object] = {
        "namespace": "logging",
        "name": "agent",
        "service_account": "agent",
        "containers": (Container("agent", "example.org/agent:2.1.0"),),
    }
    return DaemonSet(**(given | fields))  # type: ignore[arg-type]


def context(
    *demands: Demand,
    item: DaemonSet | None = None,
    of: WatchBudget | None = None,
    nodes: int = 100,
    census: Census = CENSUS,
    grants: tuple[Grant, ...] = (GRANT,),
    limit_ranges: tuple[LimitRange, ...] = (),
    node_bytes: int = 0,
    total_bytes: int = 0,
    shared_with: tuple[str, ...] = (),
) -> Context:
    """What a rule sees of a DaemonSet with these demands; one full watch where none is given."""
    item, of = item or daemon_set(), of or budget()
    minimum = Evidence.parse(of.spec.enforcement.minimum_evidence)
    watched, bill = bill_under(demands or (demand(),), grants, minimum, census, nodes, CALIBRATION)
    container = next((each.agent.container for each in watched if each.agent), None)
    return Context(
        daemon_set=item,
        budget=of,
        grants=grants,
        watched=watched,
        memory=memory_of(item, limit_ranges, container),
        bill=bill,
        node_bytes=node_bytes,
        total_bytes=total_bytes,
        shared_with=shared_with,
    )


def declared(name: str = "agent", watches: str = '{"namespaces": "all"}', **fields: object) -> DaemonSet:
    """A DaemonSet whose owner says what it watches."""
    return daemon_set(name=name, annotations={"watchbudget.io/watches": watches}, **fields)


def fleet(
    *items: DaemonSet,
    nodes: int = 100,
    census: Census = CENSUS,
    **fields: Any,  # noqa: ANN401 - fields of Fleet
) -> Fleet:
    """A fleet of these DaemonSets."""
    return Fleet(daemon_sets=items, nodes=nodes, census=census, nodes_source="flag", **fields)


def audit(of: Fleet, *budgets: WatchBudget, today: date = TODAY) -> Audit:
    """The audit, with no agent known."""
    return judge(of, budgets, today=today, catalogue=NOTHING_KNOWN, calibration=CALIBRATION)


def only(of: Fleet, *budgets: WatchBudget, today: date = TODAY) -> Judgement:
    """The judgement of a fleet of one."""
    (judgement,) = audit(of, *budgets, today=today).judgements
    return judgement


def rules_of(judgement: Judgement) -> list[str]:
    """The rules that found something, sorted."""
    return sorted(finding.rule for finding in judgement.findings)


def from_manifest(raw: Mapping[str, Any], folder: Path) -> Fleet:
    """The fleet of one object, as read from a file."""
    path = folder / "object.yaml"
    path.write_text(yaml.safe_dump(dict(raw)))
    read = manifests.load([path])
    assert not [problem for problem in read.problems if problem.severity == "error"], read.problems
    return replace(read, nodes=100, census=CENSUS)


def patched(raw: Mapping[str, Any], patch: Iterable[Mapping[str, object]]) -> dict[str, Any]:
    """The object after a JSON patch of `add` and `replace`, as strict as RFC 6902: parents must exist."""
    result: dict[str, Any] = copy.deepcopy(dict(raw))
    for operation in patch:
        assert operation["op"] in {"add", "replace"}
        *parents, last = str(operation["path"]).split("/")[1:]
        target: Any = result
        for step in parents:
            target = target[int(step)] if isinstance(target, list) else target[step]
        assert operation["op"] == "add" or last in target
        target[last] = operation["value"]
    return result
