"""The conditions of a catalogue entry as data: signs of an agent, settings, options and releases.

docs/catalogue.md explains them to people who write their own entries.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from watchbudget.demand.images import Version, parse_version
from watchbudget.demand.model import Watches

__all__ = ["Answer", "Condition", "Lookup", "Model", "Sign", "Source", "VersionRange", "Words"]

_VERSION = re.compile(r"(>=|<)\s*(\S+)")


class Model(BaseModel):
    """What every part of an entry is: immutable, and without keys that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _yes_no(value: object) -> object:
    """YAML 1.1 reads `yes` and `no` as booleans; here they are words."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _scalar_text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool | int) else value


_Word = Annotated[str, Field(min_length=1), BeforeValidator(_scalar_text)]
Words = Annotated[
    tuple[Annotated[str, BeforeValidator(_scalar_text)], ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,)),
]
Answer = Annotated[Watches, BeforeValidator(_yes_no)]
Source = Annotated[str, Field(min_length=5)]


class VersionRange(Model):
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
        operator, bound = _bound(self.text)
        ours = _padded(version)
        return ours >= bound if operator == ">=" else ours < bound


@cache
def _bound(text: str) -> tuple[str, Version]:
    """The bound taken apart; there are as many as the catalogue has."""
    found = _VERSION.fullmatch(text)
    bound = parse_version(found.group(2)) if found else None
    if found is None or bound is None:
        raise ValueError(f"{text!r} was not validated")
    return found.group(1), _padded(bound)


def _padded(version: Version) -> Version:
    return version + (0,) * (4 - len(version))


class Sign(Model):
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


class Lookup(Model):
    """Where a setting may be given. Flags go before the environment, that before ConfigMap keys."""

    arg: Words = ()
    env: Words = ()
    key: Words = ()
    default: _Word | Literal[""] | None = Field(None, description="What the agent does where nothing is set.")

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not (self.arg or self.env or self.key):
            raise ValueError("needs at least one of arg, env and key")
        return self


class Condition(Model):
    """One thing that must be so: of the version, of a setting, or of an option of the component at hand."""

    version: VersionRange | None = None
    setting: Lookup | None = None
    option: str | None = None
    default: _Word | Literal[""] | None = Field(
        None, description="What an option counts as where it is not set."
    )
    is_: Words | None = Field(None, alias="is", description="Holds for any of these values, in any case.")
    is_not: Words | None = Field(None, description="Holds for any other value.")
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
