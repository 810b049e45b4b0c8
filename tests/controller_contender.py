"""Writes to a ConfigMap while it holds a Lease. Arguments: url, CA file, token, namespace, name."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from controller_transport import TokenTransport
from watchbudget.controller.lease import Durations, Elector
from watchbudget.controller.wire import WireError

DURATIONS = Durations(lease=3, renew=2, retry=0.4)


async def main(url: str, ca_file: str, token: str, namespace: str, name: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    path = f"/api/v1/namespaces/{namespace}/configmaps/ledger"
    async with TokenTransport(url, Path(ca_file), token, f"contender-{name}") as transport:
        elector = Elector(transport, namespace, "contested", name, durations=DURATIONS)
        running = asyncio.create_task(elector.run())
        while not stop.is_set():
            if elector.leading():
                patch = {"data": {"writer": name}}
                with contextlib.suppress(WireError):
                    await transport.request(
                        "PATCH",
                        path,
                        patch,
                        content_type="application/merge-patch+json",
                        timeout=elector.grace,
                    )
            await asyncio.sleep(0.02)
        running.cancel()
        await elector.release()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
