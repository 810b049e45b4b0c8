"""What a rule is: a name, a meaning, and a pure check. Every caller goes through the same list of them."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from watchbudget.policy.context import Context
from watchbudget.policy.model import Action, Remedy

__all__ = ["Material", "Rule"]


class Material(Struct, frozen=True):
    """What a check found: one sentence, what to do about it, and the bytes that would free on all nodes.

    `weight` says how bad it is by what belongs to the DaemonSet itself, in the rule's own units: a change
    of the DaemonSet makes the finding worse when any of the numbers grows.
    """

    message: str
    remedy: Remedy
    freed_bytes: int = 0
    weight: tuple[int, ...] = ()


class Rule(Struct, frozen=True):
    """A named check.

    `default_action` is the highest step of the ladder that the rule takes by itself; a budget
    that names the rule may go further. `check` is asked only about DaemonSets that watch something,
    and says None where there is nothing to say.
    """

    id: str
    meaning: str
    default_action: Action
    why: str
    fix: str
    check: Callable[[Context], Material | None]

    def page(self) -> str:
        """The rule explained, as `watchbudget rules NAME` prints it."""
        return (
            f"{self.id}: {self.meaning}\n\n"
            f"Why: {self.why}\n\n"
            f"Fix: {self.fix}\n\n"
            f"{self._reach()} To change that for one budget:\n\n"
            f'  spec: {{enforcement: {{rules: [{{name: {self.id}, action: "{self._example()}"}}]}}}}\n\n'
            "To accept it for one DaemonSet, with a reason and perhaps an end, use spec.exemptions."
        )

    def _reach(self) -> str:
        if self.default_action is Action.OFF:
            return "It is off unless a budget names it."
        return f"It acts as the budget's enforcement.action says, up to {self.default_action}."

    def _example(self) -> Action:
        return Action.WARN if self.default_action is Action.OFF else Action.OFF
