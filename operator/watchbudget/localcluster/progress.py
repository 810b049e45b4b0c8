"""Progress on standard error: a living line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Progress", "silent", "stderr_progress"]

QUIET_SECONDS = 15.0
"""On a log file: rare enough not to flood it, often enough that nobody takes a cold build for a hang."""


Progress: TypeAlias = "Callable[[str], None]"
"""Takes what is being done, as one line; may be called often."""


def silent(_text: str) -> None:
    """Show nothing."""


@contextlib.contextmanager
def stderr_progress() -> Iterator[Progress]:
    """Yield a progress fit for what standard error is."""
    if not sys.stderr.isatty():
        yield _now_and_then()
        return
    from rich.console import Console  # noqa: PLC0415 - rich is slow to import and seldom needed here

    with Console(stderr=True).status("") as status:
        yield status.update


def _now_and_then() -> Progress:
    last = float("-inf")

    def show(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= QUIET_SECONDS:
            last = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    return show
