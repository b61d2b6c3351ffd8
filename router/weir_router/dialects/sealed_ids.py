"""Sealed ids: the ids of stored answers and items as a caller sees them. Pure; used by `openai_responses` and `serve`.

A provider's own id would be good for every caller of the platform's key. So the caller gets it with the account that
holds it (`Backend.account`) and a seal for the caller's namespace (`weir_router.seal`):

    resp_w1 4f1c2a9B4f1c2a9B 0123456789abcdef resp_68c1…   without the spaces: the account, the seal, the provider's id

The start, `resp_` or `msg_`, is that of the provider's id. An id with other characters is in base64, after a dash.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple

import msgspec

from weir_router.seal import KeyRing

MAX_ID = 512
"""Characters of the longest id that is accepted. Providers' own have up to 60."""

MAX_OWN = 440
"""Characters of a provider's id, as it stands in a sealed one, so that the whole stays below `MAX_ID`."""

RESPONSE, ITEM = "response", "item"
"""Purposes of seals: an item's id names no response."""

MARK = "_w1"
"""Characters that every sealed id has; ids without them are not looked at."""

_SEALED = re.compile(r"([a-z]{1,16}_)w1([A-Za-z0-9_-]{16})([A-Za-z0-9_-]{16})([A-Za-z0-9_-]{1,440})")
_START = re.compile(r"[a-z]{1,16}_")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_ANY = re.compile(r"[A-Za-z0-9_-]{1,512}")


class State(msgspec.Struct, frozen=True):
    """The state that one request uses or leaves."""

    previous: str | None = None  # `previous_response_id`
    references: tuple[tuple[str, str], ...] = ()  # places and ids of items that stand for stored ones
    background: bool = False  # the answer is fetched later
    stores: bool = True  # the answer is kept where the provider keeps answers

    @property
    def used(self) -> bool:
        """Whether the request needs something that a provider keeps."""
        return self.previous is not None or bool(self.references)


class Opened(NamedTuple):
    """A sealed id that is proven."""

    account: str  # that holds it
    id: str  # the provider's own


class Seals:
    """The seals of one caller's namespace."""

    __slots__ = ("_namespace", "_now", "_ring")

    def __init__(self, ring: KeyRing, namespace: str, now: float) -> None:
        """`now`: in seconds since the epoch."""
        self._ring: Final = ring
        self._namespace: Final = namespace
        self._now: Final = now

    def sealed(self, purpose: str, account: str, id: str) -> str:
        """The id for the caller. One that is too long stays as it is, and no caller can refer to it."""
        if not id or len(id) > MAX_OWN:
            return id
        own = id if _PLAIN.fullmatch(id) else f"-{_encoded(id)}"
        if len(own) > MAX_OWN:
            return id
        seal = self._ring.seal(purpose, self._namespace, _content(account, id), self._now)
        return f"{_start(id)}w1{account}{seal}{own}"

    def opened(self, purpose: str, text: str) -> Opened | None:
        """The account and own id behind a caller's id; None: no router has made it for this caller and purpose."""
        found = _SEALED.fullmatch(text)
        if found is None:
            return None
        start, account, seal, own = found.groups()
        id = _decoded(own[1:]) if own.startswith("-") else own
        if id is None or start != _start(id):
            return None
        proven = self._ring.proves(seal, purpose, self._namespace, _content(account, id))
        return Opened(account, id) if proven else None


def is_sealed(text: str) -> bool:
    """Whether an id looks like a sealed one, be it good or not."""
    return MARK in text and _SEALED.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Whether a text can be an id at all, of ours or of a provider's."""
    return _ANY.fullmatch(text) is not None


def _start(id: str) -> str:
    found = _START.match(id)
    return found[0] if found else "id_"


def _content(account: str, id: str) -> bytes:
    return f"{account}\0{id}".encode("utf-8", "replace")


def _encoded(id: str) -> str:
    return urlsafe_b64encode(id.encode("utf-8", "replace")).decode().rstrip("=")


def _decoded(own: str) -> str | None:
    """The id in base64; None: it is not written as `_encoded` writes it."""
    try:
        id = urlsafe_b64decode(own + "=" * (-len(own) % 4)).decode()
    except ValueError:
        return None
    return id if _encoded(id) == own else None
