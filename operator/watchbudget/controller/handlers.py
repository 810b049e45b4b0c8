"""What answers at each path of the admission server: from memory, or after a short wait for news."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from watchbudget.controller.admission import Snapshot, mutate, validate
from watchbudget.controller.announced import Announced
from watchbudget.controller.bindings import warn_of_binding
from watchbudget.controller.freshness import Freshness
from watchbudget.controller.pod_admission import hold
from watchbudget.controller.reading import Around
from watchbudget.controller.review import AdmissionRequest, AdmissionResponse
from watchbudget.controller.server import Handler

__all__ = ["Handlers"]

Answer = AdmissionResponse | Awaitable[AdmissionResponse]
_Judge = Callable[[AdmissionRequest, Snapshot | None], AdmissionResponse]


class Handlers:
    """Joins the pure decisions with the newest judgement. Lives in the event loop that answers."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot | None],
        fresh: Freshness,
        announced: Announced,
        somebody_leads: Callable[[], bool],
    ) -> None:
        """Prepare.

        Args:
            snapshot: gives the newest one.
            fresh: knows when it is not new enough.
            announced: told of every DaemonSet that is let in.
            somebody_leads: whether there is anyone to let go of what is held.
        """
        self._snapshot = snapshot
        self._fresh = fresh
        self._announced = announced
        self._somebody_leads = somebody_leads

    def by_path(self) -> dict[str, Handler]:
        """The handlers, by the paths that the manifests name."""
        return {
            "/mutate-daemonsets": self.mutate_daemon_set,
            "/validate-daemonsets": self.validate_daemon_set,
            "/validate-clusterrolebindings": self.validate_binding,
            "/mutate-pods": self.mutate_pod,
        }

    def mutate_daemon_set(self, request: AdmissionRequest) -> Answer:
        """Annotate and cap."""
        around = self._fresh.wanting(request)
        return self._now(mutate, request) if around is None else self._later(mutate, request, around)

    def validate_daemon_set(self, request: AdmissionRequest) -> Answer:
        """Warn or deny; nobody by a ConfigMap that may have been mended meanwhile."""
        around = self._fresh.wanting(request)
        if around is None:
            response = self._validate(request, self._snapshot())
            if response.allowed and not response.warnings:
                return response
            around = self._fresh.outdated(request)
            if around is None:
                return response
        return self._later(self._validate, request, around)

    def validate_binding(self, request: AdmissionRequest) -> Answer:
        """Warn of what a ClusterRoleBinding hands out."""
        if not self._fresh.role_unknown(request):
            return self._now(warn_of_binding, request)

        async def later() -> AdmissionResponse:
            await self._fresh.wait_for_role()
            return self._now(warn_of_binding, request)

        return later()

    def mutate_pod(self, request: AdmissionRequest) -> Answer:
        """Hold the pod until it has a permit."""
        return hold(request, self._snapshot(), self._announced.newest, self._somebody_leads)

    def _validate(self, request: AdmissionRequest, snapshot: Snapshot | None) -> AdmissionResponse:
        response = validate(request, snapshot)
        self._announced.note(request, response)
        return response

    def _now(self, judge: _Judge, request: AdmissionRequest) -> AdmissionResponse:
        return judge(request, self._snapshot())

    async def _later(self, judge: _Judge, request: AdmissionRequest, around: Around) -> AdmissionResponse:
        await self._fresh.wait(request, around)
        return self._now(judge, request)
