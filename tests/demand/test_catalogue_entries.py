"""Every built-in entry: it is sourced, it says what its remedy costs, and it recognises its own agent."""

from __future__ import annotations

import re

import pytest

from demand_builders import container, daemon_set, demand
from watchbudget.api.resources import DEFAULT_WATCHED
from watchbudget.cost.calibration import load_calibration
from watchbudget.demand.catalogue import load_catalogue
from watchbudget.demand.catalogue_model import Case, Entry, ResourceClaim
from watchbudget.demand.model import Watches

ENTRIES = load_catalogue().built_in
CLAIMS = [
    pytest.param(entry, claim, id=f"{entry.agent}-{name}")
    for entry in ENTRIES
    for name, claim in entry.resources.items()
]


def _cases(claim: ResourceClaim) -> list[Case]:
    per = (claim.per.none, *claim.per.unseen, *claim.per.bare) if claim.per else ()
    return [*claim.cases, *per]


def test_there_are_as_many_agents_as_were_looked_at():
    assert len(ENTRIES) >= 40


@pytest.mark.parametrize(("entry", "claim"), CLAIMS)
def test_every_claim_has_a_source_that_can_be_opened(entry: Entry, claim: ResourceClaim):
    narrowing = [claim.narrowing.source] if claim.narrowing else []
    for source in (*claim.sources, *narrowing, *(s for case in _cases(claim) for s in case.sources)):
        assert re.fullmatch(r"https://[a-z0-9.]+/\S+", source), (entry.agent, source)


@pytest.mark.parametrize(("entry", "claim"), CLAIMS)
def test_reasons_are_clauses_that_messages_can_go_on_from(entry: Entry, claim: ResourceClaim):
    for case in _cases(claim):
        assert not case.reason.endswith("."), case.reason
        assert "\n" not in case.reason


@pytest.mark.parametrize(("entry", "claim"), CLAIMS)
def test_a_narrowing_says_what_is_lost_or_that_nothing_is(entry: Entry, claim: ResourceClaim):
    if claim.narrowing:
        assert bool(claim.narrowing.loses) != claim.narrowing.keeps_data


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.agent)
def test_an_agent_that_watches_has_a_stack_the_calibration_knows(entry: Entry):
    known = {stack for row in load_calibration().rows for stack in row.stacks}
    stacks = {row.stack for row in entry.stacks} - {"unknown"}
    assert stacks <= known
    if any(case.watches is Watches.YES for claim in entry.resources.values() for case in _cases(claim)):
        assert entry.stacks, "say `unknown` and why, if it is"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.agent)
def test_an_entry_recognises_what_its_own_signs_describe(entry: Entry):
    for sign in entry.match:
        image = f"mirror.example.org:5000/{(sign.image or 'x').replace('*', '')}:1.2.3@sha256:{'0' * 64}"
        one = container(
            image,
            sign.container or "main",
            env={sign.env: ""} if sign.env else {},
            args=(f"--{sign.arg}=true",) if sign.arg else (),
        )
        found = load_catalogue().recognise(one)
        assert found, sign
        # A wildcard may be narrower elsewhere; the same family must answer.
        assert found.entry.agent == entry.agent or "*" in (sign.image or ""), (sign, found.entry.agent)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.agent)
def test_a_plain_container_of_the_agent_gets_an_answer_for_every_claim(entry: Entry):
    sign = entry.match[0]
    image = f"example.org/{(sign.image or 'x').replace('*', '')}:99.0.0"
    owner = daemon_set(container(image, sign.container or "main"))
    for resource in DEFAULT_WATCHED:
        found = demand(owner, resource=resource)
        assert found.agent is not None or entry.claim(resource) is None
        assert (found.watchers_per_pod == 0) == (found.watches is Watches.NO)
        assert found.reason
