"""How the operator's config server is reached: its URL, our token, and the authority that it must show.

Used by `config.longpoll` and `identify.review_client`. Both files are read for each request, since the kubelet renews
them. What is in the token's never enters an error.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec
from aiohttp import hdrs

CONNECT_SECONDS = 5.0
"""To connect: the server is in the same cluster."""


class BadFile(Exception):
    """The token's file or the authority's does not hold what it should."""


class Access:
    """One config server, and our way in. What reads a file raises `OSError` or `BadFile`."""

    def __init__(self, url: str, token_file: Path, ca_file: Path | None = None) -> None:
        """`url` has no path; without `ca_file` the system's authorities count."""
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        self._trust: tuple[bytes, ssl.SSLContext] | None = None

    def headers(self) -> dict[str, str]:
        """What proves who we are."""
        try:
            token = self._token_file.read_text().strip()
        except ValueError:  # says what it found, which may be a part of the token
            raise BadFile(f"{self._token_file} cannot be read as text") from None
        if len(token.split()) != 1:
            raise BadFile(f"{self._token_file} does not hold a token")
        return {hdrs.AUTHORIZATION: f"Bearer {token}"}

    def tls(self) -> ssl.SSLContext | bool:
        """A new one only when the file has changed: connections stay open as long as it is the same."""
        if self._ca_file is None:
            return True
        content = self._ca_file.read_bytes()
        if self._trust is None or self._trust[0] != content:
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # with no other authority
            try:
                trust.load_verify_locations(cadata=content.decode())
            except (ValueError, ssl.SSLError):
                raise BadFile(f"{self._ca_file} does not hold a certificate") from None
            self._trust = content, trust
        return self._trust[1]


def reason_of(error: Exception) -> str:
    """Why a request failed, for a log line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"


def message_of(content: bytes) -> str:
    """What the config server says about a request that it refuses."""
    try:
        return str(msgspec.json.decode(content)["error"]["message"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        return "no reason was given"
