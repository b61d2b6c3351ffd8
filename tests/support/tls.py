"""Clients that trust given authorities, even outside of the certificates' period of validity."""

from __future__ import annotations

import ssl

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for


def trusting(authorities: bytes) -> ssl.SSLContext:
    """A client's context that trusts only these authorities."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata=authorities.decode())
    trust.verify_flags |= _NO_CHECK_TIME
    return trust
