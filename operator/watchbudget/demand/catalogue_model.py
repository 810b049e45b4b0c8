"""The shape of the agent catalogue: what an entry may say, and the checks that hold it to a source.

Every claim names where it comes from, and what cannot be known yet is said to be assumed.
docs/catalogue.md explains the format to people who write their own entries.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from watchbudget.api.resources import GroupResource
from watchbudget.demand.images import Version, parse_version
from watchbudget.demand.model import Watches
from watchbudget.demand.readers import READERS

__all__ = [
    "Case",
    "Condition",
    "Entry",
    "Lookup",
    "NarrowingOption",
    "Per",
    "ResourceClaim",
    "Sign",
    "StackRow",
    "VersionRange",
]

_VERSION = re.compile(r"(>=|<)\s*(\S+)")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _yes_no(value: object) -> object:
    """YAML 1.1 reads `yes` and `no` as booleans; here they are words."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _scalar_text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool | int) else value


_Word = Annotated[str, Field(min_length=1), BeforeValidator(_scalar_text)]
_Words = Annotated[
    tuple[Annotated[str, BeforeValidator(_scalar_text)], ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,)),
]
_Answer = Annotated[Watches, BeforeValidator(_yes_no)]
_Source = Annotated[str, Field(min_length=5)]


class VersionRange(_Model):
    """One bound on the agent's release: `>=0.50.0` or `<6.8`."""

    text: str

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a bound such as '>=0.50.0' or '<6.8'")  # noqa: TRY004 - pydantic's
        return {"text": value}

    @field_validator("text")
    @classmethod
    def _readable(cls, text: str) -> str:
        found = _VERSION.fullmatch(text)
        if not found or parse_version(found.group(2)) is None:
            raise ValueError(f"{text!r} is not a bound such as '>=0.50.0' or '<6.8'")
        return text

    def holds(self, version: Version) -> bool:
        """Whether a release is within the bound; missing parts count as zero."""
        found = _VERSION.fullmatch(self.text)
        bound = parse_version(found.group(2)) if found else None
        if found is None or bound is None:  # unreachable after validation
            return False
        ours, theirs = (v + (0,) * (4 - len(v)) for v in (version, bound))
        return ours >= theirs if found.group(1) == ">=" else ours < theirs


class Sign(_Model):
    """Something by which the agent is recognised; all that is given must hold.

    A container's name alone is no sign: `agent` is what half of them are called.
    """

    image: str | None = Field(
        None, description="End of the repository: `timberio/vector`; `*` within a part."
    )
    container: str | None = Field(None, description="Name of the container.")
    env: str | None = Field(None, description="Name of an environment variable it has.")
    arg: str | None = Field(None, description="Name of a flag it has, without dashes.")

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if not self.image and not (self.container and (self.env or self.arg)):
            raise ValueError("needs an image, or a container name together with an env or an arg")
        return self


class Lookup(_Model):
    """Where a setting may be given. Flags go before the environment, that before ConfigMap keys."""

    arg: _Words = ()
    env: _Words = ()
    key: _Words = ()
    default: _Word | Literal[""] | None = Field(None, description="What the agent does where nothing is set.")

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not (self.arg or self.env or self.key):
            raise ValueError("needs at least one of arg, env and key")
        return self


class Condition(_Model):
    """One thing that must be so: of the version, of a setting, or of an option of the component at hand."""

    version: VersionRange | None = None
    setting: Lookup | None = None
    option: str | None = None
    default: _Word | Literal[""] | None = Field(
        None, description="What an option counts as where it is not set."
    )
    is_: _Words | None = Field(None, alias="is", description="Holds for any of these values, in any case.")
    is_not: _Words | None = Field(None, description="Holds for any other value.")
    present: bool | None = Field(None, description="Holds if it is set at all, or not at all.")

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if sum(subject is not None for subject in (self.version, self.setting, self.option)) != 1:
            raise ValueError("needs exactly one of version, setting and option")
        tests = sum(test is not None for test in (self.is_, self.is_not, self.present))
        if tests != (0 if self.version else 1):
            raise ValueError(
                "a setting or an option needs exactly one of is, is_not and present; a version none"
            )
        return self


class Case(_Model):
    """An answer and when it holds. The first case that holds is the answer."""

    when: tuple[Condition, ...] = ()
    watches: _Answer
    watchers: int = Field(1, ge=1, description="Separate full copies, per pod or per component.")
    shared: bool = Field(default=False, description="All components of this case share one watch.")
    selector_option: str | None = Field(
        None, description="The component's option that the server filters by."
    )
    reason: Annotated[str, Field(min_length=10)]
    sources: tuple[_Source, ...] = ()


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


class Per(_Model):
    """Count components of the agent's own configuration, and judge each by the cases.

    `none`: configuration was read and has no such component. `unseen`: configuration is there
    but cannot be read (a Secret, a ConfigMap not among the input). `bare`: nothing is mounted
    that could be configuration, so the image's own counts.
    """

    reader: str
    component: Annotated[_Words, Field(min_length=1)]
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


class NarrowingOption(_Model):
    """The agent's own way to watch less."""

    option: Annotated[str, Field(min_length=3)]
    since: str | None = None
    loses: tuple[str, ...] = Field((), description="Fields of its output, or functions, that go with it.")
    keeps_data: bool = Field(default=False, description="Nothing is lost.")
    frees_memory: bool = Field(default=True, description="False: it spares the API server, not the node.")
    source: _Source

    @model_validator(mode="after")
    def _says_what_is_lost(self) -> Self:
        if bool(self.loses) == self.keeps_data:
            raise ValueError("say what it `loses`, or that it `keeps_data: true`")
        return self


class ResourceClaim(_Model):
    """What the agent does with one resource. `sources` are those of the claim as a whole."""

    per: Per | None = None
    cases: _Cases
    narrowing: NarrowingOption | None = None
    sources: Annotated[tuple[_Source, ...], Field(min_length=1)]

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


class StackRow(_Model):
    """The client library since a release, for the calibration. Either its source, or why it is assumed."""

    stack: Literal[
        "client-go-streaming", "client-go-list", "kube-rs", "kube-rs-old", "python", "fabric8", "unknown"
    ]
    since: str | None = None
    source: _Source | None = None
    assumed: str | None = None

    @model_validator(mode="after")
    def _known_or_assumed(self) -> Self:
        if (self.source is None) == (self.assumed is None):
            raise ValueError("needs a `source`, or `assumed` with the reason")
        if self.since is not None and parse_version(self.since) is None:
            raise ValueError(f"since {self.since!r} is not a version such as 0.42.0")
        return self


class Entry(_Model):
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

    def stack(self, version: Version | None) -> str | None:
        """The client stack of a release; of the newest where the version is unknown."""
        best: tuple[Version, str] | None = None
        for row in self.stacks:
            since = parse_version(row.since or "") or ()
            if (version is None or since <= version) and (best is None or since >= best[0]):
                best = (since, row.stack)
        return best[1] if best and best[1] != "unknown" else None
