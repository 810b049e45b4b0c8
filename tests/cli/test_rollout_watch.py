"""`watchbudget rollout status --watch`: when it ends, and what it shows on a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from rich.console import Console

from watchbudget.cli import rollout
from watchbudget.cli.starts import Row, State
from watchbudget.controller.looked import Looked
from watchbudget.inventory.errors import ClusterError, NotFound
from watchbudget.rollout.model import Key

KEY = ("logging", "vector")


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "REFRESH_SECONDS", 0.0)


def state(held: int) -> State:
    return State(rows=(Row(KEY, Looked(nodes=9, updated=9 - held, current=True), held=held),), leader="one")


def follow(*reads: State | Exception, key: Key | None = KEY, table: bool = True) -> list[State]:
    left: Iterator[State | Exception] = iter(reads)
    shown: list[State] = []

    async def read() -> State:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    asyncio.run(rollout._follow(read, shown.append, table=table, key=key))
    assert not list(left)
    return shown


def test_it_ends_when_the_daemonset_is_done_and_shows_each_change_once():
    assert follow(state(2), state(2), state(1), state(0)) == [state(2), state(1), state(0)]


def test_it_outlives_an_api_server_that_does_not_answer(capsys: pytest.CaptureFixture[str]):
    assert follow(state(2), ClusterError("no answer"), state(0)) == [state(2), state(0)]
    assert "no answer; trying on" in capsys.readouterr().err


def test_it_ends_when_the_daemonset_is_deleted(capsys: pytest.CaptureFixture[str]):
    follow(state(2), NotFound("no such DaemonSet"))
    assert "it was deleted" in capsys.readouterr().err


def test_a_terminal_sees_it_in_one_place(monkeypatch: pytest.MonkeyPatch):
    screen = Console(force_terminal=True, width=120, record=True)
    monkeypatch.setattr(rollout, "out", lambda: screen)
    assert follow(state(2), state(1), state(0)) == []
    assert "logging/vector" in screen.export_text()


def test_json_is_printed_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rollout, "out", lambda: Console(force_terminal=True, width=120))
    assert follow(state(1), state(0), table=False) == [state(1), state(0)]
