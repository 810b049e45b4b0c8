"""The part of the process that talks to the API server: in a thread and an event loop of its own.

The other part, `process`, answers admission requests and must not wait for anything that happens here.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from watchbudget.controller import serving
from watchbudget.controller.authority import keep_trusting
from watchbudget.controller.client import Client
from watchbudget.controller.judging import Judged, Judging
from watchbudget.controller.lease import Elector
from watchbudget.controller.metrics import OperatorMetrics
from watchbudget.controller.plan import Plan, plan_of
from watchbudget.controller.reading import Around, Reader
from watchbudget.controller.reporting import Reporter
from watchbudget.controller.resync import Resync
from watchbudget.controller.reviews import Reviews
from watchbudget.controller.rollouts import Rollouts
from watchbudget.controller.secret_store import SecretStore
from watchbudget.controller.start_news import StartNews
from watchbudget.controller.store import Key, Store
from watchbudget.controller.tls import service_hosts
from watchbudget.controller.trouble import Trouble
from watchbudget.controller.watching import Watching
from watchbudget.inventory.cluster import OLDEST_SUPPORTED, server_version
from watchbudget.inventory.connection import open_client
from watchbudget.inventory.errors import ClusterError
from watchbudget.inventory.fleet import Problem
from watchbudget.inventory.transport import Api
from watchbudget.policy.phrases import counted

__all__ = ["CannotRunError", "Options", "Worker"]

NAME = "watchbudget"
"""Of the Lease, the Service and the webhook configurations."""

SECRET = "watchbudget-tls"  # noqa: S105 - the name of one

CENSUS_SECONDS = 60.0
"""Between two counts: the API server itself counts once a minute (`--etcd-count-metric-poll-period`)."""

LEADERSHIP_SECONDS = 0.5
"""Between two looks at who leads; writes ask for themselves."""

LONGEST_PAUSE = 30.0

GARBAGE = 20_000
"""New objects between two collections of the youngest; Python's own 700 are one judgement's."""

log = logging.getLogger(__name__)


class CannotRunError(Exception):
    """The process cannot do its work here; the text says why and what to do."""


class Options(Struct, frozen=True):
    """How the process is run; the command's options of the same names say more.

    Attributes:
        kubeconfig: path; None for the usual ones or the pod's own account.
        context: of the kubeconfig.
        namespace: of the Lease, the Secret and the Service.
        identity: by which people know this replica.
        listen: host; None for all interfaces.
        port: of admission.
        probe_port: of probes and metrics.
        serve_as: further names and addresses in our certificate.
        certificates: a folder with `tls.crt` and `tls.key` that someone else renews.
        max_starts: how many pods may start at once in the whole cluster.
        resync: seconds between two full lists.
        drain: seconds of answering after SIGTERM.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str = "watchbudget-system"
    identity: str = "watchbudget"
    listen: str | None = None
    port: int = 9443
    probe_port: int = 8080
    serve_as: tuple[str, ...] = ()
    certificates: Path | None = None
    max_starts: int = 100
    resync: float = 300.0
    drain: float = 5.0


class Worker:
    """Reads, judges and writes until stopped.

    Attributes:
        store: what the watches tell; any thread may ask it.
        judged: the newest judgement; None before the first. Swapped as a whole.
        failed: why the worker ended by itself; None otherwise.
    """

    def __init__(
        self,
        options: Options,
        metrics: OperatorMetrics,
        *,
        load: serving.Load,
        ended: Callable[[], None],
        published: Callable[[], None],
    ) -> None:
        """Prepare; `start` begins.

        Args:
            options: how to run.
            metrics: what is counted.
            load: takes a certificate to serve with, in any thread.
            ended: called once if the worker cannot go on.
            published: called after each judgement.
        """
        self.store = Store(self._changed)
        self.judged: Judged | None = None
        self.failed: CannotRunError | None = None
        self.elector: Elector | None = None
        self._options = options
        self._metrics = metrics
        self._load = load
        self._ended = ended
        self._published = published
        self._judging: Judging | None = None
        self._reader = Reader(refresh=options.resync)
        self._reporter: Reporter | None = None
        self._rollouts: Rollouts | None = None
        self._plan = Plan()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Write nothing more, give the Lease away, and return when that is done."""
        self._stopped.set()
        if self._loop is not None and self._main is not None:
            self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(timeout=15)

    def expect(self, key: Key, around: Around) -> None:
        """Judge soon, and with what this DaemonSet rests on; from any thread."""
        if self._judging is not None:
            self._judging.expect(key, around)

    def hurry(self) -> None:
        """Judge soon; from any thread."""
        if self._judging is not None:
            self._judging.hurry()

    def somebody_leads(self) -> bool:
        """Whether there is anyone to let go of what is held."""
        return self.elector is not None and self.elector.somebody_leads()

    def why_not_ready(self) -> str | None:
        """Why no admission request should be sent here; None if they may."""
        return None if self.judged is not None else "the cluster has not been read yet"

    def _changed(self) -> None:
        if self._judging is not None:
            self._judging.changed()

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except asyncio.CancelledError:
            pass
        except CannotRunError as error:
            self.failed = error
            self._ended()
        except Exception as error:
            log.exception("The worker ended")
            self.failed = CannotRunError(f"internal error: {error}")
            self._ended()

    async def _work(self) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        if self._stopped.is_set():
            return
        where = self._options.kubeconfig, self._options.context
        try:
            # Two, because a request takes an open connection from its client's pool where there is one.
            async with open_client(*where) as (client, server), open_client(*where) as (probing, _):
                await self._connected(client, Client(probing, fresh_connections=True), server)
        except ClusterError as error:
            raise CannotRunError(str(error)) from error

    async def _connected(
        self,
        client: Any,  # noqa: ANN401 - the client is not typed
        probing: Client,
        server: str,
    ) -> None:
        transport = Client(client)

        def open_api() -> Api:
            return Api(client, server)

        await _refuse_old_servers(open_api)
        options = self._options
        elector = self.elector = Elector(
            transport, options.namespace, NAME, options.identity, still_alive=self._starts_are_looked_after
        )
        reader = self._reader
        reporter = self._reporter = Reporter(transport, elector, self._metrics, options.identity)
        self._rollouts = Rollouts(
            transport,
            probing,
            f"/apis/coordination.k8s.io/v1/namespaces/{options.namespace}/leases/{NAME}",
            elector,
            max_starts=options.max_starts,
            news=StartNews(reporter.recorder.event),
            report=reporter.staged,
        )
        self._rollouts.measure(self._metrics.starts)
        self._rollouts.queued = lambda: reporter.queueing.in_force
        judging = Judging(self.store, reader, Reviews(), open_api, self._publish)
        resync = Resync(open_api, self.store, every=options.resync)
        watching = Watching(self.store, client.configuration, ended=self._metrics.watch_restarts.inc)
        jobs: dict[str, Callable[[], Awaitable[None]]] = {
            "lease": lambda: self._lead(elector),
            "certificates": lambda: self._keep_certificates(transport, elector),
            "reporting": reporter.run,
            "starts": self._rollouts.run,
            "leadership": lambda: self._follow_leadership(elector),
        }
        if authority := client.configuration.ssl_ca_cert:  # else the system's, or nobody is asked for
            # kopf's session read the file when it was made, and asks on and on by what it knows.
            contexts = transport.tls, probing.tls
            jobs["authority"] = lambda: keep_trusting(Path(authority), contexts, watching.restart)
        tasks = [asyncio.create_task(_keep(name, job)) for name, job in jobs.items()]
        try:
            await self._fill(resync, open_api, reader)
            self._judging = judging
            watching.start()
            tasks += [
                asyncio.create_task(_keep("judging", judging.run)),
                asyncio.create_task(_keep("resync", lambda: resync.run(watching))),
                asyncio.create_task(_keep("census", lambda: self._count(open_api, reader, judging))),
            ]
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.shield(elector.release())
            await asyncio.to_thread(watching.stop)

    async def _fill(self, resync: Resync, open_api: Callable[[], Api], reader: Reader) -> None:
        """The first full list and count: before them there is nothing to judge by."""
        pause, trouble = 1.0, Trouble(log)
        while True:
            try:
                await resync.fill()
                await reader.read_census(open_api(), self.store.view())
            except ClusterError as error:
                trouble.tell("The cluster cannot be read yet", error)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                return

    async def _count(self, open_api: Callable[[], Api], reader: Reader, judging: Judging) -> None:
        trouble = Trouble(log)
        while True:
            await asyncio.sleep(CENSUS_SECONDS)
            before = reader.census
            try:
                await reader.read_census(open_api(), self.store.view())
                trouble.over()
            except ClusterError as error:
                trouble.tell("The census is as old as it was", error)
            if reader.census is not before:
                judging.changed()

    async def _keep_certificates(self, transport: Client, elector: Elector) -> None:
        options = self._options
        if options.certificates is not None:
            await serving.keep_from_files(options.certificates, self._load)
            return
        hosts = service_hosts(NAME, options.namespace, options.serve_as)
        store = SecretStore(transport, options.namespace, SECRET, hosts, may_write=elector.leading)
        await serving.keep_from_secret(store, transport, elector.leading, self._load)

    async def _lead(self, elector: Elector) -> None:
        """Take part in the election as soon as the pods that wait are known."""
        while not self._starts_are_looked_after():  # noqa: ASYNC110 - a clock says so, not an event
            await asyncio.sleep(0.05)
        await elector.run()

    def _starts_are_looked_after(self) -> bool:
        """Whether this replica may lead: who leads must be able to let go of what is held."""
        return self._rollouts is not None and self._rollouts.progressing()

    async def _follow_leadership(self, elector: Elector) -> None:
        """Whoever begins to lead reports what it has judged; whoever ends forgets what it wanted to write."""
        led = False
        while True:
            leads = elector.leading()
            self._metrics.leading.set(leads)
            self._metrics.leader_known.set(elector.somebody_leads())
            if self._reporter is not None:
                self._metrics.queued.set(len(self._reporter.queueing.in_force))
            if leads and not led:
                await self._report()
            elif led and not leads and self._reporter is not None:
                self._reporter.forget()
            led = leads
            await asyncio.sleep(LEADERSHIP_SECONDS)

    async def _report(self) -> None:
        if self.judged is not None and self._reporter is not None:
            self._reporter.queueing.want(self._plan.queue)
            await self._reporter.report(
                self.judged.audit,
                self.judged.view,
                census_age=self._reader.census_age,
                staging=self._rollouts.observed() if self._rollouts is not None else None,
            )

    async def _publish(self, judged: Judged) -> None:
        first = self.judged is None
        if first:
            # What is loaded by now stays. A full collection that walks all of it stops every thread, the
            # answering one too, for a tenth of a second.
            gc.collect()
            gc.freeze()
            gc.set_threshold(GARBAGE)
        self.judged = judged
        self._published()
        self._plan = plan_of(judged.snapshot.bench.appraisals, judged.view.budgets)
        if self._rollouts is not None:
            self._rollouts.carry(self._plan)
        self._metrics.judged(judged.audit, seconds=judged.seconds, at=time.time())
        if self._reader.census_age is not None:
            self._metrics.last_census.set(time.time() - self._reader.census_age)
        if self.elector is not None and self.elector.leading():
            await self._report()
        if first:
            daemon_sets = counted(len(judged.audit.judgements), "DaemonSet")
            log.info("%s judged by %s", daemon_sets, counted(len(judged.view.budgets), "budget"))


async def _refuse_old_servers(open_api: Callable[[], Api]) -> None:
    """Wait for the server, and refuse what is older than we can rely on."""
    pause, trouble = 1.0, Trouble(log)
    while True:
        problems: list[Problem] = []
        try:
            version = await server_version(open_api(), problems)
        except ClusterError as error:
            trouble.tell("The server cannot be asked for its version yet", error)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)
            continue
        if version is not None and version < OLDEST_SUPPORTED:
            raise CannotRunError(
                f"the server runs Kubernetes {version[0]}.{version[1]}; the operator needs "
                f"{OLDEST_SUPPORTED[0]}.{OLDEST_SUPPORTED[1]} or newer (`watchbudget audit` does not)"
            )
        return


async def _keep(name: str, job: Callable[[], Awaitable[None]]) -> None:
    """Run a job that should never end, and start it again if it does: one fault must not stop the others."""
    pause = 1.0
    while True:
        began = time.monotonic()
        try:
            await job()
            log.error("%s ended; it starts again", name)
        except Exception:
            log.exception("%s failed; it starts again", name)
        pause = 1.0 if time.monotonic() - began > 60 else min(LONGEST_PAUSE, pause * 2)
        await asyncio.sleep(pause)
