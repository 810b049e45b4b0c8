"""One kept-alive HTTPS connection, and nothing between it and the clock."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Answer", "RawClient"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers as they came, and the seconds from the first byte sent to the last one read."""

    status: int
    head: str
    seconds: float

    @property
    def warnings(self) -> list[str]:
        """The texts of its Warning headers."""
        lines = self.head.split("\r\n")
        return [line.partition(": ")[2] for line in lines if line.lower().startswith("warning:")]


class RawClient:
    """Sends the same kind of request again and again."""

    def __init__(self, url: str, ca_file: str, token: str) -> None:
        """Connect."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        plain = socket.create_connection((host, port), timeout=30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = ssl.create_default_context(cafile=ca_file).wrap_socket(plain, server_hostname=host)
        self._headers = (
            f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Accept: application/json\r\nContent-Type: application/json\r\n"
        )

    def post(self, path: str, body: bytes) -> Answer:
        """POST, and read the answer to its end."""
        request = (
            f"POST {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )
        started = time.perf_counter()
        self._socket.sendall(request)
        received = self._socket.recv(65536)
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = received[:end].decode("latin-1")
        lower = head.lower()
        if "transfer-encoding: chunked" in lower:
            while not received.endswith(b"\r\n0\r\n\r\n"):
                received += self._more()
        else:
            length = int(lower.partition("content-length: ")[2].partition("\r\n")[0])
            while len(received) < end + 4 + length:
                received += self._more()
        return Answer(int(head[9:12]), head, time.perf_counter() - started)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _more(self) -> bytes:
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError("the API server closed the connection")
        return received
