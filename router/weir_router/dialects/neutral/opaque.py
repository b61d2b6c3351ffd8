"""State that only the model that made it can read: signatures of thought, and thought that is encrypted.

A caller's SDK sends such state back with the next turn, perhaps to another model, which refuses it. So a writer of
answers marks it with the realm that made it, and a reader of requests takes the mark off: `w1.4f1c2a9b.c2ln` is the
blob `c2ln` of the realm `4f1c2a9b`. State without a mark is of the empty realm: Claude's own signatures, which hold on
every platform that serves Claude. A tool call has no field for it, so its id takes it: `call_a__w1_4f1c2a9b_YzJsbg`.
"""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

MAX_BLOB = 2048
"""Bytes of the longest blob that a tool call's id takes: a signature of Gemini's has some hundred, and clients keep ids
in databases and logs. A longer one is lost, and Gemini takes a stand-in for it."""

_TAG = re.compile(r"w1\.([0-9a-f]{8})\.(.*)", re.DOTALL)
_TAGGED_ID = re.compile(r"(.*)__w1_([0-9a-f]{8})_([A-Za-z0-9_-]+)", re.DOTALL)


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """A blob, and the realm that made it; empty: Claude, on any platform."""

    realm: str
    blob: str
    redacted: bool = False  # it stands for the whole thought, and not beside its text


def tagged(realm: str, blob: str) -> str:
    """The blob for a caller."""
    return f"w1.{realm}.{blob}" if realm else blob


def untagged(text: str, *, redacted: bool = False) -> Opaque:
    """The blob and its realm, from a caller."""
    found = _TAG.fullmatch(text)
    return Opaque(found[1], found[2], redacted) if found else Opaque("", text, redacted)


def tagged_id(call: str, realm: str, blob: str) -> str:
    """A tool call's id with the blob, in characters that every format takes."""
    raw = blob.encode()
    if not realm or len(raw) > MAX_BLOB:
        return call
    return f"{call}__w1_{realm}_{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


def untagged_id(text: str) -> tuple[str, Opaque | None]:
    """A tool call's own id, and the blob that it carried."""
    found = _TAGGED_ID.fullmatch(text) if "__w1_" in text else None
    if found is None:
        return text, None
    try:
        blob = base64.urlsafe_b64decode(found[3] + "=" * (-len(found[3]) % 4)).decode()
    except (binascii.Error, ValueError):
        return text, None
    return found[1], Opaque(found[2], blob)
