"""Whether a catalogue condition holds: yes, no, or cannot be known and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from watchbudget.demand.catalogue_conditions import Condition, Lookup
from watchbudget.demand.catalogue_model import Case
from watchbudget.demand.configuration import NOT_SET, Configuration, Setting
from watchbudget.demand.images import Version, parse_version

__all__ = ["Facts", "Possible", "possible_cases"]


class Facts(Struct, frozen=True):
    """What conditions are asked of: the release, the configuration, and the component at hand, if any."""

    version: str | None
    configuration: Configuration
    options: Mapping[str, str | None] | None = None

    @property
    def release(self) -> Version | None:
        """The version as numbers."""
        return parse_version(self.version or "")


class Possible(Struct, frozen=True):
    """The cases that may be the answer, and what is not known. One case and no doubts: that is the answer."""

    cases: tuple[Case, ...]
    doubts: tuple[str, ...] = ()


def possible_cases(cases: Sequence[Case], facts: Facts) -> Possible:
    """The first case that surely holds, with those before it that may."""
    possible: list[Case] = []
    doubts: list[str] = []
    for case in cases:
        unknown: list[str] = []
        for condition in case.when:
            verdict = _holds(condition, facts)
            if verdict is False:
                break
            if verdict is not True:
                unknown.append(verdict)
        else:
            possible.append(case)
            if not unknown:
                break
            doubts += unknown
    return Possible(tuple(possible), tuple(dict.fromkeys(doubts)))


def _holds(condition: Condition, facts: Facts) -> bool | str:
    """True, False, or why it cannot be known."""
    if condition.version is not None:
        if facts.release is None:
            return "the image's tag names no release"
        return condition.version.holds(facts.release)
    if condition.setting is not None:
        found = _look_up(condition.setting, facts.configuration)
        if found.hidden:
            return found.hidden
        value = (
            found.value
            if found.value is not None or condition.present is not None
            else condition.setting.default
        )
        return _compare(condition, value)
    option = condition.option or ""
    options = facts.options or {}
    if option in options and options[option] is None and condition.present is None:
        return f"option {option} is set to something only the running agent knows"
    value = options.get(option)
    return _compare(
        condition,
        condition.default if value is None and condition.present is None else value,
        option in options,
    )


def _compare(condition: Condition, value: str | None, given: bool | None = None) -> bool:  # noqa: FBT001 - a fact, not a mode
    if condition.present is not None:
        return condition.present == (value is not None if given is None else given)
    text = (value if value is not None else "").strip().lower()
    if condition.is_ is not None:
        return text in condition.is_
    return text not in (condition.is_not or ())


def _look_up(lookup: Lookup, configuration: Configuration) -> Setting:
    """The first place that has it, unless one before it is hidden."""
    return (
        (lookup.arg and _first(configuration.argument, lookup.arg))
        or (lookup.env and _first(configuration.variable, lookup.env))
        or (lookup.key and _first(configuration.key, lookup.key))
        or NOT_SET
    )


def _first(find: Callable[[str], Setting], names: Sequence[str]) -> Setting | None:
    hidden = None
    for name in names:
        setting = find(name)
        if setting.value is not None:
            return setting
        if setting.hidden and hidden is None:
            hidden = setting
    return hidden
