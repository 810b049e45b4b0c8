"""Keeps the admission server's certificate: from our Secret, or from files that someone else renews."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from watchbudget.controller.secret_store import SecretStore, publish
from watchbudget.controller.trouble import Trouble
from watchbudget.controller.wire import Transport, WireError

__all__ = ["CONFIGURATIONS", "keep_from_files", "keep_from_secret"]

CONFIGURATIONS = (
    ("mutatingwebhookconfigurations", "watchbudget"),
    ("validatingwebhookconfigurations", "watchbudget"),
)
"""What the manifests call our webhooks; their CA bundle is ours to fill in."""

INTERVAL = 15.0
"""Seconds between two looks: a Secret that was deleted or a webhook configuration that was applied anew is
put right within that time, and meanwhile what is served stays good."""

EAGER = 1.0
"""Seconds between two looks while there is no certificate yet."""

Load = Callable[[bytes, bytes], None]
"""Takes chain and key in PEM; from any thread."""

log = logging.getLogger(__name__)


async def keep_from_secret(
    store: SecretStore, transport: Transport, leading: Callable[[], bool], load: Load
) -> None:
    """Read the Secret again and again, hand over what is new, and make the CA bundle known. Until cancelled.

    A bundle is published before the Secret is taken a step further, and after: see `SecretStore.ensure`.
    """
    served: tuple[bytes, bytes] | None = None
    astray: list[str] = []
    trouble = Trouble(log)
    while True:
        try:
            if store.bundle is not None and leading():
                found = await publish(
                    transport, CONFIGURATIONS, store.namespace, store.bundle.ca_certificates, leading
                )
                for why in found:
                    if why not in astray:
                        log.warning("%s", why)
                astray = found
            before = store.bundle
            bundle = await store.ensure()
            if bundle is not None and (bundle.certificate, bundle.key) != served:
                load(bundle.certificate, bundle.key)
                served = bundle.certificate, bundle.key
            if bundle != before and bundle is not None:
                continue  # publish it at once
            trouble.over()
        except WireError as error:
            trouble.tell("Certificates", error)
        await _pause(EAGER if served is None else INTERVAL, leading)


async def _pause(seconds: float, leading: Callable[[], bool]) -> None:
    """Wait, but not on when this replica begins to lead: the CA bundle is its to publish from then on."""
    led = leading()
    while seconds > 0 and (led or not leading()):
        await asyncio.sleep(min(seconds, EAGER))
        seconds -= EAGER


async def keep_from_files(folder: Path, load: Load) -> None:
    """Hand over `tls.crt` and `tls.key` of a folder whenever they change, until cancelled.

    They are read as one: a volume of a Secret is exchanged as a whole, by a link. What does not belong
    together is not served; what was served before is, until they change again.
    """
    served: Sequence[bytes] = ()
    trouble = Trouble(log)
    while True:
        try:
            found = (folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes()
            if found != served:
                load(*found)
                served = found
            trouble.over()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            trouble.tell(f"The certificate in {folder} cannot be used", error)
        await asyncio.sleep(INTERVAL if served else EAGER)
