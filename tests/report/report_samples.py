"""Audits built by hand: what a judgement of a small fleet looks like, with known figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES, GroupResource
from watchbudget.cost.bill import bill_of
from watchbudget.cost.calibration import load_calibration
from watchbudget.demand.model import AgentMatch, Demand, Evidence, Grant, Narrowing, Watches
from watchbudget.inventory.fleet import (
    Census,
    Container,
    DaemonSet,
    Fleet,
    Problem,
    ResourceCensus,
    Source,
)
from watchbudget.policy.model import (
    Action,
    Audit,
    Finding,
    Judgement,
    Memory,
    Remedy,
    Totals,
    Verdict,
)

MIB = 1 << 20
ESCAPES = "\x1b[31mred\x1b[0m\x1b]8;;http://evil\x07"
MARKUP = "[red]x[/red]"
SCRIPT = "<script>alert(1)</script>"
RTL = "\u202egnp.exe\u05d0"
HOSTILE = (ESCAPES, MARKUP, SCRIPT, RTL, "two\nlines\rand\ttabs", "n" * 253, "\ud800half", "")


CENSUS = Census(
    (
        ResourceCensus(NAMESPACES, 10_000, 10_464_184, "metrics", read_at="2026-11-24T10:00:00Z"),
        ResourceCensus(NETWORK_POLICIES, 10_000, 4_300_000, "page", bytes_assumed=True),
    ),
    (1, 36),
)


def demand(resource: GroupResource = NAMESPACES, watches: Watches = Watches.YES, **fields: object) -> Demand:
    given: dict[str, object] = {
        "evidence": Evidence.CATALOGUE,
        "reason": "a known agent does",
        "stack": "client-go",
    }
    return Demand(resource=resource, watches=watches, **(given | fields))  # type: ignore[arg-type]


def judgement(
    name: str,
    namespace: str = "logging",
    *,
    demands: Iterable[Demand] = (),
    findings: Iterable[Finding] = (),
    verdict: Verdict = Verdict.ALLOW,
    limit: int | None = None,
    nodes: int = 100,
    grants: Iterable[Grant] = (),
) -> Judgement:
    daemon_set = DaemonSet(
        namespace,
        name,
        service_account=name,
        containers=(Container("agent", "example.org/agent:1.2.3", memory_limit=limit),),
        nodes=nodes,
    )
    missing = () if limit is not None else ("agent",)
    watched = tuple(demands)
    return Judgement(
        daemon_set,
        "serviceAccount",
        tuple(grants),
        watched,
        Memory(limit is not None, limit, limit, missing),
        bill_of(watched, CENSUS, nodes, load_calibration()),
        tuple(findings),
        verdict,
    )


def finding(rule: str = "unselective-watch", action: Action = Action.WARN, **fields: object) -> Finding:
    given: dict[str, object] = {
        "budget": "default",
        "message": "It watches all 10,000 namespaces, twice per pod.",
        "remedy": Remedy(
            "Set insert_namespace_fields: false; namespace labels are lost.",
            "DaemonSet logging/vector",
            (
                {
                    "op": "add",
                    "path": "/spec/template/spec/containers/0/env/-",
                    "value": {"name": "X", "value": "y"},
                },
            ),
        ),
    }
    return Finding(rule=rule, action=action, **(given | fields))  # type: ignore[arg-type]


def vector() -> Judgement:
    """Two kubernetes_logs sources, no memory limit: the worst of the sample."""
    narrowing = Narrowing(
        "insert_namespace_fields: false", "0.50.0", ("namespace labels",), "https://vector.dev"
    )
    watch = demand(
        watchers_per_pod=2,
        stack="kube-rs",
        agent=AgentMatch("vector", "Vector", "agent", "0.49.0"),
        narrowing=narrowing,
        reason="two kubernetes_logs sources, each with a namespace watch",
        sources=("https://github.com/vectordotdev/vector/pull/23601",),
    )
    return judgement(
        "vector",
        demands=(watch, demand(NETWORK_POLICIES, Watches.NO, watchers_per_pod=0, reason="no code for it")),
        findings=(
            finding(action=Action.DENY, freed_bytes=11_905_000_000),
            finding(
                "memory-limit-missing",
                message="Container agent has no memory limit.",
                remedy=Remedy("Set one."),
            ),
        ),
        verdict=Verdict.DENY,
        grants=(
            Grant(
                NAMESPACES,
                ("list", "watch"),
                "cluster",
                ("ClusterRoleBinding/vector", "ClusterRole/vector"),
                confirmed=True,
            ),
        ),
    )


def calico() -> Judgement:
    """Watches both; its limit is below the peak."""
    return judgement(
        "calico-node",
        "kube-system",
        demands=(demand(), demand(NETWORK_POLICIES)),
        findings=(
            finding(
                "memory-limit-below-peak",
                message="A re-list needs more than its limit.",
                remedy=Remedy("Raise"),
            ),
            finding("duplicate-watch", budget="team", exempted="known, until spring"),
        ),
        verdict=Verdict.WARN,
        limit=64 * MIB,
    )


def unsure() -> Judgement:
    return judgement(
        "mystery",
        "tools",
        demands=(demand(watches=Watches.UNKNOWN, evidence=Evidence.GRANTED, reason="RBAC allows it"),),
        limit=256 * MIB,
    )


def clean(number: int = 0) -> Judgement:
    return judgement(
        f"clean-{number}",
        "apps",
        demands=(demand(watches=Watches.NO, watchers_per_pod=0, reason="RBAC does not"),),
    )


def audit(judgements: Iterable[Judgement] = (), **fleet_fields: object) -> Audit:
    every = tuple(judgements)
    fields: dict[str, object] = {"census": CENSUS, "nodes": 100, "nodes_source": "cluster"}
    fleet = Fleet(tuple(item.daemon_set for item in every), **(fields | fleet_fields))  # type: ignore[arg-type]
    return Audit(fleet, ("default", "team"), every, totals(every))


def totals(judgements: Iterable[Judgement]) -> Totals:
    every = tuple(judgements)
    counts: dict[str, int] = {}
    for item in every:
        for each in item.findings:
            if each.exempted is None:
                counts[each.rule] = counts.get(each.rule, 0) + 1
    return Totals(
        len(every),
        sum(item.bill.cache_per_pod for item in every),
        sum(item.bill.cache_total for item in every),
        sum(item.bill.cache_total_up_to for item in every),
        sum(item.bill.list_bytes_if_all_restart for item in every),
        sum(each.freed_bytes for item in every for each in item.findings),
        counts,
    )


def judged_like(audit: Audit) -> Callable[[Fleet], Audit]:
    """A judge that prices the fleet anew and leaves the findings as they are."""

    def judged(fleet: Fleet) -> Audit:
        every = tuple(
            replace(
                item,
                daemon_set=daemon_set,
                bill=bill_of(item.demands, fleet.census, daemon_set.nodes or fleet.nodes, load_calibration()),
            )
            for item, daemon_set in zip(audit.judgements, fleet.daemon_sets, strict=True)
        )
        return replace(audit, fleet=fleet, judgements=every, totals=totals(every))

    return judged


def sample() -> Audit:
    """Everything at once: denied, warned, unknown, clean, a warning of the reading."""
    problem = Problem(Source("a.yaml", 2), "no such ClusterRole", "ClusterRoleBinding x", severity="warning")
    return audit((vector(), calico(), unsure(), *map(clean, range(74))), problems=(problem,))


def hostile(text: str) -> Audit:
    """The given text in every place where a stranger's text may stand."""
    bad = finding(
        message=text,
        budget=text,
        rule=text,
        remedy=Remedy(text, text, ({"op": "add", "path": "/" + text, "value": text},)),
        exempted=None,
    )
    watch = demand(
        reason=text,
        sources=(text,),
        agent=AgentMatch(text, text, text, text),
        narrowing=Narrowing(text, text, (text,), text),
        selector=text,
        stack=text,
    )
    grant = Grant(NAMESPACES, ("list", "watch"), "named", (text, text), (text,), (text,))
    base = judgement(
        text,
        text,
        demands=(watch,),
        findings=(bad, replace(bad, exempted=text)),
        verdict=Verdict.WARN,
        grants=(grant,),
    )
    odd = GroupResource(text, text)
    other = replace(base, demands=(demand(odd, reason=text),), memory=Memory(False, None, None, (text,)))
    problem = Problem(Source(text), text, text, text)
    whole = audit((base, other), problems=(problem,))
    census = replace(
        whole.fleet.census,
        resources=(*whole.fleet.census.resources, ResourceCensus(odd, 3, 4, "flag", read_at=text)),
    )
    sums = replace(whole.totals, findings={text: 2})
    return replace(whole, budgets=(text,), fleet=replace(whole.fleet, census=census), totals=sums)
