"""The audit as data: the AuditReport that scripts, dashboards and later versions of us may rely on.

The same audit gives the same bytes: no clock, no unordered collection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from watchbudget import __version__
from watchbudget.cost.model import Bill
from watchbudget.demand.model import Demand, Grant
from watchbudget.inventory.fleet import Problem
from watchbudget.policy.model import Audit, Finding, Judgement
from watchbudget.report.schema import API_VERSION, AuditReport

__all__ = ["all_problems", "audit_report", "to_json", "to_yaml"]


def audit_report(audit: Audit) -> dict[str, Any]:
    """The AuditReport, as plain dicts, lists, text and numbers. Sizes in bytes."""
    totals = audit.totals
    version = audit.fleet.census.server_version
    raw = {
        "apiVersion": API_VERSION,
        "kind": "AuditReport",
        "generator": f"watchbudget {__version__}",
        "serverVersion": ".".join(map(str, version)) if version else None,
        "nodes": audit.fleet.nodes,
        "nodesSource": audit.fleet.nodes_source,
        "budgets": list(audit.budgets),
        "census": [
            {
                "group": entry.resource.group,
                "resource": entry.resource.resource,
                "objects": entry.objects,
                "bytes": entry.stored_bytes,
                "source": entry.source,
                "bytesAssumed": entry.bytes_assumed,
                "readAt": entry.read_at,
            }
            for entry in audit.fleet.census.resources
        ],
        "daemonSets": [_daemon_set(judgement) for judgement in audit.judgements],
        "totals": {
            "daemonSets": totals.daemon_sets,
            "cachePerNodeBytes": totals.cache_per_node,
            "cacheTotalBytes": totals.cache_total,
            "cacheTotalUpToBytes": totals.cache_total_up_to,
            "listBytesIfAllRestart": totals.list_bytes_if_all_restart,
            "freedByRemediesBytes": totals.freed_by_remedies,
            "findings": dict(sorted(totals.findings.items())),
        },
        "problems": [
            {
                "severity": problem.severity,
                "source": str(problem.source),
                "object": problem.object,
                "field": problem.field,
                "message": problem.message,
            }
            for problem in all_problems(audit)
        ],
    }
    return AuditReport.model_validate(raw).model_dump(by_alias=True)


def to_json(audit: Audit) -> str:
    """The report as JSON, without a newline at the end.

    ASCII only, so that no name in it can move a terminal's cursor.
    """
    return json.dumps(audit_report(audit), indent=2)


def to_yaml(audit: Audit) -> str:
    """The report as YAML, ASCII only for the same reason."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(audit_report(audit), Dumper=dumper, sort_keys=False, width=110)
    return text


def all_problems(audit: Audit) -> tuple[Problem, ...]:
    """Problems of the reading and of the judging, each once, errors first."""
    unique = dict.fromkeys((*audit.fleet.problems, *audit.problems))
    return tuple(sorted(unique, key=lambda problem: problem.severity))


def _daemon_set(judgement: Judgement) -> dict[str, Any]:
    daemon_set, memory = judgement.daemon_set, judgement.memory
    return {
        "namespace": daemon_set.namespace,
        "name": daemon_set.name,
        "serviceAccount": daemon_set.service_account,
        "identity": judgement.identity,
        "nodes": judgement.bill.nodes,
        "source": str(daemon_set.source),
        "grants": [_grant(grant) for grant in judgement.grants],
        "demands": [_demand(demand) for demand in judgement.demands],
        "memory": {
            "limitComplete": memory.limit_complete,
            "limitBytes": memory.limit_bytes,
            "watchingLimitBytes": memory.watching_limit_bytes,
            "missing": list(memory.missing),
        },
        "updateStrategy": {
            "type": daemon_set.update_strategy.type,
            "maxUnavailable": daemon_set.update_strategy.max_unavailable,
            "maxSurge": daemon_set.update_strategy.max_surge,
        },
        "bill": _bill(judgement.bill),
        "findings": [_finding(finding) for finding in judgement.findings],
        "verdict": str(judgement.verdict),
    }


def _grant(grant: Grant) -> dict[str, Any]:
    return {
        "group": grant.resource.group,
        "resource": grant.resource.resource,
        "verbs": list(grant.verbs),
        "scope": grant.scope,
        "path": list(grant.path),
        "namespaces": list(grant.namespaces),
        "names": list(grant.names),
        "confirmed": grant.confirmed,
    }


def _demand(demand: Demand) -> dict[str, Any]:
    agent, narrowing = demand.agent, demand.narrowing
    return {
        "group": demand.resource.group,
        "resource": demand.resource.resource,
        "watches": str(demand.watches),
        "evidence": str(demand.evidence),
        "watchersPerPod": demand.watchers_per_pod,
        "selector": demand.selector,
        "reason": demand.reason,
        "stack": demand.stack,
        "agent": agent
        and {"id": agent.agent, "title": agent.title, "container": agent.container, "version": agent.version},
        "narrowing": narrowing
        and {
            "option": narrowing.option,
            "since": narrowing.since,
            "lostFields": list(narrowing.lost_fields),
            "source": narrowing.source,
        },
        "sources": list(demand.sources),
    }


def _bill(bill: Bill) -> dict[str, Any]:
    dearest = max(bill.lines, key=lambda line: (line.certain, line.cache_bytes), default=None)
    return {
        "cachePerPodBytes": bill.cache_per_pod,
        "peakPerPodBytes": bill.peak_per_pod,
        "baseBytes": bill.base_bytes,
        "listBytesPerStart": bill.list_bytes_per_start,
        "seatsPerStart": bill.seats_per_start,
        "cacheTotalBytes": bill.cache_total,
        "listBytesIfAllRestart": bill.list_bytes_if_all_restart,
        "calibration": dearest.calibration if dearest else None,
        "upTo": {
            "cachePerPodBytes": bill.cache_per_pod_up_to,
            "peakPerPodBytes": bill.peak_per_pod_up_to,
            "listBytesPerStart": bill.list_bytes_per_start_up_to,
            "cacheTotalBytes": bill.cache_total_up_to,
        },
        "unpriced": [str(resource) for resource in bill.unpriced],
        "lines": [
            {
                "group": line.resource.group,
                "resource": line.resource.resource,
                "certain": line.certain,
                "watchers": line.watchers,
                "objects": line.objects,
                "storedBytes": line.stored_bytes,
                "cacheBytes": line.cache_bytes,
                "peakBytes": line.peak_bytes,
                "listBytes": line.list_bytes,
                "seats": line.seats,
                "calibration": line.calibration,
                "assumed": line.assumed,
                "assumedBecause": line.assumed_because,
                "container": line.container,
                "baseBytes": line.base_bytes,
            }
            for line in bill.lines
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    remedy = finding.remedy
    patch: list[Mapping[str, object]] = [dict(operation) for operation in remedy.patch]
    return {
        "rule": finding.rule,
        "budget": finding.budget,
        "action": str(finding.action),
        "message": finding.message,
        "remedy": {"text": remedy.text, "target": remedy.target, "patch": patch},
        "exempted": finding.exempted,
        "freedBytes": finding.freed_bytes,
    }
