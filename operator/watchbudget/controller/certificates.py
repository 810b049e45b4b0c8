"""X.509 certificates as this process makes and reads them; `tls` decides when. Random keys, no clock."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["expiry", "issued", "key_pem", "made", "names", "new_ca", "new_serving", "pem", "served", "valid"]

BACKDATE = dt.timedelta(hours=1)
"""Clocks that are behind ours by less than this accept what we issue."""

Issued = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def new_serving(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    hosts: Iterable[str],
    now: dt.datetime,
    until: dt.datetime,
) -> Issued:
    """A serving certificate (ECDSA P-256) and its key.

    Args:
        ca: the authority.
        ca_key: its key.
        hosts: DNS names and IP addresses.
        now: the time.
        until: when it ends, if its authority does not end before.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("watchbudget-webhook", ca.subject, key, now, min(until, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(sorted(names(hosts), key=repr)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return certificate, key


def new_ca(now: dt.datetime, lifetime: dt.timedelta) -> Issued:
    """An authority (ECDSA P-256) and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own: verifiers look an issuer up by name before they look at keys.
    name = f"watchbudget-ca-{x509.random_serial_number() >> 128:x}"
    certificate = (
        _builder(name, None, key, now, now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _builder(
    name: str,
    issuer: x509.Name | None,
    key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
    until: dt.datetime,
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(until)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def names(hosts: Iterable[str]) -> set[x509.GeneralName]:
    """DNS names and IP addresses as certificates carry them."""
    found: set[x509.GeneralName] = set()
    for host in hosts:
        try:
            found.add(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            found.add(x509.DNSName(host))
    return found


def served(certificate: x509.Certificate) -> set[x509.GeneralName]:
    """What a certificate may serve as."""
    try:
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def valid(certificate: x509.Certificate, now: dt.datetime) -> bool:
    """Whether it has begun and not ended."""
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def expiry(chain: bytes) -> dt.datetime:
    """When the first certificate of a chain in PEM ends.

    Raises:
        ValueError: it cannot be read.
    """
    return x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc


def made(certificate: x509.Certificate) -> dt.datetime:
    """When it was issued, by the clock of whoever issued it."""
    return certificate.not_valid_before_utc + BACKDATE


def issued(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether an authority's key signed a certificate."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates in PEM, one after another."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key in PEM (PKCS 8), not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
