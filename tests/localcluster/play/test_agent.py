"""Played agents ask as real ones do, and retry as client-go does."""

import pytest

from watchbudget.localcluster.play.agent import Backoff, Manner

PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize(
    ("manner", "accept", "encoding"),
    [
        (Manner(), PROTOBUF, "gzip"),
        (Manner(gzip=False), PROTOBUF, None),
        (Manner(json=True), "application/json", "gzip"),
        (Manner(json=True, gzip=False), "application/json", None),
    ],
)
def test_lists_are_asked_for_as_the_manner_says(manner: Manner, accept: str, encoding: str | None):
    headers = manner.headers("secret")
    assert headers["Authorization"] == "Bearer secret"
    assert (headers["Accept"], headers.get("Accept-Encoding")) == (accept, encoding)


def test_a_reflector_waits_as_client_go_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("random.random", lambda: 0.0)
    backoff = Backoff()
    assert [backoff.step() for _ in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
