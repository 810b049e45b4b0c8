"""Times as Kubernetes writes them (`metav1.Duration`, Go's `time.ParseDuration`): `5m`, `1h30m`, `250ms`."""

from __future__ import annotations

import math
import re

__all__ = ["format_duration", "parse_duration"]

_LONGEST = 64
_PART = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_PARTS = re.compile(_PART)
_WHOLE = re.compile(rf"\+?(?:{_PART})+")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_SECONDS = (2**63 - 1) / 1e9  # Go counts nanoseconds in an int64: some 292 years


def parse_duration(text: str) -> float:
    """Read a duration into seconds.

    Raises:
        ValueError: not a duration, negative (nothing here lasts less than no time), or
            longer than Go can count.
    """
    if not isinstance(text, str):
        raise ValueError(  # noqa: TRY004 - one error for everything that is no duration
            f"{text!r:.64} is not a duration; write one such as 5m, 1h30m or 250ms"
        )
    if text in {"0", "+0"}:
        return 0.0
    if len(text) > _LONGEST or not _WHOLE.fullmatch(text):
        if text.startswith("-") and _WHOLE.fullmatch(text[1 : _LONGEST + 1]):
            raise ValueError(f"{text!r:.64} is negative")
        hint = f"; write {text}s for seconds" if re.fullmatch("[0-9]{1,9}", text) else ""
        raise ValueError(f"{text!r:.64} is not a duration{hint or '; write one such as 5m, 1h30m or 250ms'}")
    # fsum: ten parts of 0.1s are one second
    seconds = math.fsum(float(number) * _SECONDS[unit] for number, unit in _PARTS.findall(text))
    if seconds > _MAX_SECONDS:
        raise ValueError(f"{text!r} is longer than a duration can be (292 years)")
    return seconds


def format_duration(seconds: float) -> str:
    """Write seconds as a duration, to the millisecond: `1h30m`, `5m`, `250ms`, `0s`.

    Raises:
        ValueError: negative, infinite or not a number.
    """
    if not 0 <= seconds <= _MAX_SECONDS:
        raise ValueError(f"{seconds!r} is not a duration in seconds")
    rest = round(seconds * 1000)
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
