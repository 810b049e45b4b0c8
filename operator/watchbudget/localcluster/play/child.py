"""Parts of the bench in processes of their own, so that none waits for another's interpreter."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Awaitable, Callable, Mapping
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

__all__ = ["Child", "serve"]

ANSWER_WITHIN = 90.0


class Child:
    """A process that answers calls; ended when the ``with`` block is left, and when this process dies."""

    def __init__(self, main: Callable[[Connection, Any], None], settings: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, settings), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        self.call("hello")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process.pid is not None  # noqa: S101 - it was started
        return self._process.pid

    def call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the call returns
        """Call one of the child's functions.

        Raises:
            RuntimeError: It failed, or the child is gone.
        """
        try:
            self._connection.send((name, arguments))
            if not self._connection.poll(ANSWER_WITHIN):
                raise RuntimeError(f"{name}: no answer for {ANSWER_WITHIN:.0f} s")
            failed, answer = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise RuntimeError(f"{name}: the process is gone, exit code {self._process.exitcode}") from None
        if failed:
            raise RuntimeError(f"{name}: {answer}")
        return answer


async def serve(connection: Connection, calls: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
    """Answer calls until the other side is gone."""
    loop = asyncio.get_running_loop()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; our parent ends us in order
    arrived = asyncio.Event()
    loop.add_reader(connection.fileno(), arrived.set)
    while True:
        await arrived.wait()
        arrived.clear()
        while connection.poll():
            try:
                name, arguments = connection.recv()
            except (EOFError, ConnectionResetError):
                return
            if name == "hello":
                connection.send((False, None))
                continue
            try:
                connection.send((False, await calls[name](*arguments)))
            except BrokenPipeError:
                return
            except Exception as error:  # noqa: BLE001 - raised again on the other side
                connection.send((True, repr(error)))
