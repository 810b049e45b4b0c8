import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from watchbudget.localcluster.certs import Authority, write_signing_key


@pytest.fixture
def authority(tmp_path: Path):
    return Authority.create(tmp_path / "ca.crt", "test")


def load(path: Path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def purposes(certificate: x509.Certificate):
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_server_certificate_names_its_addresses(authority: Authority, tmp_path: Path):
    pair = authority.issue(
        tmp_path / "server", "server", names=["localhost"], addresses=["127.0.0.1", "10.96.0.1"]
    )
    certificate = load(pair.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    addresses = names.get_values_for_type(x509.IPAddress)
    assert addresses == [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("10.96.0.1")]
    assert ExtendedKeyUsageOID.SERVER_AUTH in purposes(certificate)
    certificate.verify_directly_issued_by(load(authority.certificate_file))


def test_a_client_certificate_carries_user_and_groups_and_cannot_serve(authority: Authority, tmp_path: Path):
    pair = authority.issue(tmp_path / "client", "jane", groups=["a", "b"])
    certificate = load(pair.certificate)
    assert [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "jane"
    ]
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [each.value for each in groups] == ["a", "b"]
    assert purposes(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_are_their_owners_only(authority: Authority, tmp_path: Path):
    pair = authority.issue(tmp_path / "client", "jane")
    write_signing_key(tmp_path / "sa.key", tmp_path / "sa.pub")
    for key in (pair.key, tmp_path / "sa.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"PUBLIC KEY" in (tmp_path / "sa.pub").read_bytes()
