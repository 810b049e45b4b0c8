"""The shape of the agent catalogue: what an entry may say, and the checks that hold it to a source.

Every claim names where it comes from, and what cannot be known yet is said to be assumed.
docs/catalogue.md explains the format to people who write their own entries.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from watchbudget.api.resources import GroupResource
from watchbudget.demand.catalogue_conditions import Answer, Condition, Model, Sign, Source, Words
from watchbudget.demand.images import Version, parse_version
from watchbudget.demand.model import Narrowing
from watchbudget.demand.readers import READERS

__all__ = ["Case", "Entry", "NarrowingOption", "Per", "ResourceClaim", "StackRow"]


class Case(Model):
    """An answer and when it holds. The first case that holds is the answer."""

    when: tuple[Condition, ...] = ()
    watches: Answer
    watchers: int = Field(1, ge=1, description="Separate full copies, per pod or per component.")
    shared: bool = Field(default=False, description="All components of this case share one watch.")
    selector_option: str | None = Field(
        None, description="The component's option that the server filters by."
    )
    reason: Annotated[str, Field(min_length=10)]
    sources: tuple[Source, ...] = ()


def _total(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    if any(not case.when for case in cases[:-1]):
        raise ValueError("a case without `when` hides those after it")
    if cases and cases[-1].when:
        raise ValueError("the last case must hold always: it has no `when`")
    return cases


_Cases = Annotated[
    tuple[Case, ...],
    Field(min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, dict) else value),
]


class Per(Model):
    """Count components of the agent's own configuration, and judge each by the cases.

    `none`: configuration was read and has no such component. `unseen`: configuration is there
    but cannot be read (a Secret, a ConfigMap not among the input). `bare`: nothing is mounted
    that could be configuration, so the image's own counts.
    """

    reader: str
    component: Annotated[Words, Field(min_length=1)]
    none: Case
    unseen: _Cases
    bare: _Cases

    @field_validator("reader")
    @classmethod
    def _known(cls, reader: str) -> str:
        if reader not in READERS:
            raise ValueError(f"no reader {reader!r}; there are {', '.join(sorted(READERS))}")
        return reader

    @field_validator("unseen", "bare")
    @classmethod
    def _cases_total(cls, cases: tuple[Case, ...]) -> tuple[Case, ...]:
        return _total(cases)


class NarrowingOption(Model):
    """The agent's own way to watch less."""

    option: Annotated[str, Field(min_length=3)]
    since: str | None = None
    loses: tuple[str, ...] = Field((), description="Fields of its output, or functions, that go with it.")
    keeps_data: bool = Field(default=False, description="Nothing is lost.")
    ends_function: bool = Field(default=False, description="It gives up what the agent is there for.")
    frees_memory: bool = Field(default=True, description="False: it spares the API server, not the node.")
    source: Source

    @cached_property
    def told(self) -> Narrowing:
        """The same as a demand tells it."""
        return Narrowing(
            self.option,
            self.since,
            self.loses,
            self.source,
            frees_memory=self.frees_memory,
            ends_function=self.ends_function,
        )

    @field_validator("since")
    @classmethod
    def _release(cls, since: str | None) -> str | None:
        if since is not None and parse_version(since) is None:
            raise ValueError(f"since {since!r} is not a version such as 0.50.0")
        return since

    @model_validator(mode="after")
    def _says_what_is_lost(self) -> Self:
        if bool(self.loses) == self.keeps_data:
            raise ValueError("say what it `loses`, or that it `keeps_data: true`")
        return self


class ResourceClaim(Model):
    """What the agent does with one resource. `sources` are those of the claim as a whole."""

    per: Per | None = None
    cases: _Cases
    narrowing: NarrowingOption | None = None
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]

    @field_validator("cases")
    @classmethod
    def _cases_total(cls, cases: tuple[Case, ...]) -> tuple[Case, ...]:
        return _total(cases)

    @model_validator(mode="after")
    def _options_need_components(self) -> Self:
        if self.per is None and any(
            condition.option for case in self.cases for condition in case.when if condition.option
        ):
            raise ValueError("a condition on an `option` needs `per`: whose option is it?")
        return self


class StackRow(Model):
    """The client library since a release, for the calibration. Either its source, or why it is assumed."""

    stack: Literal[
        "client-go-streaming", "client-go-list", "kube-rs", "kube-rs-old", "python", "fabric8", "unknown"
    ]
    since: str | None = None
    source: Source | None = None
    assumed: str | None = None

    @model_validator(mode="after")
    def _known_or_assumed(self) -> Self:
        if (self.source is None) == (self.assumed is None):
            raise ValueError("needs a `source`, or `assumed` with the reason")
        if self.since is not None and parse_version(self.since) is None:
            raise ValueError(f"since {self.since!r} is not a version such as 0.42.0")
        return self


class Entry(Model):
    """One agent: how it is recognised, and what it does with each resource."""

    agent: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: Annotated[str, Field(min_length=2)]
    match: Annotated[tuple[Sign, ...], Field(min_length=1)]
    config_maps: tuple[str, ...] = Field((), description="ConfigMaps it reads through the API server.")
    stacks: tuple[StackRow, ...] = ()
    resources: Annotated[dict[str, ResourceClaim], Field(min_length=1)]

    @field_validator("resources")
    @classmethod
    def _resource_names(cls, resources: dict[str, ResourceClaim]) -> dict[str, ResourceClaim]:
        for name in resources:
            GroupResource.parse(name)
        return resources

    def claim(self, resource: GroupResource) -> ResourceClaim | None:
        """What the entry says of a resource; None where it says nothing."""
        return self.resources.get(str(resource))

    def stack(self, version: Version | None) -> StackRow | None:
        """The client stack of a release; of the newest where the version is unknown."""
        if version is None:
            return self.by_release[-1][1] if self.by_release else None
        return next((row for since, row in reversed(self.by_release) if since <= version), None)

    @cached_property
    def by_release(self) -> tuple[tuple[Version, StackRow], ...]:
        """The client stacks, oldest release first."""
        dated = ((parse_version(row.since or "") or (), row) for row in self.stacks)
        return tuple(sorted(dated, key=lambda pair: pair[0]))
