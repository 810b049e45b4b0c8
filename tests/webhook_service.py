"""What a Service is to the operator's replicas: one address, behind which whoever listens answers."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import Self


class WebhookService:
    """Passes each connection on to the first port that takes it; use it as a context manager.

    Attributes:
        backends: ports of the replicas, which may come and go.
        port: where it listens.
    """

    def __init__(self, *backends: int) -> None:
        self.backends = list(backends)
        service = self

        class Connection(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                service._pass_on(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Connection)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _pass_on(self, client: socket.socket) -> None:
        """Until both sides have ended; where nobody listens the client's connection is closed."""
        for port in list(self.backends):
            try:
                replica = socket.create_connection(("127.0.0.1", port), 5)
            except OSError:
                continue
            replica.settimeout(None)
            with replica:
                back = threading.Thread(target=_pump, args=(replica, client), daemon=True)
                back.start()
                _pump(client, replica)
                back.join()
            return


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
