"""Cleans up after a parent that could not: run as a script, beside every cluster that lives in a `with`.

The parent holds the other end of our standard input. However it ends, kill -9 included, the kernel closes
that pipe; then every process of our process group (the cluster's, which join it at birth) is killed and the
state directory removed. Better than PR_SET_PDEATHSIG, which fires when the *thread* that started a child
ends, and needs code between fork and exec, which is not safe in a process with threads.

Nothing but the standard library: it must start fast and stay small.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

DONE = b"done\n"
"""What the parent says when it has cleaned up itself."""


def main(state_directory: str | None) -> None:
    """Wait for the parent's word or its end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read().endswith(DONE):
        return
    group = os.getpgrp()
    if group != os.getpid() or os.fork() > 0:  # the first cannot be; it would kill strangers
        time.sleep(60)  # until our child kills the group, us included
        return
    os.setsid()  # out of the group that is about to be killed
    os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while state_directory is not None and Path(state_directory).exists() and time.monotonic() < deadline:
        shutil.rmtree(state_directory, ignore_errors=True)  # again while somebody dying still writes
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
