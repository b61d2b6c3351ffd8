"""Seals: short texts that prove that a router of this installation made them for one namespace. Pure.

A seal is an HMAC-SHA256 over a purpose, a namespace and some bytes, cut to 96 bits: 16 letters, digits, `_` and `-`.
Routers keep no memory of seals: any router with the key ring can check one. The purpose keeps seals of one use from
being shown for another. Example:

    ring = KeyRing([(key, 0)])
    text = ring.seal("response", "shop", b"resp_1", now)
    ring.proves(text, "response", "shop", b"resp_1")
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Final

SEAL_BYTES = 12
"""Bytes of a seal: 96 bits. A forger who tries a thousand a second finds one in 10^18 years."""

SEAL_LENGTH = 16
"""Characters of a seal."""

MAX_SEALED = 4096
"""Bytes of the largest content that is sealed; ids have a tenth of that."""

MAX_KEYS = 8
"""Keys of a ring at most. An operator keeps two, and three for an hour."""

MIN_KEY = 16
"""Bytes of the shortest key."""


class SealKey:
    """One key of a ring. It has no repr, since that would show the key."""

    __slots__ = ("secret", "since")

    def __init__(self, secret: bytes, since: float) -> None:
        """`since`: seconds since the epoch from which the key seals; it always proves."""
        self.secret: Final = secret
        self.since: Final = since


class KeyRing:
    """The keys that are good at present. The newest that every router must know by now seals; all of them prove."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[tuple[bytes, float]]) -> None:
        """Keys with the moment from which each seals. Short ones are left out, and so are all but the newest few."""
        usable = [SealKey(secret, since) for secret, since in keys if len(secret) >= MIN_KEY]
        self._keys: Final = sorted(usable, key=lambda it: -it.since)[:MAX_KEYS]

    def __bool__(self) -> bool:
        """Whether it has a key."""
        return bool(self._keys)

    def seal(self, purpose: str, namespace: str, content: bytes, now: float) -> str:
        """The seal of `content`. `now` is in seconds since the epoch. Raises `ValueError` without a key, and for
        content that is too long.
        """
        if not self._keys or len(content) > MAX_SEALED:
            raise ValueError("no key, or too much to seal")
        key = next((it for it in self._keys if it.since <= now), self._keys[-1])
        return _text(key, _message(purpose, namespace, content))

    def proves(self, text: str, purpose: str, namespace: str, content: bytes) -> bool:
        """Whether `text` is the seal of `content` for this purpose and namespace. The time it takes tells nothing."""
        if len(text) != SEAL_LENGTH or not text.isascii() or len(content) > MAX_SEALED:
            return False
        message, shown = _message(purpose, namespace, content), text.encode()
        found = [hmac.compare_digest(_text(key, message).encode(), shown) for key in self._keys]
        return any(found)


def _message(purpose: str, namespace: str, content: bytes) -> bytes:
    """The three as one message. No other three have the same: each part has its length before it."""
    parts = [purpose.encode(), namespace.encode("utf-8", "replace"), content]
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def _text(key: SealKey, message: bytes) -> str:
    return urlsafe_b64encode(hmac.digest(key.secret, message, "sha256")[:SEAL_BYTES]).decode()
