"""The TLS context of connections to upstreams: the system's authorities, and further ones. Used by the transports."""

from __future__ import annotations

import ssl
from asyncio import sslproto
from collections.abc import Callable

TLS_BUFFER = 16 * 1024
"""Bytes of asyncio's buffer per TLS connection: one TLS record. Its default of 256 KiB would be most of a stream's
memory."""

Authorities = Callable[[], str]
"""A function that gives the authorities to trust besides the system's, as PEM; empty: none. It is asked for each
connection, so that a change needs no restart."""


def no_further() -> str:
    """No authorities besides the system's."""
    return ""


def trusting(further: str) -> ssl.SSLContext:
    """A context that trusts the system's authorities, or those of SSL_CERT_FILE, and `further` ones (PEM). It takes 30
    ms or more. Raises `ssl.SSLError`.
    """
    context = ssl.create_default_context()
    if further.strip():
        context.load_verify_locations(cadata=further)
    context.set_alpn_protocols(["http/1.1"])
    sslproto.SSLProtocol.max_size = TLS_BUFFER
    return context
