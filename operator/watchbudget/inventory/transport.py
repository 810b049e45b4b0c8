"""Requests to one API server: answered with plain dicts, repeated where that is right, counted.

They go through `kubernetes.aio`'s ApiClient, which `connection` opens. Its typed methods are not
used: they cost fifteen times the time of plain dicts, and one unusual object fails a whole list.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
from msgspec import Struct

from watchbudget.inventory.answers import refusal
from watchbudget.inventory.errors import (
    BadKubeconfig,
    ClusterError,
    Expired,
    NotFound,
    ServerGone,
    UnexpectedAnswer,
    Unreachable,
    UntrustedCertificate,
)

__all__ = ["Answer", "Api", "ClusterError"]

JSON = "application/json"
PAGE = 500
"""Objects per page of a list: client-go's default (tools/pager `defaultPageSize`)."""

ATTEMPTS = 6
"""Times that one request is sent when the server is overloaded or the connection breaks."""

LONGEST_WAIT = 30.0
"""Seconds: the API server asks for at most 32 (apiserver `dropped_requests_tracker.go`)."""

RESTARTS = 2
"""Times that an expired list is begun anew before giving up."""

TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
"""The server ends an ordinary request after 60 s by itself (`--request-timeout`)."""

_ERROR_BODY = 64 * 1024  # of a refusal only the first part is read: a Status is a few hundred bytes

_T = TypeVar("_T")
Read = Callable[[aiohttp.ClientResponse], Awaitable[_T]]
Params = Sequence[tuple[str, str]]


class Answer(Struct, frozen=True):
    """A successful answer, read to its end."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type, without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip()


class Api:
    """One API server. All methods raise `ClusterError`; see its subclasses for which says what.

    Attributes:
        server: the server and context, as messages name them.
        requests: how many requests were sent, repeats included.
    """

    def __init__(
        self,
        api_client: Any,  # noqa: ANN401 - the client is not typed
        server: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.server = server
        self.requests = 0
        self._client = api_client
        self._sleep = sleep
        self._answered = False
        self._gone: ServerGone | None = None

    async def get(self, path: str, params: Params = ()) -> dict[str, Any]:
        """GET an object, decoded."""
        return self.decode(path, (await self.fetch(path, params)).body)

    async def find(self, path: str) -> dict[str, Any] | None:
        """GET an object that may not exist."""
        try:
            return await self.get(path)
        except NotFound:
            return None

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a request that the server answers but does not store, such as a SubjectAccessReview.

        It is repeated like a GET, so never use it for an object that is stored.
        """
        return self.decode(path, (await self.send("POST", path, _whole, body=body)).body)

    async def fetch(self, path: str, params: Params = (), *, accept: str = JSON) -> Answer:
        """GET, undecoded."""
        return await self.send("GET", path, _whole, params=params, accept=accept)

    async def collect(
        self, path: str, parse: Callable[[Mapping[str, Any]], _T | None], into: list[_T]
    ) -> str:
        """List everything in pages; each object is parsed and dropped before the next page is read.

        When a page token expires the list goes on with the token that the server offers: what was
        changed meanwhile may be missed or be new, which for an audit is as good as a second earlier
        or later. Without one it begins anew.

        Args:
            path: of the resource.
            parse: called with every item; what it returns is kept, unless it is None.
            into: gets the values as they come, so that a list that breaks off is not lost.

        Returns:
            The resourceVersion of the list when it began; empty if the server names none.
        """
        token: str | None = None
        version = ""
        restarts = 0
        while True:
            params = [("limit", str(PAGE))] + ([("continue", token)] if token else [])
            try:
                page = await self.get(path, params)
            except Expired as error:
                if error.continue_token and error.continue_token != token:
                    token = error.continue_token
                    continue
                restarts += 1
                if restarts > RESTARTS:
                    raise
                into.clear()
                token = None
                continue
            items, following = self._page(path, page)
            if token is None:
                version = str(page.get("metadata", {}).get("resourceVersion") or "")
            into.extend(value for value in map(parse, items) if value is not None)
            if following is None:
                return version
            if following == token:
                raise UnexpectedAnswer(f"{self.server}: the list of {path} does not advance")
            token = following

    def decode(self, path: str, body: bytes) -> dict[str, Any]:
        """Decode a JSON object."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UnexpectedAnswer(
                f"{self.server} does not answer like a Kubernetes API server: {path} is no JSON ({error}); "
                "is there a proxy or login page in between?"
            ) from error
        if not isinstance(value, dict):
            raise UnexpectedAnswer(
                f"{self.server}: {path}: an object was expected, not {type(value).__name__}"
            )
        return value

    async def send(
        self,
        method: str,
        path: str,
        read: Read[_T],
        *,
        params: Params = (),
        accept: str = JSON,
        body: Mapping[str, Any] | None = None,
    ) -> _T:
        """Send a request until it is answered or `ATTEMPTS` are used up, and return what `read` makes of it.

        429 is repeated after the time that the server asks for; 500, 502, 503, 504 and broken
        connections after a growing pause. A server that never answered is not asked twice.
        """
        attempt = 1
        while True:
            if self._gone is not None:
                raise self._gone
            self.requests += 1
            try:
                response = await self._open(method, path, params, accept, body)
                async with response:
                    self._answered = True
                    if response.status < 400:
                        return await read(response)
                    problem = refusal(self.server, method, path, response.status, await _beginning(response))
                    wait = _pause(response, attempt)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem, wait = self._broken(error), 0.2 * 2 ** (attempt - 1)
                if not isinstance(problem, ServerGone):
                    raise problem from error
            if wait is None:
                raise problem
            if attempt == ATTEMPTS:
                if isinstance(problem, ServerGone):
                    self._gone = problem
                raise problem
            await self._sleep(wait)
            attempt += 1

    async def _open(
        self, method: str, path: str, params: Params, accept: str, body: Mapping[str, Any] | None
    ) -> aiohttp.ClientResponse:
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=list(params),
                header_params={"Accept": accept},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(*request, _request_timeout=TIMEOUT)
        except ValueError as error:  # an address or a proxy that no request can be sent to
            if isinstance(error, aiohttp.ClientConnectionError):  # a certificate error is both
                raise
            raise BadKubeconfig(
                f"{self.server}: no request can be sent there: {error}; see `kubectl config view`"
            ) from error
        response: aiohttp.ClientResponse = answer.response
        return response

    def _broken(self, error: Exception) -> ClusterError:
        said = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = error.certificate_error
            return UntrustedCertificate(
                f"{self.server}: its certificate is not trusted: {reason}. It is self-signed, or of an "
                "authority that the kubeconfig does not name. If it is the right server, name that: "
                "`kubectl config set-cluster NAME --certificate-authority=ca.crt --embed-certs`; if only "
                "the host name differs, set the cluster's `tls-server-name`"
            )
        if self._answered:
            return ServerGone(
                f"{self.server} answered at first and does not any more: {said}; the rest could not be read"
            )
        return Unreachable(
            f"{self.server} cannot be reached: {said}. Is it running, and the right context? "
            "`kubectl config get-contexts` lists them"
        )

    def _page(self, path: str, page: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str | None]:
        items = page.get("items", "absent")
        if items is None:  # how some older servers write none
            items = []
        metadata = page.get("metadata", {})
        if (
            not isinstance(items, list)
            or not all(isinstance(item, dict) for item in items)
            or not isinstance(metadata, dict)
        ):
            raise UnexpectedAnswer(f"{self.server}: {path} is no list; is there a proxy in between?")
        return items, metadata.get("continue") or None


async def _whole(response: aiohttp.ClientResponse) -> Answer:
    return Answer(response.headers, await response.read())


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) >= _ERROR_BODY:
            break
    return body


def _pause(response: aiohttp.ClientResponse, attempt: int) -> float | None:
    """Seconds until the request may be repeated; None where a repeat would change nothing."""
    if response.status == 429:
        asked = response.headers.get("Retry-After", "")
        return min(float(asked), LONGEST_WAIT) if asked.isdecimal() else 1.0
    return 0.2 * 2 ** (attempt - 1) if response.status in {500, 502, 503, 504} else None
