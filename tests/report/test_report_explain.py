"""The explanation: its arithmetic must come out, and its command must run."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Iterable
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from report.report_samples import (
    CENSUS,
    HOSTILE,
    audit,
    calico,
    clean,
    demand,
    hostile,
    judgement,
    sample,
    unsure,
    vector,
)
from watchbudget.api.resources import NAMESPACES, NETWORK_POLICIES
from watchbudget.cost.bill import bill_of
from watchbudget.cost.calibration import load_calibration
from watchbudget.demand.model import Grant, Watches
from watchbudget.inventory.fleet import AccessReviews, Census, ResourceCensus
from watchbudget.policy.model import Audit, Judgement, Memory, Remedy
from watchbudget.report.chain import chain
from watchbudget.report.chain_findings import patch_command
from watchbudget.report.explain import explain
from watchbudget.report.figures import needed_bytes
from watchbudget.report.steps import Item


def items(judged: Judgement, whole: Audit | None = None) -> list[Item]:
    return [item for step in chain(judged, whole or audit([judged])) for item in step.items]


def words(judged: Judgement, whole: Audit | None = None) -> str:
    return "\n".join(item.text for item in items(judged, whole))


def shown(judged: Judgement, whole: Audit, width: int, encoding: str = "utf-8") -> str:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, newline="\n")
    Console(file=stream, width=width, highlight=False).print(explain(judged, whole))
    stream.flush()
    return buffer.getvalue().decode(encoding)


def results(lines: Iterable[Item]) -> list[int]:
    """Work out the left side of every sum as a reader would, and hold it against the right."""
    found = []
    for item in lines:
        if item.kind != "sum":
            continue
        left, _, right = item.text.partition(" = ")
        expression = left.split(": ")[-1].replace(",", "").replace("\N{MULTIPLICATION SIGN}", "*")
        expression = re.sub(r"[A-Za-z]+", "", expression)
        assert re.fullmatch(r"[\d.+*() ]+", expression), item.text
        exact = re.sub(r"\d+(\.\d+)?", lambda number: f"Fraction('{number[0]}')", expression)
        value = ceil(eval(exact, {"Fraction": Fraction}))  # noqa: S307 - digits and operators only, checked above
        stated = int(re.match(r"[\d,]+", right)[0].replace(",", ""))  # type: ignore[index]
        assert value == stated, item.text
        found.append(stated)
    return found


stacks = st.sampled_from([stack for row in load_calibration().rows for stack in row.stacks] + [None])


@given(
    st.integers(0, 10**7),
    st.integers(0, 10**11),
    st.integers(0, 10**6),
    st.lists(
        st.tuples(
            st.sampled_from([NAMESPACES, NETWORK_POLICIES]),
            st.sampled_from([Watches.YES, Watches.DEPENDS]),
            st.integers(1, 9),
            stacks,
        ),
        min_size=1,
        max_size=3,
    ),
)
@settings(max_examples=80, deadline=None)
def test_every_sum_comes_out_and_ends_at_the_bill(
    objects: int, stored: int, nodes: int, watched: list[tuple]
) -> None:
    census = Census(tuple(replace(entry, objects=objects, stored_bytes=stored) for entry in CENSUS.resources))
    demands = tuple(
        demand(resource, watches, watchers_per_pod=watchers, stack=stack)
        for resource, watches, watchers, stack in watched
    )
    bill = bill_of(demands, census, nodes, load_calibration())
    judged = replace(judgement("agent"), demands=demands, bill=bill)
    found = results(items(judged, audit([judged], census=census)))
    for line in bill.lines:
        assert line.cache_bytes in found
    certain = [line for line in bill.lines if line.certain]
    if certain:
        assert {bill.cache_per_pod, bill.cache_total} <= set(found)
        assert not bill.list_bytes_per_start or {
            bill.list_bytes_per_start,
            bill.list_bytes_if_all_restart,
        } <= set(found)
    if bill.peak_per_pod:
        assert needed_bytes(judged) in found
    if bill.cache_per_pod_up_to > bill.cache_per_pod:
        assert bill.cache_total_up_to in found


def test_the_chain_names_every_link() -> None:
    text = words(vector(), sample())
    for link in (
        "DaemonSet logging/vector",
        "service account logging/vector",
        "may list and watch them in the whole cluster, through ClusterRoleBinding/vector, ClusterRole/vector",
        "authorizer confirms",
        "yes, all of them, 2 copies in every pod",
        "Evidence: catalogue, recognised as Vector 0.49.0 by container agent.",
        "see https://github.com/vectordotdev/vector/pull/23601",
        "10,000 objects, 10,464,184 bytes stored, from the API server's metrics",
        "row kube-rs-5.0",
        "±30%",
        "Container agent without memory limit",
        "Fix: Set insert_namespace_fields: false",
        "Verdict: deny.",
    ):
        assert link in text, link


def test_each_answer_of_the_demand_has_its_own_words() -> None:
    for watches, answer in (
        (Watches.YES, "namespaces: yes, all"),
        (Watches.NO, "namespaces: no."),
        (Watches.DEPENDS, "namespaces: depends; if so"),
        (Watches.UNKNOWN, "namespaces: unknown; if so"),
    ):
        assert answer in words(judgement("agent", demands=(demand(watches=watches),)))
    selected = words(judgement("agent", demands=(demand(selector="team=a"),)))
    assert "those that match team=a" in selected


def test_each_identity_is_told() -> None:
    base = vector()
    assert "kubeconfig" in words(replace(base, identity="kubeconfig"))
    assert "mount no token" in words(replace(base, identity="none"))
    whole = audit([base])
    shared = replace(
        whole, fleet=replace(whole.fleet, shared_accounts={("logging", "vector"): ("Deployment aggregator",)})
    )
    assert "Deployment aggregator uses the same account" in words(base, shared)


def test_grants_say_how_far_they_reach_and_who_confirmed() -> None:
    def told(state: str = "asked", **fields: object) -> str:
        grant = Grant(NAMESPACES, ("list",), "named", ("RoleBinding/x", "Role/x"), **fields)  # type: ignore[arg-type]
        judged = judgement("agent", demands=(demand(),), grants=(grant,))
        return words(judged, audit([judged], access=AccessReviews(state)))  # type: ignore[arg-type]

    assert "it may list them only those named a and b" in told(names=("a", "b"))
    assert "authorizer says no" in told(names=("a",), confirmed=False)
    assert "creating SubjectAccessReviews was forbidden" in told("forbidden", names=("a",))
    none = judgement("agent", demands=(demand(),))
    assert "a binding that was not read may" in words(none, audit([none], complete_rbac=False))
    assert "not read" not in words(none, audit([none], complete_rbac=True))


def test_the_limit_is_held_against_the_re_list_peak() -> None:
    assert "too small: a re-list may kill the pod" in words(calico())
    roomy = replace(calico(), memory=Memory(True, 1 << 30, 1 << 30))
    assert "1,073,741,824 B (1 GiB), and holds that." in words(roomy)
    assert "If it is, a re-list needs up to" in words(unsure())


def test_what_nobody_counted_is_said_not_left_out() -> None:
    census = Census((ResourceCensus(NAMESPACES, 5, 5000, "flag"),))
    watched = (demand(), demand(NETWORK_POLICIES))
    judged = replace(
        judgement("agent"), demands=watched, bill=bill_of(watched, census, 3, load_calibration())
    )
    assert "networkpolicies: nobody counted them" in words(judged, audit([judged], census=census))


def test_an_unknown_library_is_called_assumed() -> None:
    told = words(judgement("agent", demands=(demand(stack=None),)))
    assert "ASSUMED: what its client library costs is not known. Priced as the nearest" in told


def test_a_library_that_is_only_the_nearest_is_called_assumed_with_the_reason() -> None:
    told = words(
        judgement("agent", demands=(demand(stack="client-go-list", stack_assumed="it has its own"),))
    )
    assert "ASSUMED: what its client library costs is not known (it has its own)." in told


def test_a_known_library_is_not_called_assumed() -> None:
    assert "ASSUMED: what its client" not in words(judgement("agent", demands=(demand(stack="kube-rs"),)))


def test_a_bill_of_another_calibration_is_told_without_its_factors() -> None:
    base = calico()
    lines = tuple(replace(line, calibration="of-tomorrow") for line in base.bill.lines)
    text = words(replace(base, bill=replace(base.bill, lines=lines)))
    assert "by row of-tomorrow" in text


def test_a_daemon_set_that_watches_nothing_has_no_arithmetic() -> None:
    assert results(items(clean())) == []
    assert "No rule found anything to say." in words(clean())


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_fits_narrow_terminals_and_long_windows(width: int) -> None:
    whole = sample()
    for judged in whole.judgements[:3]:
        lines = shown(judged, whole, width).splitlines()
        assert all(cell_len(line) <= min(width, 120) for line in lines)


def test_the_command_survives_a_copy_from_eighty_columns() -> None:
    path = "/spec/template/spec/containers/10/resources/limits/memory"
    patch = ({"op": "add", "path": path, "value": "it's 320Mi"},)
    judged = replace(
        vector(),
        findings=(replace(vector().findings[0], remedy=Remedy("x", "DaemonSet logging/vector", patch)),),
    )
    text = shown(judged, audit([judged]), 80)
    command = text[text.index("kubectl") : text.index("Verdict:")]
    parsed = shlex.split(command.replace("\\\n", " "))
    assert parsed[:7] == ["kubectl", "-n", "logging", "patch", "daemonset", "vector", "--type=json"]
    assert json.loads(parsed[-1]) == list(patch)


@pytest.mark.parametrize(
    ("target", "words_of_command"),
    [
        ("DaemonSet logging/vector", ["kubectl", "-n", "logging", "patch", "daemonset", "vector"]),
        ("ClusterRole/system:node", ["kubectl", "patch", "clusterrole", "system:node"]),
    ],
)
def test_the_command_names_its_target(target: str, words_of_command: list[str]) -> None:
    command = patch_command(Remedy("x", target, ({"op": "remove", "path": "/a"},)))
    assert command is not None
    assert shlex.split(command)[: len(words_of_command)] == words_of_command


@pytest.mark.parametrize(
    "target", [None, "DaemonSet a/-x", "DaemonSet a/$(id)", "DaemonSet a/b;c", "DaemonSet a b/c", ""]
)
def test_a_name_that_a_shell_could_read_otherwise_makes_no_command(target: str | None) -> None:
    patch = ({"op": "remove", "path": "/a"},)
    assert json.loads(patch_command(Remedy("x", target, patch)) or "") == list(patch)
    assert patch_command(Remedy("x", target)) is None


@pytest.mark.parametrize("text", [text for text in HOSTILE if text], ids=ascii)
def test_hostile_texts_are_neutral_in_the_explanation(text: str) -> None:
    whole = hostile(text)
    for judged in whole.judgements:
        out = shown(judged, whole, 100)
        assert not set(out) & {"\x1b", "\r", "\t", "\x07", "\u202e", "\ud800"}
        assert "red" not in text or "[red]x[/red]" in out or "\\x1b[31mred" in out
        assert shown(judged, whole, 100, "ascii").isascii()
