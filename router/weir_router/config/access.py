"""Access to the operator's config server: its URL, our token, and the certificate authority that it must show.

Used by `config.longpoll` and `identify.review_client`. Both files are read for each request, since the kubelet renews
them. No error quotes the token.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import msgspec

CONNECT_SECONDS = 5.0
"""Seconds to connect; the server is in the same cluster."""

_log = logging.getLogger("weir.config")


class BadFile(Exception):
    """The token's file does not hold a token, or the authority's no certificate."""


class Access:
    """One config server, and our credentials for it. Methods that read a file raise `OSError` or `BadFile`."""

    def __init__(
        self, url: str, token_file: Path, ca_file: Path | None = None, *, learned_file: Path | None = None
    ) -> None:
        """`url` has no path; without `ca_file` the system's authorities count. `learned_file` keeps the server's newer
        authorities, where the kubelet does not renew `ca_file`.
        """
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        self._learned_file = learned_file
        self._trust: tuple[bytes, ssl.SSLContext] | None = None

    def headers(self) -> dict[str, str]:
        """The header that authenticates us."""
        try:
            token = self._token_file.read_text().strip()
        except ValueError:  # its message may quote a part of the token
            raise BadFile(f"{self._token_file} cannot be read as text") from None
        if len(token.split()) != 1:
            raise BadFile(f"{self._token_file} does not hold a token")
        return {"Authorization": f"Bearer {token}"}

    def tls(self) -> ssl.SSLContext | bool:
        """The TLS context. It is a new one only when a file has changed, so that connections stay open."""
        if self._ca_file is None:
            return True
        content = self._ca_file.read_bytes() + b"\n" + self._learned()
        if self._trust is None or self._trust[0] != content:
            try:
                self._trust = content, _trusting(content.decode())
            except (ValueError, ssl.SSLError):
                raise BadFile(f"{self._ca_file} does not hold a certificate") from None
        return self._trust[1]

    def learn(self, authorities: str) -> None:
        """Keeps the authorities (PEM) that the server, which we trust, has sent; they count beside the mounted ones."""
        if self._learned_file is None or self._learned() == authorities.encode():
            return
        try:
            _trusting(authorities)
            part = self._learned_file.with_suffix(".part")
            part.write_text(authorities)
            part.replace(self._learned_file)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            _log.warning("cannot keep the config server's authorities: %s", error)

    def _learned(self) -> bytes:
        try:
            return self._learned_file.read_bytes() if self._learned_file is not None else b""
        except OSError:  # nothing was learned yet
            return b""


def _trusting(authorities: str) -> ssl.SSLContext:
    """A context that trusts these authorities (PEM) and no other."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata=authorities)
    return trust


def reason_of(error: Exception) -> str:
    """The reason why a request failed, for a log line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"


def message_of(content: bytes) -> str:
    """The config server's message about a request that it refuses."""
    try:
        return str(msgspec.json.decode(content)["error"]["message"])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
        return "no reason was given"
