"""Free ports on the loopback interface."""

from __future__ import annotations

import contextlib
import socket

__all__ = ["LOOPBACK", "free_ports"]

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports that were free a moment ago.

    Held together before any is given back, so that they differ. Somebody else may still take one before it
    is used; whoever uses them must be ready to ask again.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]
