"""Certificates and when they are renewed: our own authority, and what it signs. No I/O; `publish.certificate`
keeps what this makes.

Nothing may break while an authority is replaced, though routers learn of the new one up to minutes later:

1. the new authority joins the old one in the bundle that routers trust; the old one's key is thrown away;
2. an hour later the new one signs the certificate that is served;
3. the old one leaves the bundle when it has expired.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_VALID = timedelta(days=365)
"""Short enough that its replacement is everyday life, and not a bomb that goes off in ten years."""

CERTIFICATE_VALID = timedelta(days=90)
"""Validity of a certificate; public authorities have made it usual."""

RENEW_AT = 2 / 3
"""Share of its validity after which a certificate is renewed: 30 days are left to notice that renewal fails."""

SPREAD = timedelta(hours=1)
"""Time from a new authority in the bundle to the first certificate that it signs. A kubelet brings a ConfigMap's change
within two minutes; the rest is for nodes that are not well."""

URGENT = timedelta(days=7)
"""Time before its end at which a certificate is renewed even if not every router may know its authority yet."""

SKEW = timedelta(minutes=5)
"""Difference of clocks that is tolerated: a certificate is valid from that long before it was made."""


class NotReadable(Exception):
    """The stored data is no certificate, or has no key to it; the message quotes nothing of it."""


@dataclass(frozen=True)
class Pair:
    """A certificate (with its chain, if any) and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Kept:
    """The certificate and authorities of all replicas. `authority_key` is empty where another authority signs."""

    authorities: bytes  # PEM, the newest last: what routers trust
    authority_key: bytes = field(repr=False)  # of the newest
    served: Pair


def renewed(
    kept: Kept | None, names: Sequence[str], now: datetime, *, installation: str, newest_is_known: bool
) -> Kept:
    """The data to keep from now on; `kept` itself where nothing is due. Raises `NotReadable`.

    `newest_is_known`: routers have had the newest authority for `SPREAD`.
    """
    authorities = [it for it in _certificates(kept.authorities) if it.not_valid_after_utc > now] if kept else []
    if kept is None or not authorities:
        authority = make_authority(installation, now)
        return Kept(authority.certificate, authority.key, make_certificate(authority, names, now))
    newest = authorities[-1]
    if _is_old(newest, now):
        authority = make_authority(installation, now)
        return replace(kept, authorities=_pem(*authorities) + authority.certificate, authority_key=authority.key)
    served = certificates(kept.served.certificate)[0]
    signed_by_newest = _signed(served, newest)
    urgent = served.not_valid_after_utc - now < URGENT or not any(_signed(served, it) for it in authorities)
    lacking = set(names) - names_of(served)
    due = not signed_by_newest or lacking or _is_old(served, now)
    if not due or not (signed_by_newest or newest_is_known or urgent):
        return kept
    # Replicas of two versions may want different names: both get theirs, and do not renew in turns.
    both = sorted({*names, *names_of(served)}) if lacking else names
    authority = Pair(_pem(newest), kept.authority_key)
    return Kept(_pem(*authorities), kept.authority_key, make_certificate(authority, both, now))


def make_authority(installation: str, now: datetime) -> Pair:
    """A new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Each with a name of its own: of two with one name a verifier may try the wrong one only.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"weir {installation[:40]} {serial % 2**32:08x}")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(name, name, key.public_key(), now, now + AUTHORITY_VALID, serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(_pem(certificate), _private(key))


def make_certificate(authority: Pair, names: Iterable[str], now: datetime) -> Pair:
    """A server's certificate for `names`, DNS names or addresses. Raises `NotReadable`."""
    issuer, issuer_key = certificates(authority.certificate)[-1], _key(authority.key)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weir-operator")])
    end = min(now + CERTIFICATE_VALID, issuer.not_valid_after_utc)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(_public(issuer))
    certificate = (
        _builder(name, issuer.subject, key.public_key(), now, end, x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(it) for it in names]), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return Pair(_pem(certificate), _private(key))


def bundle(*texts: bytes, now: datetime) -> bytes:
    """The certificates of all `texts` that have not expired, each once. Raises `NotReadable`."""
    found = dict.fromkeys(it for text in texts for it in _certificates(text) if it.not_valid_after_utc > now)
    return _pem(*found)


def check(kept: Kept) -> None:
    """Raises `NotReadable` if a part cannot be read, or a key does not belong to its certificate."""
    authority, served = certificates(kept.authorities)[-1], certificates(kept.served.certificate)[0]
    for certificate, key in ((authority, kept.authority_key), (served, kept.served.key)):
        if _key(key).public_key() != certificate.public_key():
            raise NotReadable("a key does not belong to its certificate")


def valid(kept: Kept, now: datetime) -> bool:
    """Whether the newest authority, which was checked, has not expired."""
    return certificates(kept.authorities)[-1].not_valid_after_utc > now


def covers(bundled: bytes, authorities: bytes) -> bool:
    """Whether the newest of `authorities` is in `bundled`. Raises `NotReadable`."""
    return certificates(authorities)[-1] in certificates(bundled)


def certificates(text: bytes) -> list[x509.Certificate]:
    """Those in a PEM text, at least one. Raises `NotReadable`."""
    found = _certificates(text)
    if not found:
        raise NotReadable("there is no certificate")
    return found


def names_of(certificate: x509.Certificate) -> set[str]:
    """The DNS names and addresses that it is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def _certificates(text: bytes) -> list[x509.Certificate]:
    if not text.strip():
        return []
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError:
        raise NotReadable("what should be a certificate is none") from None


def _key(text: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key: PrivateKeyTypes = serialization.load_pem_private_key(text, None)
    except (ValueError, TypeError):  # the error may quote what it read
        key = None  # type: ignore[assignment]
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise NotReadable("what should be the authority's key is none")
    return key


def _public(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise NotReadable("the authority has a key of another kind than ours")
    return key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    end: datetime,
    serial: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key, serial_number=serial)
        .not_valid_before(now - SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_old(certificate: x509.Certificate, now: datetime) -> bool:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= start + (end - start) * RENEW_AT


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(it.public_bytes(serialization.Encoding.PEM) for it in certificates)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
