"""Our own certificate authority and serving certificate, and when they are due for replacement. Pure.

Renewing the serving certificate is harmless: whoever trusts its authority goes on. A new authority is
brought in so that no request fails meanwhile:

1. `rotate_ca`: the new authority joins the old one in the CA bundle. The old one's certificate keeps serving.
2. After `SETTLE`, when every webhook configuration and API server has the bundle: `renew_serving`, by the
   new authority.
3. After another `SETTLE`, when every replica serves with it: `drop_ca`, the old one leaves the bundle.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from enum import Enum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct
from msgspec.structs import replace

from watchbudget.controller import certificates

__all__ = ["BadBundle", "Bundle", "Plan", "carry_out", "create", "parse", "plan", "service_hosts"]

CA_LIFETIME = dt.timedelta(days=365)
SERVING_LIFETIME = dt.timedelta(days=90)
"""As Let's Encrypt's and cert-manager's default (`DefaultCertificateDuration`)."""

RENEW_BEFORE = SERVING_LIFETIME / 3
"""Weeks in which someone can notice that renewing fails, as cert-manager does by default."""

ROTATE_BEFORE = SERVING_LIFETIME + RENEW_BEFORE
"""Any serving certificate issued before fits into what its authority has left."""

SETTLE = dt.timedelta(hours=1)
"""Far longer than replicas take to read the Secret again, and API servers the webhook configurations."""

LARGEST_BUNDLE = 8
"""Authorities. Ours has two at most; a Secret with hundreds of them was not written by us."""


class BadBundle(ValueError):  # noqa: N818 - as the errors of inventory are named
    """What is stored cannot be used. The text says why and holds no secret."""


class Plan(Enum):
    """What a bundle needs next."""

    KEEP = "keep"
    RENEW_SERVING = "renew_serving"
    ROTATE_CA = "rotate_ca"
    DROP_CA = "drop_ca"


class Bundle(Struct, frozen=True):
    """Authority and serving certificate, each with its key, all in PEM.

    Attributes:
        ca_certificates: what clients shall trust: the authority that issues now first, then those before
            it that are still needed.
        ca_key: of the first one.
        certificate: the serving certificate.
        key: of the serving certificate.
    """

    ca_certificates: bytes
    ca_key: bytes
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Bundle(...)"  # keys must not reach a log


def service_hosts(service: str, namespace: str, extra: Iterable[str] = ()) -> tuple[str, ...]:
    """The names a Service is called by, and further names or IP addresses.

    The API server calls `SERVICE.NAMESPACE.svc` (k8s.io/apiserver/pkg/util/webhook/client.go).
    """
    return (
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc.cluster.local",
        *extra,
    )


def create(hosts: Sequence[str], now: dt.datetime) -> Bundle:
    """A new authority and a serving certificate by it.

    Args:
        hosts: DNS names and IP addresses to serve as.
        now: the time, with time zone.
    """
    ca, ca_key = certificates.new_ca(now, CA_LIFETIME)
    return _issue(Bundle(certificates.pem(ca), certificates.key_pem(ca_key), b"", b""), hosts, now)


def parse(ca_certificates: bytes, ca_key: bytes, certificate: bytes, key: bytes) -> Bundle:
    """Check that what was stored belongs together and can be used; not whether it is still valid.

    Raises:
        BadBundle: it does not or cannot.
    """
    bundle = Bundle(ca_certificates, ca_key, certificate, key)
    try:
        _check(bundle)
    except BadBundle:
        raise
    except Exception as error:  # the library has no common class of error for hostile input
        raise BadBundle(f"it cannot be read: {type(error).__name__}") from error
    return bundle


def plan(bundle: Bundle, hosts: Sequence[str], now: dt.datetime) -> Plan:
    """What a bundle needs next, the most urgent first.

    A certificate that is not valid yet is replaced like one that has expired: one of the two clocks is
    wrong, and what is issued now is good by both unless ours is behind by months.

    Args:
        bundle: as `parse` or `create` gave it.
        hosts: names and addresses that it must serve as.
        now: the time, with time zone.
    """
    cas, serving = _cas(bundle), _serving(bundle)
    ca = cas[0]
    if not certificates.valid(ca, now):
        return Plan.ROTATE_CA
    due = not certificates.valid(serving, now) or serving.not_valid_after_utc - now < RENEW_BEFORE
    if due and serving.not_valid_after_utc < ca.not_valid_after_utc:
        return Plan.RENEW_SERVING  # before a new authority comes: everybody trusts this one by now
    if ca.not_valid_after_utc - now < ROTATE_BEFORE:
        return Plan.ROTATE_CA
    if due:
        return Plan.RENEW_SERVING
    if not certificates.names(hosts) <= certificates.served(serving):
        return Plan.RENEW_SERVING
    by_current = certificates.issued(serving, ca)
    if not by_current and now - certificates.made(ca) >= SETTLE:
        return Plan.RENEW_SERVING
    if by_current and len(cas) > 1 and now - certificates.made(serving) >= SETTLE:
        return Plan.DROP_CA
    return Plan.KEEP


def carry_out(bundle: Bundle, step: Plan, hosts: Sequence[str], now: dt.datetime) -> Bundle:
    """The bundle after one step of a plan. See the module's text for their order."""
    match step:
        case Plan.KEEP:
            return bundle
        case Plan.RENEW_SERVING:
            return _issue(bundle, hosts, now)
        case Plan.DROP_CA:
            return replace(bundle, ca_certificates=certificates.pem(_cas(bundle)[0]))
        case Plan.ROTATE_CA:
            ca, key = certificates.new_ca(now, CA_LIFETIME)
            before = [old for old in _cas(bundle) if old.not_valid_after_utc > now][: LARGEST_BUNDLE - 1]
            rotated = replace(
                bundle, ca_certificates=certificates.pem(ca, *before), ca_key=certificates.key_pem(key)
            )
            serving = _serving(bundle)
            usable = certificates.valid(serving, now) and any(
                certificates.issued(serving, old) for old in before
            )
            return rotated if usable else _issue(rotated, hosts, now)


def _check(bundle: Bundle) -> None:
    cas, serving = _cas(bundle), _serving(bundle)
    if len(cas) > LARGEST_BUNDLE:
        raise BadBundle(f"there are {len(cas)} authorities, more than {LARGEST_BUNDLE}")
    if _key(bundle.ca_key, "the authority").public_key() != cas[0].public_key():
        raise BadBundle("the authority's key is not that of the first authority")
    if _key(bundle.key, "the serving certificate").public_key() != serving.public_key():
        raise BadBundle("the serving certificate's key is of another certificate")
    if not any(certificates.issued(serving, ca) for ca in cas):
        raise BadBundle("the serving certificate is of none of the authorities")
    certificates.served(serving)


def _issue(bundle: Bundle, hosts: Sequence[str], now: dt.datetime) -> Bundle:
    ca, ca_key = _cas(bundle)[0], _key(bundle.ca_key, "the authority")
    certificate, key = certificates.new_serving(ca, ca_key, hosts, now, now + SERVING_LIFETIME)
    return replace(bundle, certificate=certificates.pem(certificate), key=certificates.key_pem(key))


def _cas(bundle: Bundle) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(bundle.ca_certificates)
    except ValueError as error:
        raise BadBundle(f"the authorities cannot be read: {error}") from error


def _serving(bundle: Bundle) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(bundle.certificate)
    except ValueError as error:
        raise BadBundle(f"the serving certificate cannot be read: {error}") from error


def _key(pem: bytes, whose: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadBundle(f"the key of {whose} cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadBundle(f"the key of {whose} is no elliptic curve key")
    return key
