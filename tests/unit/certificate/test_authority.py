"""Certificates over the years: when each is renewed; a client that trusts the bundle is never shut out."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from support.tls import trusting
from weir_operator.publish.authority import (
    AUTHORITY_VALID,
    CERTIFICATE_VALID,
    Kept,
    NotReadable,
    Pair,
    bundle,
    certificates,
    covers,
    make_authority,
    make_certificate,
    names_of,
    renewed,
)
from weir_operator.publish.certificate import load

START = datetime(2027, 1, 1, tzinfo=UTC)
NAMES = ("weir-operator", "localhost")


def after(kept: Kept | None, days: float, *, known: bool = True, names: tuple[str, ...] = NAMES) -> Kept:
    return renewed(kept, names, START + timedelta(days=days), installation="weir", newest_is_known=known)


@pytest.fixture(scope="module")
def first() -> Kept:
    return after(None, 0, known=False)


def handshake(trusted: bytes, served: Pair, name: str = "weir-operator") -> None:
    """Raises `ssl.SSLError` unless a client that trusts `trusted` accepts the certificate, when it was made."""
    client, server = trusting(trusted), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(server, served)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done = [False, False]
    while not all(done):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                pass


def test_the_first_time_both_are_made_and_a_client_takes_them(first: Kept):
    (served,) = certificates(first.served.certificate)
    assert names_of(served) == set(NAMES)
    handshake(first.authorities, first.served)
    with pytest.raises(ssl.SSLError):
        handshake(make_authority("weir", START).certificate, first.served)
    with pytest.raises(ssl.SSLError):
        handshake(first.authorities, first.served, "elsewhere")


def test_nothing_is_due_until_two_thirds_are_over(first: Kept):
    assert after(first, 0, known=False) is first
    assert after(first, 59, known=False) is first


def test_a_certificate_is_renewed_with_the_same_authority_whether_or_not_that_is_known(first: Kept):
    later = after(first, 61, known=False)
    assert later.authorities == first.authorities
    assert later.served != first.served
    handshake(first.authorities, later.served)


def test_a_new_authority_joins_the_old_one_and_signs_only_when_it_is_known(first: Kept):
    kept = after(first, 240)
    joined = after(kept, 245, known=False)
    assert [*certificates(first.authorities)] == certificates(joined.authorities)[:1]
    assert len(certificates(joined.authorities)) == 2
    assert joined.served == kept.served
    assert joined.authority_key != kept.authority_key
    assert after(joined, 246, known=False) is joined
    switched = after(joined, 246, known=True)
    assert switched.authorities == joined.authorities
    handshake(joined.authorities, switched.served)
    with pytest.raises(ssl.SSLError):
        handshake(first.authorities, switched.served)


def test_at_the_last_moment_it_signs_even_if_not_everybody_knows_it(first: Kept):
    joined = after(after(first, 240), 245, known=False)
    (served,) = certificates(joined.served.certificate)
    urgent = (served.not_valid_after_utc - START).days - 6
    assert after(joined, urgent, known=False).served != joined.served


def test_an_authority_leaves_when_it_has_expired_and_a_certificate_never_outlives_its_own(first: Kept):
    kept = first
    for day in range(0, 3 * 365, 10):
        kept = after(kept, day)
        now, (served,) = START + timedelta(days=day), certificates(kept.served.certificate)
        valid = [it for it in certificates(kept.authorities) if it.not_valid_after_utc > now]
        assert served.not_valid_after_utc - now > timedelta(days=20)
        assert served.not_valid_after_utc - served.not_valid_before_utc <= CERTIFICATE_VALID + timedelta(minutes=5)
        assert any(it.subject == served.issuer and it.not_valid_after_utc >= served.not_valid_after_utc for it in valid)
        assert 1 <= len(certificates(kept.authorities)) <= 3
    handshake(kept.authorities, kept.served)


def test_after_years_without_an_operator_all_is_made_anew(first: Kept):
    fresh = after(first, AUTHORITY_VALID.days + 1, known=False)
    assert len(certificates(fresh.authorities)) == 1
    handshake(fresh.authorities, fresh.served)


def test_two_versions_that_want_different_names_do_not_renew_in_turns(first: Kept):
    new = after(first, 1, names=(*NAMES, "extra", "10.0.0.7"))
    assert names_of(certificates(new.served.certificate)[0]) == {*NAMES, "extra", "10.0.0.7"}
    assert after(new, 1, names=NAMES) is new
    assert names_of(certificates(after(new, 70, names=NAMES).served.certificate)[0]) == set(NAMES)


def test_a_certificate_of_an_authority_that_is_gone_is_replaced(first: Kept):
    stranger = make_certificate(make_authority("other", START), NAMES, START)
    assert after(replace(first, served=stranger), 1, known=False).served != stranger


def garbled(kept: Kept) -> Iterator[Kept]:
    yield replace(kept, authorities=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    yield replace(kept, authority_key=b"no key", served=make_certificate(make_authority("o", START), NAMES, START))
    yield replace(kept, served=Pair(b"", kept.served.key))


def test_what_cannot_be_read_is_said_without_quoting_it(first: Kept):
    for kept in garbled(first):
        with pytest.raises(NotReadable) as raised:
            after(kept, 1)
        assert "AAAA" not in str(raised.value)
    assert first.served.key.decode() not in repr(first)
    assert first.authority_key.decode() not in repr(first)


def test_an_authority_with_a_key_of_another_kind_is_not_ours():
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rsa")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, START, START + timedelta(days=365))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    ours = make_authority("weir", START)
    with pytest.raises(NotReadable, match="another kind"):
        make_certificate(Pair(certificate, ours.key), NAMES, START)
    assert names_of(certificates(certificate)[0]) == set()


def test_a_bundle_has_each_valid_certificate_once(first: Kept):
    other = make_authority("other", START)
    both = bundle(first.authorities, other.certificate, first.authorities, b"", now=START)
    assert len(certificates(both)) == 2
    assert covers(both, other.certificate)
    assert not covers(first.authorities, other.certificate)
    assert bundle(both, now=START + timedelta(days=400)) == b""
