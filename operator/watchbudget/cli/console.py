"""What every command prints through: data on stdout, everything else on stderr.

Colours appear only on a terminal and never where NO_COLOR is set: rich sees to both.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console

__all__ = ["EXIT_CLEAN", "EXIT_FAILED", "EXIT_FINDINGS", "FailedError", "Progress", "err", "out", "progress"]

EXIT_CLEAN = 0
EXIT_FINDINGS = 1
EXIT_FAILED = 2


class FailedError(click.ClickException):
    """The command could not do its work: the message says why and what to do; exit code 2."""

    exit_code = EXIT_FAILED


_QUIET_SECONDS = 2.0
"""How long something may take before a person wants to know that it still runs."""


def out() -> Console:
    """The console for data."""
    return Console(highlight=False)


def err() -> Console:
    """The console for progress, notes and errors."""
    return Console(stderr=True, highlight=False)


class Progress(Protocol):
    """Called with a stage in words, how much is done and, where known, of how much."""

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """Show it."""


@contextmanager
def progress() -> Iterator[Progress]:
    """A callback that shows progress on stderr: a live line on a terminal, now and then a line elsewhere."""
    console = err()
    if console.is_terminal:
        with console.status("") as status:
            yield lambda stage, done=0, total=None: status.update(_line(stage, done, total))
        return
    last = time.monotonic()

    def report(stage: str, done: int = 0, total: int | None = None) -> None:
        nonlocal last
        if time.monotonic() - last >= _QUIET_SECONDS:
            last = time.monotonic()
            print(_line(stage, done, total), file=sys.stderr, flush=True)

    yield report


def _line(stage: str, done: int, total: int | None) -> str:
    if total:
        return f"{stage}: {done:,} of {total:,}"
    return f"{stage}: {done:,}" if done else stage
