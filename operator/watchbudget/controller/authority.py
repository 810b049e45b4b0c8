"""By whom the API server is vouched for, read again while the process runs.

The client reads the authority's file once. Where a cluster's authority is rotated, kubelet writes the new one
into the pod's files, and a process that does not look there is cut off until it is started again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from watchbudget.controller.trouble import Trouble

__all__ = ["keep_trusting"]

INTERVAL = 10.0
"""Seconds between two looks: kubelet itself takes up to a minute or two."""

log = logging.getLogger(__name__)


async def keep_trusting(
    file: Path, contexts: Sequence[ssl.SSLContext], changed: Callable[[], object] = lambda: None
) -> None:
    """Have connections that are opened from now on trust what is in the file, until cancelled.

    What was trusted before is trusted until the process ends: a rotation has both for a while anyway.

    Args:
        file: certificates of authorities in PEM, which the contexts trust as of now.
        contexts: of this event loop's clients.
        changed: called then, for whoever reads the file by itself.
    """
    known, trouble = None, Trouble(log)
    while True:
        try:
            found = await asyncio.to_thread(file.read_text, "ascii")
            if found != known:
                for context in contexts:
                    context.load_verify_locations(cadata=found)
                if known is not None:
                    changed()
                    log.info("The API server's authority has changed: %s was read again", file)
                known = found
            trouble.over()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            trouble.tell(f"The API server's authority in {file} cannot be used", error)
        await asyncio.sleep(INTERVAL)
