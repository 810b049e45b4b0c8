"""From a DaemonSet to its price, link by link, in words a newcomer follows.

This DaemonSet, this service account, this binding, this role: so it may list. Does it? How do
we know? What does that cost, does it fit, and what should change?
"""

from __future__ import annotations

from collections.abc import Mapping

from watchbudget.api.resources import GroupResource
from watchbudget.cost.calibration import Calibration, load_calibration
from watchbudget.demand.model import Demand, Evidence, Grant, Watches
from watchbudget.policy.model import Audit, Judgement
from watchbudget.report.chain_cost import cost_step, fit_step, start_step
from watchbudget.report.chain_findings import findings_step
from watchbudget.report.steps import Item, Step
from watchbudget.report.words import join_words, name, prose, resource_labels, sentence, title

__all__ = ["chain"]


def chain(judgement: Judgement, audit: Audit, calibration: Calibration | None = None) -> tuple[Step, ...]:
    """The explanation of one judgement of that audit.

    `calibration` is the one the bill was made with; by default the package's own.
    """
    rows = calibration or load_calibration()
    labels = resource_labels(audit)
    steps = [_who(judgement, audit), _may(judgement, audit, labels), _does(judgement, labels)]
    if judgement.bill.lines or judgement.bill.unpriced:
        steps += [cost_step(judgement, audit, rows, labels), start_step(judgement), fit_step(judgement, rows)]
    return (*steps, findings_step(judgement))


def _who(judgement: Judgement, audit: Audit) -> Step:
    daemon_set = judgement.daemon_set
    account = name(f"{daemon_set.namespace}/{daemon_set.service_account}")
    sentence = {
        "serviceAccount": f"Its pods talk to the API server as service account {account}.",
        "kubeconfig": (
            f"Its pods use a kubeconfig or certificate of their own, not service account {account}: "
            "what they may do cannot be read from the account's bindings."
        ),
        "none": (
            f"Its pods mount no token of service account {account}: as far as the manifest says, "
            "they cannot talk to the API server."
        ),
    }[judgement.identity]
    items = [
        Item("text", f"DaemonSet {title(judgement)}, read from {prose(str(daemon_set.source))}. {sentence}")
    ]
    others = audit.fleet.shared_accounts.get((daemon_set.namespace, daemon_set.service_account), ())
    if others:
        shared = join_words(name(other) for other in others)
        items.append(Item("text", f"{shared} uses the same account, so a right may be meant for that."))
    return Step("Who asks?", tuple(items))


def _may(judgement: Judgement, audit: Audit, labels: Mapping[GroupResource, str]) -> Step:
    items: list[Item] = []
    for resource in dict.fromkeys(demand.resource for demand in judgement.demands):
        grants = [grant for grant in judgement.grants if grant.resource == resource]
        items += [Item("text", _grant_sentence(grant, audit, labels[resource])) for grant in grants]
        if not grants:
            where = "" if audit.fleet.complete_rbac else "; a binding that was not read may"
            items.append(Item("text", f"{labels[resource]}: no binding lets it list or watch them{where}."))
    return Step(
        "What may it do?", tuple(items) or (Item("text", "None of the priced resources was looked at."),)
    )


def _grant_sentence(grant: Grant, audit: Audit, label: str) -> str:
    reach = {
        "cluster": "in the whole cluster",
        "namespaces": f"only in {join_words(name(each) for each in grant.namespaces)}",
        "named": f"only those named {join_words(name(each) for each in grant.names)}",
    }[grant.scope]
    path = ", ".join(name(part) for part in grant.path)
    through = f", through {path}" if path else ""
    if grant.confirmed is not None:
        said = (
            " The API server's own authorizer confirms it."
            if grant.confirmed
            else " The API server's own authorizer says no."
        )
    elif audit.fleet.access.state == "forbidden":
        said = " Not confirmed: creating SubjectAccessReviews was forbidden."
    else:
        said = ""
    return f"{label}: it may {join_words(grant.verbs)} them {reach}{through}.{said}"


def _does(judgement: Judgement, labels: Mapping[GroupResource, str]) -> Step:
    items: list[Item] = []
    for demand in judgement.demands:
        items.append(
            Item("text", f"{labels[demand.resource]}: {_behaviour(demand)} {sentence(demand.reason)}")
        )
        items += [Item("source", f"see {prose(source)}") for source in demand.sources]
    return Step("Does it?", tuple(items) or (Item("text", "Nothing is known to be watched."),))


def _behaviour(demand: Demand) -> str:
    which = "all of them" if demand.selector is None else f"those that match {prose(demand.selector)}"
    copies = "" if demand.watchers_per_pod == 1 else f", {demand.watchers_per_pod} copies in every pod"
    does = {
        Watches.YES: f"yes, {which}{copies}",
        Watches.NO: "no",
        Watches.DEPENDS: f"depends; if so, {which}{copies}",
        Watches.UNKNOWN: f"unknown; if so, {which}{copies}",
    }[demand.watches]
    return f"{does}. {_evidence(demand)}"


def _evidence(demand: Demand) -> str:
    agent = demand.agent
    known = "a known agent"
    if agent:
        version = f" {prose(agent.version)}" if agent.version else ""
        known = f"recognised as {prose(agent.title)}{version} by container {name(agent.container)}"
    return {
        Evidence.GRANTED: "Evidence: granted, that is RBAC alone.",
        Evidence.CATALOGUE: f"Evidence: catalogue, {known}.",
        Evidence.DECLARED: "Evidence: declared by its owner in annotation watchbudget.io/watches.",
        Evidence.OBSERVED: "Evidence: observed in the API server's audit log.",
    }[demand.evidence]
