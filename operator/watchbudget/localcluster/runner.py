"""Starts components, waits until they work, and ends them by the handles it holds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from watchbudget.localcluster.client import ApiClient
from watchbudget.localcluster.errors import ComponentError, PortInUseError
from watchbudget.localcluster.process import ProcessId, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watchbudget.localcluster.components import Component, Layout

__all__ = ["Runner"]

HEALTHY_WITHIN = 60.0
"""Seconds; usually three are enough, but not on a machine that is busy with other things."""

ANSWER_WITHIN = 2.0
"""Seconds for one health check: whoever took our port may take the connection too, and never answer."""

TAIL_LINES = 25


class Runner:
    """The processes of one cluster."""

    def __init__(self, layout: Layout, components: Mapping[str, Component], *, group: int) -> None:
        """Remember; nothing is started yet.

        Args:
            layout: For the log files.
            components: By name.
            group: The process group they join, so that the watchdog can end them, and Ctrl-C does not.
        """
        self._layout = layout
        self._components = components
        self._group = group
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """Start components at once and wait until each is healthy.

        Raises:
            ComponentError: One died or stayed unhealthy; the text ends with its last log lines.
            PortInUseError: One found its port taken.
        """
        for name in names:
            self._spawn(self._components[name])
        for name in names:
            self._wait_healthy(self._components[name])

    def kill(self, *names: str) -> None:
        """End components with SIGKILL and wait for their end; those that do not run are fine.

        SIGKILL, because nothing of their state is kept, and a graceful API server waits for its watchers.
        """
        ended = [process for name in names if (process := self._running.pop(name, None)) is not None]
        for process in ended:
            process.kill()  # of a child not yet waited for, so the id is still its own
        for process in ended:
            process.wait()

    def kill_all(self) -> None:
        """End everything, clients before servers."""
        self.kill(*reversed(self._running))

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a running component."""
        self._process(name).send_signal(number)

    def identities(self) -> dict[str, ProcessId]:
        """Return the running components' identities, for a record that outlives this process."""
        found = {name: ProcessId.of(process.pid) for name, process in self._running.items()}
        return {name: identity for name, identity in found.items() if identity is not None}

    def resident_bytes(self, name: str) -> int:
        """Return a running component's resident set size in bytes."""
        return resident_bytes(self._process(name).pid)

    def pid(self, name: str) -> int:
        """Return a running component's process id."""
        return self._process(name).pid

    def _process(self, name: str) -> subprocess.Popen[bytes]:
        process = self._running.get(name)
        if process is None or process.poll() is not None:
            raise ComponentError(f"{name} is not running")
        return process

    def _spawn(self, component: Component) -> None:
        running = self._running.get(component.name)
        if running is not None and running.poll() is None:
            raise ComponentError(f"{component.name} is running already")
        log = self._layout.log(component.name)
        log.parent.mkdir(exist_ok=True)
        # Little of our environment: proxies, GODEBUG or somebody's ~/.kube must not change what is measured.
        env = {"HOME": str(self._layout.state), "PATH": os.environ.get("PATH", os.defpath)}
        env |= component.environment
        with log.open("ab") as output:
            self._running[component.name] = subprocess.Popen(
                component.argv,
                cwd=self._layout.state,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=self._group,
            )

    def _wait_healthy(self, component: Component) -> None:
        deadline = time.monotonic() + HEALTHY_WITHIN
        if component.health is None:
            self._check_alive(component)
            return
        client = ApiClient(component.health, component.ca, pair=component.pair, timeout=ANSWER_WITHIN)
        path = urlsplit(component.health).path
        try:
            while True:
                self._check_alive(component)
                try:
                    answer = client.request("GET", path, check=False)
                except OSError:
                    said = "no answer"
                else:
                    if answer.status == 200:
                        return
                    said = f"{answer.status} {answer.body[-300:].decode(errors='replace')}"
                if time.monotonic() > deadline:
                    raise self._failure(
                        component.name, f"is not healthy after {HEALTHY_WITHIN:.0f} s: {said}"
                    )
                time.sleep(0.05)
        finally:
            client.close()

    def _check_alive(self, component: Component) -> None:
        code = self._running[component.name].poll()
        if code is not None:
            raise self._failure(component.name, f"ended with exit code {code}")

    def _failure(self, name: str, what: str) -> ComponentError:
        log = self._layout.log(name)
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        kind = PortInUseError if any("address already in use" in line for line in lines) else ComponentError
        return kind("\n".join([f"{name} {what}. The end of its log {log}:", *lines]))
