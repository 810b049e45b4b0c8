"""The newest state of a DaemonSet, whoever told it."""

from __future__ import annotations

from typing import Any

from controller_reviews import body
from watchbudget.controller import announced
from watchbudget.controller.announced import Announced
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse, parse
from watchbudget.controller.store import Kind, Store

KEY = ("logging", "agent")
ALLOWED, DENIED = AdmissionResponse(allowed=True), AdmissionResponse(allowed=False)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def raw(account: str, name: str = "agent") -> dict[str, Any]:
    pod = {"serviceAccountName": account, "containers": [{"name": "c", "image": "x"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "logging"},
        "spec": {"template": {"spec": pod}},
    }


def request(account: str, name: str = "agent", **fields: object) -> AdmissionRequest:
    return parse(body(object=raw(account, name), name=name, **fields))


def account_of(known: Announced) -> str | None:
    found = known.newest(KEY)
    return found.service_account if found else None


def test_what_was_let_in_counts_until_the_watch_has_told_more():
    clock = Clock()
    store = Store(lambda: None, clock)
    known = Announced(store)
    assert account_of(known) is None
    known.note(request("first"), ALLOWED)
    assert account_of(known) == "first"
    assert known.newest(KEY) is known.newest(KEY)
    clock.now = 1
    store.tell(Kind.DAEMON_SET, raw("told"))
    assert account_of(known) == "told"
    clock.now = 2
    known.note(request("second", operation="UPDATE", oldObject={}), ALLOWED)
    assert account_of(known) == "second"
    clock.now = 3
    store.tell(Kind.DAEMON_SET, raw("told again"))
    assert account_of(known) == "told again"


def test_what_is_not_stored_is_not_remembered():
    known = Announced(Store(lambda: None))
    known.note(request("denied"), DENIED)
    known.note(request("tried", dryRun=True), ALLOWED)
    assert known.newest(KEY) is None


def test_it_stays_small(monkeypatch):
    monkeypatch.setattr(announced, "MOST", 2)
    known = Announced(Store(lambda: None))
    for name in ("agent", "b", "c"):
        known.note(request("x", name), ALLOWED)
    assert known.newest(KEY) is None
    assert known.newest(("logging", "c")) is not None
