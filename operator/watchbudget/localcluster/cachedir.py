"""Where things that outlive one run are kept, and the lock that two runs share."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["cache_root", "exclusive_lock"]


def cache_root() -> Path:
    """Return the cache directory: ``$WATCHBUDGET_CACHE``, else ``watchbudget`` below the XDG cache directory.

    The directory need not exist yet. A relative ``XDG_CACHE_HOME`` is ignored, as the XDG base directory
    specification demands.
    """
    if own := os.environ.get("WATCHBUDGET_CACHE"):
        return Path(own).expanduser().absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "watchbudget"


@contextlib.contextmanager
def exclusive_lock(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file ``path``; the kernel drops it when this process ends, in whatever way.

    Args:
        path: The lock file, made where it does not exist and never removed: removing it would let two
            processes hold locks on two different files of the same name.
        on_wait: Called once if another process holds the lock, before waiting for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
