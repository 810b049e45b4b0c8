"""From a judgement to a plan, and from the pacer's numbers to status and Events."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from policy_samples import CALIBRATION, NOTHING_KNOWN, TODAY, budget, declared, fleet
from rollout_pods import held_pod
from watchbudget.api.budget import WatchBudget
from watchbudget.api.status import MAX_ROLLOUTS, RolloutStatus, WatchBudgetStatus
from watchbudget.controller.events import ObjectRef
from watchbudget.controller.looked import Looked
from watchbudget.controller.plan import Plan, plan_of
from watchbudget.controller.pod_reading import Pod, read_pod
from watchbudget.controller.progress import Rolling
from watchbudget.controller.staging import staging_of
from watchbudget.controller.start_news import StartNews
from watchbudget.inventory.fleet import DaemonSet, UpdateStrategy
from watchbudget.policy.judge import Judge
from watchbudget.rollout.gate import PAUSED
from watchbudget.rollout.model import (
    BudgetNumbers,
    Ceiling,
    DaemonSetNumbers,
    Freed,
    News,
    Outcome,
    Pass,
    Pause,
    Terms,
    Why,
)
from watchbudget.rollout.roll import ROLLOUT

KEY = ("logging", "agent")
PLAN = Plan({KEY: Terms(("budget",), 1000)}, {"budget": Ceiling()}, uids={"budget": "b"})
LOOKED = Looked(uid="d", nodes=10, updated=4, ready=9, current=True)


def planned(item: DaemonSet, *budgets: WatchBudget) -> Plan:
    bench = Judge(fleet(item), budgets, today=TODAY, catalogue=NOTHING_KNOWN, calibration=CALIBRATION)
    return plan_of([bench.appraise(item)], budgets)


def test_a_plan_has_the_terms_of_everything_judged():
    paced, other = budget("paced", rollout={"maxConcurrentStarts": 7}), budget("other")
    item = declared()
    plan = planned(item, paced, other)
    assert plan.terms[item.key].budgets == ("paced",)
    assert list(plan.ceilings) == ["paced"]
    assert plan.ceilings["paced"].max_starts == 7
    assert planned(item, other).terms[item.key].budgets == ()  # nothing gates it: that is known, too


def test_waves_want_strategy_and_word_of_the_owner():
    paced = budget("paced", rollout={"maxConcurrentStarts": 7})
    on_delete = UpdateStrategy("OnDelete", None, None)
    for strategy, said, waves in (
        (on_delete, {ROLLOUT: "waves"}, True),
        (on_delete, {}, False),
        (on_delete, {ROLLOUT: "Waves"}, False),
        (UpdateStrategy(), {ROLLOUT: "waves"}, False),
    ):
        item = declared(update_strategy=strategy)
        item = replace(item, annotations={**item.annotations, **said})
        plan = planned(item, paced)
        assert plan.terms[item.key].waves is waves
        assert plan.caps == ({item.key: 7} if waves else {})
        assert plan.waves == ({item.key: item} if waves else {})
        ungated = planned(item, budget("paced", rollout={"maxConcurrentStarts": 7, "gate": False}))
        assert ungated.caps == {}  # nothing holds the successors


@pytest.mark.parametrize(("said", "paused"), [("", None), ("false", None), ("Friday", "Friday")])
def test_a_budget_is_paused_by_the_same_annotation(said: str, paused: str | None):
    its = budget("paced", rollout={})
    metadata = its.metadata.model_copy(update={"annotations": {PAUSED: said}})
    plan = planned(declared(), its.model_copy(update={"metadata": metadata}))
    assert plan.ceilings["paced"].paused == paused


def test_since_when_something_rolls_is_known_after_a_restart():
    began = "2026-01-01T00:00:00Z"
    known = RolloutStatus(namespace="logging", name="agent", nodes=3, updated=1, started_at=began)
    its = budget("paced", rollout={})
    plan = planned(declared(), its.model_copy(update={"status": WatchBudgetStatus(rollouts=(known,))}))
    rolling = Rolling()
    rolling.follow(0, Pass(daemon_sets={KEY: DaemonSetNumbers(held=1)}), {}, plan, ())
    assert rolling.since == {KEY: began}


def test_a_rollout_lasts_until_nothing_starts_and_nothing_is_behind():
    rolling = Rolling()
    starting, quiet = Pass(daemon_sets={KEY: DaemonSetNumbers(in_flight=1)}), Pass()
    rolling.follow(0, starting, {KEY: LOOKED}, PLAN, ())
    rolling.follow(30, quiet, {KEY: LOOKED}, PLAN, ())
    assert KEY in rolling.since  # the controller may wait for minReadySeconds
    rolling.follow(61, quiet, {KEY: LOOKED}, PLAN, ())
    assert rolling.since == {}
    rolling.follow(70, starting, {KEY: LOOKED}, PLAN, ())
    rolling.follow(71, quiet, {KEY: replace(LOOKED, updated=10)}, PLAN, ())
    assert rolling.since == {}
    rolling.follow(80, quiet, {KEY: LOOKED}, PLAN, [KEY])  # old pods are ours to replace
    rolling.follow(800, quiet, {KEY: LOOKED}, PLAN, [KEY])
    assert KEY in rolling.since


def test_status_of_starts_and_rollouts():
    result = Pass(
        budgets={"budget": BudgetNumbers(in_flight=3, held=1500, permits=8, blocked=1)},
        daemon_sets={KEY: DaemonSetNumbers(in_flight=3, held=1500, failed=2)},
    )
    its = staging_of(PLAN, result, {KEY: LOOKED}, {KEY: "2026-01-01T00:00:00Z"})["budget"]
    assert its.starts is not None
    assert its.starts.model_dump(exclude_none=True) == {
        "inFlight": 3,
        "held": 1500,
        "permits": 8,
        "blocked": 1,
    }
    [rollout] = its.rollouts
    assert rollout.model_dump(exclude_none=True) == {
        "namespace": "logging",
        "name": "agent",
        "nodes": 10,
        "updated": 4,
        "ready": 9,
        "held": 1500,
        "inFlight": 3,
        "failed": 2,
        "startedAt": "2026-01-01T00:00:00Z",
    }
    assert its.progressing is not None
    assert (its.progressing.status, its.progressing.reason) == ("True", "Starting")
    assert its.progressing.message == "3 of 8 permits in use, 1,500 pods held"


def progressing(result: Pass, rolling: dict[Any, str] | None = None) -> tuple[str, str, str]:
    its = staging_of(PLAN, result, {KEY: LOOKED}, rolling or {})["budget"].progressing
    assert its is not None
    return its.status, its.reason, its.message


def test_what_progressing_says():
    since = {KEY: "2026-01-01T00:00:00Z"}
    assert progressing(Pass()) == ("False", "Idle", "No pod is held or starting")
    assert progressing(Pass(), since)[:2] == ("True", "RollingOut")
    pause = Pause("CrashLooping", "3 of 10 started pods are failing")
    paused = Pass(budgets={"budget": BudgetNumbers(held=1)}, budget_pauses={"budget": pause})
    assert progressing(paused, since) == ("False", "CrashLooping", pause.message)
    starts = staging_of(PLAN, paused, {}, {})["budget"].starts
    assert starts is not None
    assert (starts.paused_reason, starts.message) == ("CrashLooping", pause.message)


def test_status_has_room_for_twenty_rollouts_those_with_most_to_do():
    keys = [("logging", f"a{number:02}") for number in range(30)]
    plan = Plan({key: Terms(("budget",)) for key in keys}, {"budget": Ceiling()})
    looked = {key: replace(LOOKED, updated=number % 10) for number, key in enumerate(keys)}
    shown = staging_of(plan, Pass(), looked, dict.fromkeys(keys, "2026-01-01T00:00:00Z"))["budget"].rollouts
    assert len(shown) == MAX_ROLLOUTS
    assert max(each.updated for each in shown) == 6


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, str]] = []
        self.news = StartNews(self._tell)
        self.last = Pass()

    def _tell(self, ref: ObjectRef, kind: str, reason: str, note: str, _action: str) -> None:
        self.events.append((f"{ref.kind}/{ref.name}/{ref.uid}", kind, reason, note))

    def hear(self, result: Pass, *pods: Pod) -> list[tuple[str, str, str, str]]:
        self.events.clear()
        self.news.tell(self.last, result, {pod.start.uid: pod for pod in pods}, {KEY: "d"}, {"budget": "b"})
        self.last = result
        return self.events


def test_what_did_not_go_well_is_told_once_for_all_its_pods():
    news = tuple(News(f"u{number}", KEY, f"n{number}", Outcome.FAILED) for number in range(5))
    fine = News("x", KEY, "n9", Outcome.READY)
    blocked = News("y", KEY, "", Outcome.BLOCKED)
    events = Told().hear(Pass(news=(*news, fine, blocked)))
    assert events == [
        (
            "DaemonSet/agent/d",
            "Warning",
            "StartFailed",
            "5 pods (on n0, n1, n2 and 2 more) failed: a container was restarted or cannot run",
        ),
        (
            "DaemonSet/agent/d",
            "Warning",
            "StartBlocked",
            "1 pod (on a node unknown) could not use the permit and gave it back: no container runs yet",
        ),
    ]


def test_pauses_begin_change_and_end():
    told = Told()
    looping, failing = Pause("CrashLooping", "3 of 5"), Pause("StartsFailing", "3 of 7")
    assert [event[1:3] for event in told.hear(Pass(pauses={KEY: looping}))] == [("Warning", "StartsPaused")]
    assert told.hear(Pass(pauses={KEY: replace(looping, message="4 of 6")})) == []
    [changed] = told.hear(Pass(pauses={KEY: failing}))
    assert changed[3] == "StartsFailing: 3 of 7"
    assert [event[1:3] for event in told.hear(Pass())] == [("Normal", "StartsResumed")]
    [of_budget] = told.hear(Pass(budget_pauses={"budget": Pause("BudgetPaused", "Friday")}))
    assert of_budget == ("WatchBudget/budget/b", "Warning", "StartsPaused", "BudgetPaused: Friday")


def test_letting_go_is_told_as_it_begins():
    pods = [pod for name in "abc" if (pod := read_pod(held_pod(name), None, 0)) is not None]
    told = Told()
    [event] = told.hear(Pass(let_go=(Freed("a", Why.NO_PROGRESS),)), *pods)
    assert event[2] == "PodsLetGo"
    assert "(3 are held now): permits were free for maxHold and none could be given out" in event[3]
    assert told.hear(Pass(), *pods[1:]) == []  # five a second, so not in every pass
    assert told.hear(Pass(let_go=(Freed("b", Why.NO_PROGRESS),)), *pods[1:]) == []
    assert told.hear(Pass()) == []
    assert len(told.hear(Pass(let_go=(Freed("c", Why.NO_PROGRESS),)), pods[2])) == 1  # another time
