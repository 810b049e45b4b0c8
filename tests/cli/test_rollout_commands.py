"""What `watchbudget rollout` asks for, and how it shows what it found."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rich.console import Console

from fake_apiserver import fake_apiserver, json_answer, status_answer, write_kubeconfig
from watchbudget.api.status import Condition, Starts, WatchBudgetStatus
from watchbudget.cli import rollout
from watchbudget.cli.reach import Target, the_key
from watchbudget.cli.releasing import release_all
from watchbudget.cli.starts import BudgetState, Counts, Row, State, leader_of
from watchbudget.cli.starts_view import state_json, state_view
from watchbudget.controller.looked import Looked
from watchbudget.rollout.model import Phase


@pytest.mark.parametrize(
    ("named", "namespace", "key"),
    [
        ("ds/agent", "logging", ("logging", "agent")),
        ("daemonset/agent", None, ("default", "agent")),
        ("logging/agent", None, ("logging", "agent")),
        ("ds/logging/agent", "logging", ("logging", "agent")),
        (None, None, None),
    ],
)
def test_how_a_daemonset_is_named(named: str | None, namespace: str | None, key: tuple[str, str] | None):
    assert the_key(named, namespace) == key


@pytest.mark.parametrize(
    ("named", "namespace"),
    [(None, "logging"), ("a/agent", "b"), ("ds/", None), ("a/b/c", None), ("", None)],
)
def test_what_names_none(named: str | None, namespace: str | None):
    with pytest.raises(click.UsageError):
        the_key(named, namespace)


@pytest.mark.parametrize(
    "arguments",
    [
        ["release"],
        ["release", "ds/a", "--all"],
        ["pause"],
        ["pause", "ds/a", "--budget", "b"],
        ["resume", "--all", "--budget", "b"],
    ],
)
def test_what_is_meant_must_be_said(arguments: list[str]):
    result = CliRunner().invoke(rollout.command, arguments)
    assert result.exit_code == 2
    assert "say what is meant" in result.stderr


@pytest.mark.parametrize("name", ["status", "pause", "resume", "release"])
def test_help_teaches_by_examples(name: str):
    result = CliRunner().invoke(rollout.command, [name, "--help"])
    assert result.exit_code == 0
    assert f"watchbudget rollout {name}" in result.stdout


def test_a_cluster_that_cannot_be_reached(tmp_path: Path):
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", token="t")
    result = CliRunner().invoke(rollout.command, ["pause", "ds/a", "--kubeconfig", str(kubeconfig)])
    assert result.exit_code == 2
    assert "127.0.0.1:1" in result.stderr


STARTS = Starts(in_flight=8, held=172, permits=20, blocked=1)
STATUS = WatchBudgetStatus(
    starts=STARTS,
    conditions=(
        Condition(type="Progressing", status="True", last_transition_time="", reason="Starting", message="m"),
    ),
)
ROW = Row(
    ("logging", "agent"), Looked(nodes=300, updated=300, ready=120, current=True), held=172, in_flight=8
)
STATE = State((BudgetState("staged", STATUS),), (ROW,), leader="watchbudget-7f9c")


def shown(state: State, **options: Any) -> str:  # noqa: ANN401
    console = Console(file=io.StringIO(), width=120, **options)
    console.print(state_view(state))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_the_table():
    lines = shown(STATE).splitlines()
    assert lines[0].split() == ["BUDGET", "IN", "FLIGHT", "PERMITS", "HELD", "BLOCKED", "STATE"]
    assert lines[1].split() == ["staged", "8", "20", "172", "1", "Starting"]
    assert lines[4].split() == [
        "logging/agent",
        "300",
        "120",
        "172",
        "8",
        "########............",
        "40%",
    ]
    assert lines[-1] == "Permits are given by watchbudget-7f9c."


def test_pods_that_failed_are_neither_starting_nor_done():
    failing = replace(ROW, held=0, in_flight=0, failing=8)
    told = state_json(State(rows=(failing,)))["daemonSets"][0]
    assert (told["inFlight"], told["failing"], told["done"]) == (0, 8, False)
    assert shown(State(rows=(failing,))).splitlines()[1].split()[3:6] == ["0", "0", "8"]


@pytest.mark.parametrize(("reported", "expected"), [(0, 2), (3, 3), (99, 6)])
def test_ready_pods_that_still_carry_the_label_start_as_far_as_is_reported(reported: int, expected: int):
    key, counts = ("logging", "agent"), Counts()
    for phase in (Phase.STARTED, Phase.RELEASED, *[Phase.READY] * 4, Phase.HELD, Phase.FAILED):
        counts.of(phase)[key] += 1
    assert counts.in_flight(key, reported) == expected


@pytest.mark.parametrize(("current", "percent"), [(False, "0%"), (True, "100%")])
def test_nodes_that_are_not_counted_yet_are_no_progress(current: bool, percent: str):
    row = Row(("logging", "agent"), Looked(current=current))
    assert shown(State(rows=(row,))).splitlines()[1].split()[-1] == percent


def test_who_waits_for_nobody_is_told_what_to_do():
    text = " ".join(shown(replace(STATE, leader="")).split())
    assert "Nobody leads, so nobody gives permits to 172 held pods" in text
    assert "watchbudget rollout release --all" in text
    assert "Nobody leads" not in shown(replace(STATE, leader=None))  # it may not be read
    assert "Nobody leads: new pods start at once" in shown(replace(STATE, rows=(), leader=""))


@pytest.mark.parametrize(
    ("spec", "leader"),
    [
        ({"holderIdentity": "pod-a_7f", "renewTime": "2026-01-01T12:00:00.000000Z"}, "pod-a"),
        ({"holderIdentity": "pod-a_7f", "renewTime": "2026-01-01T11:59:20.000000Z"}, ""),  # it was killed
        ({"holderIdentity": "pod-a_7f", "renewTime": "2026-01-01T12:09:00.000000Z"}, "pod-a"),
        ({"holderIdentity": "pod-a_7f", "renewTime": "2026-01-01T11:00:00"}, "pod-a"),
        ({"holderIdentity": "pod-a_7f", "renewTime": 7}, "pod-a"),
        ({"holderIdentity": "someone"}, "someone"),
        ({"holderIdentity": "", "renewTime": "2026-01-01T12:00:00.000000Z"}, ""),
        (None, ""),
    ],
)
def test_who_is_silent_for_long_leads_no_more(spec: object, leader: str):
    assert leader_of({"spec": spec}, "Thu, 01 Jan 2026 12:00:05 GMT") == leader


def test_without_the_servers_time_nobody_is_silent():
    spec = {"holderIdentity": "pod-a_7f", "renewTime": "2020-01-01T00:00:00.000000Z"}
    assert leader_of({"spec": spec}, "") == "pod-a"


def test_nothing_to_see():
    assert shown(State()).splitlines() == [
        "No WatchBudget paces starts here: none has spec.rollout.",
        "No pod is held or starting.",
    ]


def test_names_and_reasons_from_the_cluster_are_only_text():
    hostile = replace(ROW, key=("x", "\x1b[31mred"), paused="paused: \x1b]0;title\x07\nforged line")
    text = shown(replace(STATE, rows=(hostile,)), force_terminal=True, color_system=None)
    assert "\x1b[31m" not in text
    assert "\x1b]0" not in text
    assert "\nforged" not in text


def test_json_is_complete():
    told = state_json(STATE)
    assert told["leader"] == "watchbudget-7f9c"
    [budget] = told["budgets"]
    assert budget["starts"] == {"inFlight": 8, "held": 172, "permits": 20, "blocked": 1}
    [row] = told["daemonSets"]
    assert (row["held"], row["inFlight"], row["done"], row["paused"]) == (172, 8, False, None)
    done = replace(ROW, held=0, in_flight=0)
    assert state_json(State(rows=(done,)))["daemonSets"][0]["done"]


def test_release_tries_again_what_the_server_was_too_busy_for(tmp_path: Path):
    asked: list[str] = []

    def answer(request: Any) -> Any:  # noqa: ANN401
        if request.method == "PATCH":
            asked.append(request.path)
            return status_answer(429) if len(asked) == 1 else json_answer({})
        gates = [] if len(asked) > 1 else [{"name": "watchbudget.io/start"}]
        pod = {
            "metadata": {
                "namespace": "ns",
                "name": "a",
                "uid": "u",
                "labels": {"watchbudget.io/start": "held"},
            },
            "spec": {"schedulingGates": gates},
        }
        return json_answer({"metadata": {}, "items": [pod]})

    async def run() -> list[str]:
        from watchbudget.cli.reach import _connect  # noqa: PLC0415

        async with fake_apiserver(answer) as fake:
            kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", fake.url, token="t")
            async with _connect(Target(kubeconfig)) as cluster:
                return await release_all(cluster, None, lambda *_: None)

    assert asyncio.run(run()) == []
    assert asked == ["/api/v1/namespaces/ns/pods/a"] * 2
