"""The report as one HTML page: nothing fetched, no script, light and dark, readable without colours.

Everything that comes from manifests is escaped twice over: control characters by `words`, markup by
the template engine; the page's own Content-Security-Policy forbids scripts and requests besides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import jinja2
from msgspec import Struct

from watchbudget import __version__
from watchbudget.api.quantity import format_bytes
from watchbudget.api.resources import GroupResource
from watchbudget.cost.calibration import Calibration, load_calibration
from watchbudget.demand.model import Watches
from watchbudget.inventory.fleet import Fleet
from watchbudget.policy.model import Action, Audit, Judgement, Verdict
from watchbudget.report.chain import chain
from watchbudget.report.charts import bar_chart
from watchbudget.report.contract import all_problems
from watchbudget.report.figures import ABOUT_MEANS, about, limit_bytes, merged, needed_bytes, split
from watchbudget.report.growth_chart import growth_chart
from watchbudget.report.limits import is_broken
from watchbudget.report.sentences import EMPTY, census_source, clean_sentence, node_phrase, total_sentences
from watchbudget.report.steps import Step
from watchbudget.report.what_if import Point, grow
from watchbudget.report.words import TIMES, join_words, name, prose, resource_labels, sentence, title

__all__ = ["render_html"]

EXPLAINED = 200
"""DaemonSets with the whole chain, about 5 kB each: the page must open at once and pass through a mail."""

LISTED_CLEAN = 2000
"""Names listed of the DaemonSets that cost nothing."""


class _Watch(Struct, frozen=True):
    label: str
    doubt: bool
    times: int
    evidence: str


class _Finding(Struct, frozen=True):
    style: str
    action: str
    rule: str
    budgets: str
    message: str
    remedy: str
    freed: str
    exempted: str | None


class _Row(Struct, frozen=True):
    title: str
    verdict: str
    watches: tuple[_Watch, ...]
    per_pod: str
    per_pod_up_to: str
    needed: str
    limit: str
    used_percent: int | None
    broken: bool
    nodes: str
    total: str
    total_up_to: str
    findings: tuple[_Finding, ...]
    steps: tuple[Step, ...]


def render_html(
    audit: Audit, judged: Callable[[Fleet], Audit] | None = None, calibration: Calibration | None = None
) -> str:
    """The page. With `judged`, the judge that made the audit, it also shows how the cost grows.

    `calibration` is the one the bills were made with; by default the package's own.
    """
    rows = calibration or load_calibration()
    labels = resource_labels(audit)
    shown, clean = split(audit)
    points = grow(audit, judged) if judged and audit.totals.cache_total_up_to else ()
    text: str = _template().render(
        audit=audit,
        version=__version__,
        empty=EMPTY,
        server=".".join(map(str, audit.fleet.census.server_version or ())),
        budgets=join_words(name(budget) for budget in audit.budgets),
        summary=total_sentences(audit) if audit.judgements else EMPTY,
        verdicts=[
            (str(verdict), sum(judgement.verdict is verdict for judgement in audit.judgements))
            for verdict in (Verdict.DENY, Verdict.WARN, Verdict.ALLOW)
        ],
        bars=bar_chart(audit, labels),
        growth=growth_chart(points, labels),
        points=points,
        point_rows=[_point(point) for point in points],
        resources=[labels[entry.resource] for entry in audit.fleet.census.resources],
        rows=[
            _row(item, audit, labels, rows if index < EXPLAINED else None) for index, item in enumerate(shown)
        ],
        about_means=ABOUT_MEANS if any(about(item.bill) for item in shown) else "",
        unexplained=max(0, len(shown) - EXPLAINED),
        clean_sentence=clean_sentence(audit),
        clean=[title(judgement) for judgement in clean[:LISTED_CLEAN]],
        clean_left_out=max(0, len(clean) - LISTED_CLEAN),
        census=[
            (
                labels[entry.resource],
                f"{entry.objects:,}",
                entry.stored_bytes,
                census_source(entry),
                entry.read_at,
            )
            for entry in audit.fleet.census.resources
        ],
        nodes=node_phrase(audit),
        calibration=rows,
        used_rows=sorted({line.calibration for item in audit.judgements for line in item.bill.lines}),
        problems=all_problems(audit),
    )
    return text


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("watchbudget.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": format_bytes, "safe_name": name, "prose": prose}
    environment.globals["times"] = TIMES
    return environment.get_template("report.html.j2")


def _row(
    judgement: Judgement, audit: Audit, labels: Mapping[GroupResource, str], explained: Calibration | None
) -> _Row:
    bill, limit, needed = judgement.bill, limit_bytes(judgement), needed_bytes(judgement)
    return _Row(
        title=title(judgement),
        verdict=str(judgement.verdict),
        watches=tuple(
            _Watch(
                ("some " if demand.selector is not None else "") + labels[demand.resource],
                demand.watches is not Watches.YES,
                demand.watchers_per_pod,
                str(demand.evidence),
            )
            for demand in judgement.demands
            if demand.watches is not Watches.NO
        ),
        per_pod=about(bill) + format_bytes(bill.cache_per_pod) if bill.cache_per_pod else "",
        per_pod_up_to=format_bytes(bill.cache_per_pod_up_to)
        if bill.cache_per_pod_up_to > bill.cache_per_pod
        else "",
        needed=format_bytes(needed) if needed else "",
        limit="no limit" if limit is None else format_bytes(limit),
        used_percent=min(100, needed * 100 // limit) if limit and needed else None,
        broken=is_broken(judgement),
        nodes=f"{bill.nodes:,}",
        total=about(bill) + format_bytes(bill.cache_total) if bill.cache_total else "",
        total_up_to=format_bytes(bill.cache_total_up_to) if bill.cache_total_up_to > bill.cache_total else "",
        findings=_findings(judgement),
        steps=chain(judgement, audit, explained) if explained else (),
    )


def _findings(judgement: Judgement) -> tuple[_Finding, ...]:
    return tuple(
        _Finding(
            style=_style(item.finding.action, exempted=item.finding.exempted is not None),
            action="Exempt" if item.finding.exempted is not None else str(item.finding.action),
            rule=name(item.finding.rule),
            budgets=join_words(name(budget) for budget in item.budgets),
            message=sentence(item.finding.message),
            remedy=sentence(item.finding.remedy.text),
            freed=format_bytes(item.finding.freed_bytes) if item.finding.freed_bytes else "",
            exempted=None if item.finding.exempted is None else sentence(item.finding.exempted),
        )
        for item in merged(judgement.findings)
    )


def _style(action: Action, *, exempted: bool) -> str:
    if exempted:
        return "note"
    return {Action.DENY: "deny", Action.WARN: "warn"}.get(action, "note")


def _point(point: Point) -> tuple[str, ...]:
    totals, census = point.audit.totals, point.audit.fleet.census
    return (
        f"{point.factor:g}{TIMES}",
        *(f"{entry.objects:,}" for entry in census.resources),
        format_bytes(totals.cache_per_node),
        format_bytes(totals.cache_total),
        format_bytes(totals.list_bytes_if_all_restart),
        str(sum(is_broken(judgement) for judgement in point.audit.judgements)),
    )
