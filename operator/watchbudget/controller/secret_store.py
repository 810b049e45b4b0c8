"""Certificates shared by all replicas through one Secret, and made known in the webhook configurations."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from watchbudget.controller import tls
from watchbudget.controller.tls import BadBundle, Bundle, Plan
from watchbudget.controller.wire import JSON_PATCH, Reply, Transport, WireError, explain

__all__ = ["SecretStore", "publish"]

FIELDS = {"ca_certificates": "ca.crt", "ca_key": "ca.key", "certificate": "tls.crt", "key": "tls.key"}
"""Keys in the Secret: those of type kubernetes.io/tls, and the CA's as cert-manager names them."""

ATTEMPTS = 4
"""Times that a change is tried when someone else changes the same object at the same moment."""

TIMEOUT = 5.0
"""Seconds for one request."""

log = logging.getLogger(__name__)


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class SecretStore:
    """The Secret. `ensure` is called again and again, by every replica.

    Attributes:
        namespace: of the Secret, and of whoever answers with it.
        bundle: the one last read or written; None before the first.
    """

    def __init__(
        self,
        transport: Transport,
        namespace: str,
        name: str,
        hosts: Sequence[str],
        *,
        may_write: Callable[[], bool],
        now: Callable[[], dt.datetime] = _utc_now,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            transport: to the API server.
            namespace: of the Secret.
            name: of the Secret.
            hosts: DNS names and IP addresses that the certificate must be good for.
            may_write: asked right before each write: whether this replica leads.
            now: the time, with time zone.
        """
        self.namespace = namespace
        self.bundle: Bundle | None = None
        self._transport = transport
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self._name = name
        self._hosts = tuple(hosts)
        self._may_write = may_write
        self._now = now

    async def ensure(self) -> Bundle | None:
        """Read the Secret; if this replica may write, make it, mend it or take it one step further.

        A Secret that was deleted or damaged is replaced by a rotation of what this process served with: the
        usual way to ask for new keys, and no request fails. Without anything in memory it begins anew.

        The writer calls `publish` with `bundle` first, and this only if that went well: a new authority
        issues after `tls.SETTLE`, and must be known to the API servers by then.

        Returns:
            What to serve with; None if there is nothing usable yet and this replica may not make it.

        Raises:
            WireError: the API server cannot be reached or refuses. What is served with stays good.
        """
        for _ in range(ATTEMPTS):
            reply = await self._send("GET", self._path)
            if reply.status not in {200, 404}:
                raise WireError(explain("GET", self._path, reply))
            stored = self._read(reply.body) if reply.status == 200 else None
            wanted = self._next(stored)
            if wanted is stored or not self._may_write():
                self.bundle = stored or self.bundle
                return self.bundle
            if await self._write(wanted, reply.body if reply.status == 200 else None):
                self.bundle = wanted
                return wanted
        raise WireError(f"the Secret {self._name} kept changing while it was being written")

    @property
    def _path(self) -> str:
        return f"{self._collection}/{self._name}"

    def _next(self, stored: Bundle | None) -> Bundle:
        now = self._now()
        if stored is not None:
            step = tls.plan(stored, self._hosts, now)
            if step is not Plan.KEEP and self._may_write():
                log.info("Certificates in the Secret %s: %s", self._name, step.value)
            return tls.carry_out(stored, step, self._hosts, now)
        if self.bundle is not None:
            return tls.carry_out(self.bundle, Plan.ROTATE_CA, self._hosts, now)
        return tls.create(self._hosts, now)

    def _read(self, secret: Mapping[str, Any]) -> Bundle | None:
        data = secret.get("data")
        try:
            return tls.parse(**{field: _decoded(data, key) for field, key in FIELDS.items()})
        except BadBundle as error:
            log.warning("The Secret %s cannot be used and will be replaced: %s", self._name, error)
            return None

    async def _write(self, bundle: Bundle, secret: Mapping[str, Any] | None) -> bool:
        """Store a bundle; False if the Secret is no longer the one that was read."""
        data = {key: base64.b64encode(getattr(bundle, field)).decode() for field, key in FIELDS.items()}
        if secret is None:
            log.info("The Secret %s is being made", self._name)
            body: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
            body |= {"metadata": {"name": self._name}, "data": data}
            reply = await self._send("POST", self._collection, body)
        else:  # labels, annotations and type stay: the type cannot be changed
            reply = await self._send("PUT", self._path, {**secret, "data": data})
        if reply.status in {200, 201}:
            return True
        if reply.status == 409 or (reply.status == 404 and secret is not None):
            return False
        raise WireError(explain("write", self._path, reply))

    async def _send(self, method: str, path: str, body: object = None) -> Reply:
        return await self._transport.request(method, path, body, timeout=TIMEOUT)


async def publish(
    transport: Transport,
    configurations: Sequence[tuple[str, str]],
    namespace: str,
    ca_certificates: bytes,
    may_write: Callable[[], bool],
) -> list[str]:
    """Put the CA bundle into webhook configurations, where it differs.

    Args:
        transport: to the API server.
        configurations: resource and name, such as `("validatingwebhookconfigurations", "watchbudget")`.
        namespace: where the Service is by which we are called. Webhooks that lead to another one are another
            operator's: two that overwrite each other's bundle would leave neither called.
        ca_certificates: the bundle in PEM.
        may_write: asked right before each write: whether this replica leads.

    Returns:
        Why we are not called, a sentence for each configuration that does not exist (they are manifests, so
        nobody makes them here) or leads to somebody else.

    Raises:
        WireError: the API server cannot be reached or refuses.
    """
    wanted = base64.b64encode(ca_certificates).decode()
    astray = []
    for resource, name in configurations:
        path = f"/apis/admissionregistration.k8s.io/v1/{resource}/{name}"
        for _ in range(ATTEMPTS):
            reply = await transport.request("GET", path, timeout=TIMEOUT)
            if reply.status == 404:
                astray.append(f"There is no {resource}/{name}: its webhooks are not called")
                break
            if reply.status != 200:
                raise WireError(explain("GET", path, reply))
            if (others := _leads_to(reply.body)) not in (None, namespace):
                astray.append(f"{resource}/{name} leads to another operator, in namespace {others}")
                break
            operations = _corrections(reply.body, wanted)
            if not operations or not may_write():
                break
            reply = await transport.request(
                "PATCH", path, operations, content_type=JSON_PATCH, timeout=TIMEOUT
            )
            if reply.status == 200:
                log.info("The CA bundle of %s %s was brought up to date", resource, name)
                break
            if reply.status not in {404, 409, 422}:  # 422: a test of the patch failed
                raise WireError(explain("PATCH", path, reply))
        else:
            # It keeps changing, or a rule refuses: an admission policy answers 422 as well.
            raise WireError(f"the CA bundle was not accepted: {explain('PATCH', path, reply)}")
    return astray


def _leads_to(configuration: Mapping[str, Any]) -> str | None:
    """The namespace of the Service that its webhooks call; None where they call addresses."""
    for webhook in configuration.get("webhooks") or ():
        if isinstance(service := webhook["clientConfig"].get("service"), dict):
            return str(service.get("namespace"))
    return None


def _corrections(configuration: Mapping[str, Any], wanted: str) -> list[dict[str, Any]]:
    """JSON patch operations; each is preceded by a test that the position still is that webhook's."""
    operations: list[dict[str, Any]] = []
    for index, webhook in enumerate(configuration.get("webhooks") or ()):
        if webhook["clientConfig"].get("caBundle") != wanted:
            at = f"/webhooks/{index}"
            operations.append({"op": "test", "path": f"{at}/name", "value": webhook["name"]})
            operations.append({"op": "add", "path": f"{at}/clientConfig/caBundle", "value": wanted})
    return operations


def _decoded(data: object, key: str) -> bytes:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, str):
        raise BadBundle(f"there is no {key} in it")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadBundle(f"{key} is no base64") from error
