"""Whether a DaemonSet can be judged by what is in memory, and a short wait where it cannot.

`kubectl apply -f` of a whole agent sends its role, its ConfigMap and its DaemonSet within a tenth of a
second. Judged by what was known before, a bad agent would pass its first creation, and later updates could
not be denied: it would be in violation already. So the answer about a DaemonSet whose surroundings are new
waits for one judgement that looked for them: never long, and never twice in a row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from watchbudget.controller.judging import Judged
from watchbudget.controller.reading import Around
from watchbudget.controller.review import AdmissionRequest
from watchbudget.controller.store import Key, Store
from watchbudget.inventory.names import possible
from watchbudget.inventory.references import config_map_references

__all__ = ["LONGEST", "Freshness"]

LONGEST = 1.0
"""Seconds that one answer waits, of the webhooks' timeout of 3. On an idle machine it takes 0.2."""

WATCH_DELAY = 0.1
"""Seconds in which a role that was created just before the DaemonSet reaches us by its watch."""

CONFIGURATION_HOLDS = 0.3
"""Seconds for which a ConfigMap's content counts when somebody is refused or warned because of it: who was
refused corrects it and comes again."""

AGAIN_AFTER = 2.0
"""Seconds in which what was looked for in vain is not looked for again: by the second webhook, or a retry."""

_MOST_WAITED = 1000


class Freshness:
    """Asks for newer judgements and waits for them. Lives in the event loop that answers."""

    def __init__(
        self,
        store: Store,
        judged: Callable[[], Judged | None],
        expect: Callable[[Key, Around], None],
        hurry: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            store: what the watches tell.
            judged: gives the newest judgement.
            expect: asks for one that knows what is around a DaemonSet.
            hurry: asks for one.
            clock: seconds that only ever grow.
        """
        self._store = store
        self._judged = judged
        self._expect = expect
        self._hurry = hurry
        self._clock = clock
        self._newer = asyncio.Event()
        self._waited: dict[Key, float] = {}
        self._asked: tuple[AdmissionRequest | None, Around | None] = None, None

    def published(self) -> None:
        """There is a new judgement."""
        self._newer.set()
        self._newer = asyncio.Event()

    def wanting(self, request: AdmissionRequest) -> Around | None:
        """What has to be known and is not; None if the request can be answered at once."""
        judged, around = self._judged(), self._around(request)
        if judged is None or around is None:
            return None
        if (
            self._store.rbac_is(judged.view.rbac)
            and all(thing in judged.known for thing in around.things())
            # Who is deleted and created again is bound again a moment before: roles reach us by a watch.
            and (request.operation == "UPDATE" or around.account not in judged.unbound)
        ):
            return None
        key = request.namespace, _name(request)
        if self._clock() - self._waited.get(key, float("-inf")) < AGAIN_AFTER:
            return None
        return around

    def outdated(self, request: AdmissionRequest) -> Around | None:
        """What to look at again before somebody is refused by it; None if it was read just now.

        Only for requests of which nothing is `wanting`.
        """
        judged, around = self._judged(), self._around(request)
        if judged is None or around is None:
            return None
        oldest = self._clock() - CONFIGURATION_HOLDS
        if all(judged.known.get(("config", key), oldest) >= oldest for key in around.config_maps):
            return None
        return around

    def _around(self, request: AdmissionRequest) -> Around | None:
        """The same for both questions about one request."""
        if self._asked[0] is not request:
            self._asked = request, _around(request)
        return self._asked[1]

    async def wait(self, request: AdmissionRequest, around: Around) -> None:
        """Wait until it is known, or for `LONGEST`."""
        key = request.namespace, _name(request)
        if len(self._waited) >= _MOST_WAITED:
            self._waited.clear()
        if await self._newer_judgement(lambda: self._expect(key, around), lambda new: key in new.expected):
            self._waited[key] = self._clock()

    def role_unknown(self, request: AdmissionRequest) -> bool:
        """Whether a ClusterRoleBinding hands out a role that nobody has told us of: it may be new."""
        judged = self._judged()
        reference = (request.object or {}).get("roleRef")
        name = reference.get("name") if isinstance(reference, dict) else None
        return judged is not None and all(role.name != name for role in judged.view.rbac.roles)

    async def wait_for_role(self) -> None:
        """Wait for a judgement that knows today's roles, or for `LONGEST`."""
        await self._newer_judgement(self._hurry, lambda _: True)

    async def _newer_judgement(self, ask: Callable[[], None], fits: Callable[[Judged], bool]) -> bool:
        """Wait for a judgement that was begun after it was asked for; whether it came in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST):
                await asyncio.sleep(WATCH_DELAY)
                newer, asked = self._newer, self._clock()
                ask()
                while True:
                    await newer.wait()
                    newer, judged = self._newer, self._judged()
                    if judged is not None and judged.began >= asked and fits(judged):
                        return True
        return False


def _around(request: AdmissionRequest) -> Around | None:
    """What a judgement of the DaemonSet rests on; None for an object of odd shape."""
    if request.object is None or request.operation not in ("CREATE", "UPDATE"):
        return None
    try:
        pod = request.object["spec"]["template"]["spec"] if "spec" in request.object else {}
        account = pod.get("serviceAccountName") or pod.get("serviceAccount") or "default"
        references = config_map_references(request.object)
    except (AttributeError, TypeError, KeyError, RecursionError):
        return None
    namespace = request.namespace
    if not isinstance(account, str) or not possible(account) or not possible(namespace):
        return None
    maps = {(namespace, name): optional for name, optional in references.items() if possible(name)}
    return Around(namespace, (namespace, account), maps)


def _name(request: AdmissionRequest) -> str:
    if request.name:
        return request.name
    metadata = (request.object or {}).get("metadata")
    return str(metadata.get("generateName", "")) if isinstance(metadata, dict) else ""
