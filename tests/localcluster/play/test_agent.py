"""Played agents retry as client-go does."""

import pytest

from watchbudget.localcluster.play.agent import Backoff


def test_a_reflector_waits_as_client_go_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("random.random", lambda: 0.0)
    backoff = Backoff()
    assert [backoff.step() for _ in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
