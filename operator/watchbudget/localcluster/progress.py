"""Progress on standard error: a living line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Progress", "silent", "stderr_progress"]

QUIET_SECONDS = 15.0
"""On a log file: rare enough not to flood it, often enough that nobody takes a cold build for a hang."""


class Progress:
    """Says what is being done; see `stderr_progress`."""

    def __call__(self, text: str) -> None:
        """Show ``text`` as the present state; may be called often."""


def silent() -> Progress:
    """Return a progress that shows nothing."""
    return Progress()


class _Lines(Progress):
    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= QUIET_SECONDS:
            self._last = now
            print(text, file=sys.stderr, flush=True)


class _Status(Progress):
    def __init__(self, update: Callable[[str], None]) -> None:
        self._update = update

    def __call__(self, text: str) -> None:
        self._update(text)


@contextlib.contextmanager
def stderr_progress() -> Iterator[Progress]:
    """Yield a progress fit for what standard error is."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console  # noqa: PLC0415 - rich is slow to import and seldom needed here

    with Console(stderr=True).status("") as status:
        yield _Status(status.update)
