"""Certificates and the plan for their replacement, judged by the TLS library where it can."""

from __future__ import annotations

import datetime as dt
import ssl
from contextlib import suppress
from itertools import pairwise

import pytest
from cryptography import x509
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller_reviews import HOSTS, now
from watchbudget.controller import tls
from watchbudget.controller.tls import BadBundle, Bundle, Plan

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def trusted(bundle: Bundle, by: Bundle, host: str = "127.0.0.1") -> bool:
    """Whether a client that trusts one bundle accepts a server with the other: a handshake in memory."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    from watchbudget.controller.server import _file  # noqa: PLC0415

    with _file(bundle.certificate, bundle.key) as path:
        server.load_cert_chain(path)
    client = ssl.create_default_context(cadata=by.ca_certificates.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return True


def again(bundle: Bundle) -> Bundle:
    return tls.parse(bundle.ca_certificates, bundle.ca_key, bundle.certificate, bundle.key)


def test_a_new_certificate_is_trusted_for_its_hosts_only():
    bundle = tls.create((*tls.service_hosts("webhook", "wb"), "10.0.0.1"), now())
    for host in ("webhook.wb.svc", "webhook.wb.svc.cluster.local", "10.0.0.1"):
        assert trusted(bundle, bundle, host)
    assert not trusted(bundle, bundle, "other.wb.svc")
    assert not trusted(bundle, tls.create(HOSTS, now()), "webhook.wb.svc")
    assert "PRIVATE" not in repr(bundle)


def test_a_certificate_that_serves_cannot_issue_others():
    serving = x509.load_pem_x509_certificate(tls.create(HOSTS, now()).certificate)
    assert not serving.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_every_stage_of_a_rotation_is_trusted_by_the_bundle_before_and_after():
    first = tls.create(HOSTS, now())
    rotated = tls.carry_out(first, Plan.ROTATE_CA, HOSTS, now())
    renewed = tls.carry_out(rotated, Plan.RENEW_SERVING, HOSTS, now())
    dropped = tls.carry_out(renewed, Plan.DROP_CA, HOSTS, now())
    for before, after in pairwise([first, rotated, renewed, dropped]):
        assert trusted(after, by=before)
        assert trusted(before, by=after)
        again(after)
    assert not trusted(first, by=dropped)
    assert rotated.certificate == first.certificate
    assert dropped.ca_certificates.count(b"BEGIN") == 1


def life(hosts: tuple[str, ...], steps: list[dt.timedelta]) -> list[tuple[dt.datetime, Plan, Bundle]]:
    """What happens to a bundle that is looked at after these pauses, one step a look."""
    time, bundle, story = START, tls.create(hosts, START), []
    for pause in steps:
        time += pause
        step = tls.plan(bundle, hosts, time)
        bundle = tls.carry_out(bundle, step, hosts, time)
        story.append((time, step, again(bundle)))
    return story


def test_two_years_of_daily_looks():
    story = [(time - START, step) for time, step, _ in life(HOSTS, [DAY] * 730) if step is not Plan.KEEP]
    renewals = [time.days for time, step in story if step is Plan.RENEW_SERVING]
    rest = [(time.days, step) for time, step in story if step is not Plan.RENEW_SERVING]
    assert renewals[:5] == [61, 122, 183, 244, 247]  # the last because of the new authority
    assert rest[:2] == [(246, Plan.ROTATE_CA), (248, Plan.DROP_CA)]
    assert [step for _, step in rest] == [Plan.ROTATE_CA, Plan.DROP_CA] * 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 24 * 59), min_size=1, max_size=12))
@example([481, 1080, 1080, 1080, 1080, 1080])  # expired in the hour in which a new authority is due
def test_whatever_the_pauses_what_serves_is_valid_and_trusted_by_the_look_before(hours: list[int]):
    story = life(HOSTS, [dt.timedelta(hours=pause) for pause in hours])
    for time, _, bundle in story:
        serving = x509.load_pem_x509_certificate(bundle.certificate)
        assert serving.not_valid_before_utc <= time < serving.not_valid_after_utc
    for (_, _, before), (_, _, after) in pairwise(story):
        serving = x509.load_pem_x509_certificate(after.certificate)
        cas = x509.load_pem_x509_certificates(before.ca_certificates)
        assert any(serving.issuer == ca.subject for ca in cas)


def test_an_authority_that_ends_with_what_it_issued_gives_way():
    """After months without a look; renewing again and again would last until nobody is trusted."""
    story = life(HOSTS, [DAY * 340, DAY, DAY, DAY])
    assert [step for _, step, _ in story] == [
        Plan.RENEW_SERVING,
        Plan.ROTATE_CA,
        Plan.RENEW_SERVING,
        Plan.DROP_CA,
    ]


def test_a_new_authority_does_not_issue_before_it_is_known_everywhere():
    rotated = tls.carry_out(tls.create(HOSTS, START), Plan.ROTATE_CA, HOSTS, START)
    assert tls.plan(rotated, HOSTS, START + tls.SETTLE - DAY / 86400) is Plan.KEEP
    assert tls.plan(rotated, HOSTS, START + tls.SETTLE) is Plan.RENEW_SERVING


def test_other_hosts_need_another_certificate():
    bundle = tls.create(HOSTS, START)
    assert tls.plan(bundle, (*HOSTS, "10.0.0.9"), START) is Plan.RENEW_SERVING
    assert tls.plan(bundle, HOSTS[:1], START) is Plan.KEEP


@pytest.mark.parametrize("years", [-2, 2])
def test_after_a_leap_of_the_clock_it_serves_at_once(years: int):
    time = START + 366 * DAY * years
    bundle = tls.carry_out(
        tls.create(HOSTS, START), tls.plan(tls.create(HOSTS, START), HOSTS, time), HOSTS, time
    )
    serving = x509.load_pem_x509_certificate(bundle.certificate)
    assert serving.not_valid_before_utc <= time < serving.not_valid_after_utc
    assert tls.plan(again(bundle), HOSTS, time) is Plan.KEEP


def test_what_does_not_belong_together_is_refused():
    one, two = tls.create(HOSTS, START), tls.create(HOSTS, START)
    parts = [(b.ca_certificates, b.ca_key, b.certificate, b.key) for b in (one, two)]
    for index, said in enumerate(
        ("authority's key|key of", "authority's key", "certificate's key", "certificate's key")
    ):
        mixed = list(parts[0])
        mixed[index] = parts[1][index]
        with pytest.raises(BadBundle, match=said):
            tls.parse(*mixed)
    with pytest.raises(BadBundle, match="none of the authorities"):
        tls.parse(two.ca_certificates, two.ca_key, one.certificate, one.key)
    with pytest.raises(BadBundle, match="more than"):
        tls.parse(one.ca_certificates * 9, one.ca_key, one.certificate, one.key)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), st.binary(max_size=40), st.floats(0, 1))
def test_damaged_content_is_refused_or_usable(part: int, damage: bytes, where: float):
    parts = [GOOD.ca_certificates, GOOD.ca_key, GOOD.certificate, GOOD.key]
    at = int(where * len(parts[part]))
    parts[part] = parts[part][:at] + damage + parts[part][at + len(damage) :]
    with suppress(BadBundle):
        tls.plan(tls.parse(*parts), HOSTS, START)


GOOD = tls.create(HOSTS, START)
