"""A small HTTP client for the API server: verified connections, kept open and used again.

The measured product has its own client; this one sets the stage. It depends on the standard library only,
and shows every header and status code as it came.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from watchbudget.localcluster.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from watchbudget.localcluster.certs import KeyPair

__all__ = ["ApiClient", "Response"]

TIMEOUT = 60.0
ATTEMPTS = 8


@dataclass(frozen=True)
class Response:
    """An answer of the API server, body read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - whatever the server sent
        """Return the body, decoded."""
        return json.loads(self.body)


class ApiClient:
    """Sends requests to one API server as one identity; may be shared by threads."""

    def __init__(
        self,
        url: str,
        ca_file: Path,
        *,
        pair: KeyPair | None = None,
        token: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Prepare; nothing is connected yet. ``timeout`` is in seconds, for each wait on the server."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._tls = ssl.create_default_context(cafile=str(ca_file))
        if pair is not None:
            self._tls.load_cert_chain(pair.certificate, pair.key)
        self._headers = {"Accept": "application/json", "User-Agent": "watchbudget-localcluster"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout = timeout
        self._idle: queue.LifoQueue[http.client.HTTPSConnection] = queue.LifoQueue()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Response:
        """Send one request and return the answer.

        Args:
            method: HTTP method.
            path: Path and query.
            body: Something to be sent as JSON, or bytes to be sent as they are.
            headers: Added to ours; a PATCH needs its ``Content-Type`` here.
            check: Raise for status codes from 400.

        Raises:
            ApiError: The server answered with an error, and ``check`` is set.
            OSError: It did not answer.
        """
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = (
            self._headers
            | ({"Content-Type": "application/json"} if payload is not None else {})
            | dict(headers or {})
        )
        try:
            response = self._send(method, path, payload, sent)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            # The server closes connections that were idle for long, and all that are kept are of one age;
            # one that was just opened has no such excuse.
            self.close()
            response = self._send(method, path, payload, sent)
        if check and response.status >= 400:
            raise ApiError(method, path, response.status, response.body)
        return response

    def create_all(
        self, objects: Iterable[tuple[str, object]], *, workers: int, on_done: Callable[[bool], None]
    ) -> None:
        """POST many objects at once, each given as (path, object); existing ones are fine.

        ``on_done`` is told for each, from the calling thread, whether it is new. Answers 429 and 5xx are
        asked again, as the server's Retry-After says or with growing pauses.

        Raises:
            ApiError: An object was refused, or the server stayed unable.
        """
        with ThreadPoolExecutor(workers, thread_name_prefix="create") as pool:
            try:
                for created in pool.map(lambda item: self._create(*item), objects):
                    on_done(created)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def close(self) -> None:
        """Close the connections that are kept open; the client can still be used."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _create(self, path: str, body: object) -> bool:
        for attempt in range(ATTEMPTS):
            response = self.request("POST", path, body, check=False)
            if response.status < 300:
                return True
            if response.status == 409 and response.json().get("reason") == "AlreadyExists":
                return False
            if response.status != 429 and response.status < 500:
                break
            time.sleep(float(response.headers.get("Retry-After", min(0.1 * 2**attempt, 5.0))))
        raise ApiError("POST", path, response.status, response.body)

    def _send(self, method: str, path: str, payload: bytes | None, headers: Mapping[str, str]) -> Response:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=self._tls
            )
        try:
            connection.request(method, path, payload, dict(headers))
            answer = connection.getresponse()
            response = Response(answer.status, answer.msg, answer.read())
        except BaseException:
            connection.close()  # half an answer may be under way in it
            raise
        self._idle.put(connection)
        return response
