"""What a plain scalar of a manifest means, as kubectl understands it.

The rules are those of go.yaml.in/yaml/v2 `resolve.go`, through which kubectl reads manifests: YAML
1.1's many booleans, but no sexagesimal numbers (`1:30` is text) and no dates (kept as text when the
YAML becomes JSON).
"""

from __future__ import annotations

import math
import re

__all__ = ["resolve"]

_WORDS: dict[str, object] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("~", "null", "Null", "NULL")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_HINTS = frozenset("yYnNtTfFoO~.+-0123456789")
_NUMBER_HINTS = frozenset(".+-0123456789")
_INTEGER = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES = (16, 2, 8, 10)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_INTEGER = 70  # -0b and 64 digits; beyond it Go does not see an integer either


def resolve(text: str) -> object:
    """What a plain scalar without tag means: None, a boolean, a number or, mostly, the text itself."""
    if not text:
        return None
    hint = text[0]
    if hint not in _HINTS:
        return text
    if text in _WORDS:
        return _WORDS[text]
    return _number(text) if hint in _NUMBER_HINTS else text


def _number(text: str) -> object:
    plain = text.replace("_", "")
    if len(plain) <= _LONGEST_INTEGER and (match := _INTEGER.fullmatch(plain)):
        digits, base = next(pair for pair in zip(match.groups()[1:], _BASES, strict=True) if pair[0])
        integer = int(match[1] + digits, base)
        if -(2**63) <= integer < 2**64:
            return integer
    number = float(plain) if _FLOAT.fullmatch(plain) else math.inf
    return text if math.isinf(number) else number
