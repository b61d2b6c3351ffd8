"""How the operator's config server is reached: its URL, our token, and the authority that it must show.

Used by `config.longpoll` and `identify.review_client`. Both files are read for each request, since the kubelet renews
them. What is in the token's never enters an error.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import msgspec

CONNECT_SECONDS = 5.0
"""To connect: the server is in the same cluster."""

_log = logging.getLogger("weir.config")


class BadFile(Exception):
    """The token's file or the authority's does not hold what it should."""


class Access:
    """One config server, and our way in. What reads a file raises `OSError` or `BadFile`."""

    def __init__(
        self, url: str, token_file: Path, ca_file: Path | None = None, *, learned_file: Path | None = None
    ) -> None:
        """`url` has no path; without `ca_file` the system's authorities count. `learned_file` keeps what the server has
        told about later authorities, where nobody renews `ca_file`.
        """
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        self._learned_file = learned_file
        self._trust: tuple[bytes, ssl.SSLContext] | None = None

    def headers(self) -> dict[str, str]:
        """What proves who we are."""
        try:
            token = self._token_file.read_text().strip()
        except ValueError:  # says what it found, which may be a part of the token
            raise BadFile(f"{self._token_file} cannot be read as text") from None
        if len(token.split()) != 1:
            raise BadFile(f"{self._token_file} does not hold a token")
        return {"Authorization": f"Bearer {token}"}

    def tls(self) -> ssl.SSLContext | bool:
        """A new one only when a file has changed: connections stay open as long as they are the same."""
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
        """What the server, which we trust, says of its authorities (PEM): it counts beside what was mounted."""
        if self._learned_file is None or self._learned() == authorities.encode():
            return
        try:
            _trusting(authorities)
            part = self._learned_file.with_suffix(".part")
            part.write_text(authorities)
            part.replace(self._learned_file)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            _log.warning("the config server's authorities cannot be kept: %s", error)

    def _learned(self) -> bytes:
        try:
            return self._learned_file.read_bytes() if self._learned_file is not None else b""
        except OSError:  # nothing was learned yet
            return b""


def _trusting(authorities: str) -> ssl.SSLContext:
    """With these authorities (PEM) and no other."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cadata=authorities)
    return trust


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
