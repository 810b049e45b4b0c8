"""How messages say what was found: short, quoted, and safe for any terminal."""

from __future__ import annotations

__all__ = ["describe", "digits", "shown"]

_LONGEST_SHOWN = 40
"""Characters of a found value or key that a message repeats."""


def describe(value: object) -> str:
    """What a value is, in the words of YAML: `a string ("x")`, `a list`, `null`."""
    match value:
        case None:
            return "null"
        case bool():
            return f"a boolean ({str(value).lower()})"
        case int() | float():
            return f"a number ({_shortened(str(value) if isinstance(value, float) else digits(value))})"
        case str():
            return f"a string ({shown(value)})"
        case list():
            return "a list"
        case _:
            return "a mapping"


def shown(text: str) -> str:
    """Text quoted and escaped for a message, shortened where it is long."""
    return _shortened(repr(text[: _LONGEST_SHOWN + 1]))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def digits(number: int) -> str:
    """A whole number, unless it is absurd."""
    # str() of an int of thousands of digits takes long, or is refused by Python itself.
    return str(number) if number.bit_length() <= 128 else "very large"
