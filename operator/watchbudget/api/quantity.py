"""Sizes as Kubernetes writes them: `64Mi`, `1.5Gi`, `2e6`, read into bytes and shown to people.

The grammar is that of `resource.Quantity`:
https://github.com/kubernetes/apimachinery/blob/v0.36.3/pkg/api/resource/quantity.go
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["MAX_BYTES", "format_bytes", "format_quantity", "parse_quantity", "round_two_digits"]

MAX_BYTES = 2**63 - 1
"""What larger sizes are capped at. Kubernetes' own `Quantity.Value()` is an int64 too."""

_LONGEST = 64
"""Digits are arithmetic: a megabyte of nines must not keep us busy. Real quantities have ten characters."""

_SYNTAX = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?"
    r"(?:(?P<unit>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]+))?"
)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_UNITS = ("", *_BINARY)

_FAR = 200
"""A power of ten beyond every quantity of 64 characters: larger exponents change nothing any more."""


def parse_quantity(value: str | float) -> int:
    """Read a quantity into bytes, fractions rounded up (away from zero) as `Quantity.Value()` does.

    JSON numbers are quantities too (`memory: 1073741824`, even `1.5e9`). Sizes beyond int64 are
    capped at MAX_BYTES. What has a sign keeps it: whether a negative size makes sense is
    the caller's question. Unlike Kubernetes, text without any digit (`Ki`) is not zero.

    Raises:
        ValueError: not a quantity; the message says what it was and how one is written.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(  # noqa: TRY004 - one error for everything that is no quantity
            f"{_shown(value)} is not a quantity; write a size such as 64Mi"
        )
    if isinstance(value, int):
        return max(-MAX_BYTES, min(MAX_BYTES, value))
    text = value if isinstance(value, str) else repr(value)
    match = _SYNTAX.fullmatch(text) if len(text) <= _LONGEST else None
    if not match or not (match["whole"] or match["fraction"]):
        raise ValueError(f"{_shown(text)} is not a quantity; write {_suggestion(text)}")
    fraction = match["fraction"] or ""
    unit = match["unit"] or ""
    digits = int(match["whole"] + fraction) << _BINARY.get(unit, 0)
    power = int(match["exponent"] or _DECIMAL.get(unit, 0)) - len(fraction)
    scale = int(10 ** min(abs(power), _FAR))
    size = min(digits * scale if power >= 0 else -(-digits // scale), MAX_BYTES)
    return -size if match["sign"] == "-" else size


def round_two_digits(number: int) -> int:
    """Round to two significant digits, so that figures in status do not change with every object."""
    digits = len(str(abs(number)))
    return round(number, 2 - digits) if digits > 2 else number


@lru_cache(maxsize=4096)
def format_bytes(size: int) -> str:
    """A size for people, in binary units: `6.5 MiB`, `64 MiB`, `512 B`.

    Below ten units one decimal is shown, unless the size is a whole number of them.
    """
    number, unit = _in_units(size)
    decimals = 1 if round(abs(number), 1) < 10 and number != int(number) else 0
    return f"{number:.{decimals}f} {unit}B"


def format_quantity(size: int) -> str:
    """A size as Kubernetes reads it, rounded to two digits: `6.5Mi`, `640Mi`. For status and annotations."""
    number, unit = _in_units(size)
    rounded = round(number, 1) if abs(number) < 10 else round_two_digits(round(number))
    return f"{rounded:g}{unit}"


def _in_units(size: int) -> tuple[float, str]:
    """The size in the largest unit that leaves at least one of it (after rounding)."""
    number, step = float(size), 0
    while round(abs(number)) >= 1024 and step < len(_UNITS) - 1:
        number, step = number / 1024, step + 1
    return number, _UNITS[step]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def _suggestion(text: str) -> str:
    """What the writer may have meant: `64Mb` and `64 MiB` are the usual slips."""
    slip = re.fullmatch(r"\s*([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([kmgtp])(?:i?b|i)?\s*", text.lower())
    if not slip:
        return "a size such as 64Mi"
    return f"{slip[1]}{slip[2].upper()}i"
