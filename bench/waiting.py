"""How every benchmark waits for something to be so."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["wait_until"]


def wait_until(check: Callable[[], bool], what: str, seconds: float) -> None:
    """Ask a few times a second until it is so.

    Raises:
        RuntimeError: It was not so within ``seconds``; names ``what`` was waited for.
    """
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise RuntimeError(f"Not after {seconds:.0f} s: {what}")
        time.sleep(0.2)
