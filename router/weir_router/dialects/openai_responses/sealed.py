"""Encrypted reasoning, which only the realm that made it can read: see `neutral.opaque`. Used by all of this format.

A model's reasoning comes as an item with `encrypted_content`, and a caller sends it back with the next turn. On the way
to the caller it gets the mark of its realm; on the way back, the realm gets it without the mark, and any other backend
does not get it. Reasoning without a mark is of a provider that the caller has asked itself.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.neutral.opaque import Opaque, tagged, untagged, untagged_id
from weir_router.errors import BadRequest

CLAUDE = "00000000"
"""Mark of Claude's own signatures, whose realm is the empty one: this format's own state has no mark."""

ELSEWHERE = "elsewhere"
"""Realm of reasoning without a mark; no backend is of it."""

RAW = "reasoning_text"
"""Blob of reasoning in plain text, which servers of open models send as `content`, and want back there."""

SEALED = "encrypted_content"

COMPACTION = "compaction"
"""Type of the item that stands for a whole conversation, of which only its provider knows what it holds."""

ENCRYPTED = frozenset({"reasoning", COMPACTION})
"""Types of items with encrypted content."""


def sealed(realm: str, blob: str) -> str:
    """The value of `encrypted_content` for a caller."""
    return tagged(realm or CLAUDE, blob)


def unsealed(text: str, *, redacted: bool) -> Opaque:
    """The blob and its realm, from a caller."""
    found = untagged(text, redacted=redacted)
    if found.realm == CLAUDE:
        return Opaque("", found.blob, redacted)
    return found if found.realm else Opaque(ELSEWHERE, found.blob, redacted)


def fitting(items: list[Any], realm: str, dropped: list[str]) -> list[Any]:
    """The items of a request for this realm, without reasoning of others; the same list, if nothing changes."""
    made = [_fitted(item, realm, dropped) for item in items]
    if all(new is old for new, old in zip(made, items, strict=True)):
        return items
    return [item for item in made if item is not None]


def _fitted(item: Any, realm: str, dropped: list[str]) -> Any:
    """One item for this realm; None: it is reasoning of another one."""
    if not isinstance(item, dict):
        return item
    call, text = item.get("call_id"), item.get(SEALED)
    if isinstance(call, str) and (own := untagged_id(call)[0]) != call:
        dropped.append("reasoning")
        return {**item, "call_id": own}
    if not isinstance(text, str) or item.get("type") not in ENCRYPTED:
        return item
    opaque = untagged(text)
    if not opaque.realm:
        return item
    if opaque.realm == realm:
        return {**item, SEALED: opaque.blob}
    if item.get("type") == COMPACTION:
        raise BadRequest(
            "A compaction is of no use at another provider. Send the conversation before it.", param="input"
        )
    dropped.append("reasoning")
    return None


def marked(answer: dict[str, Any], realm: str, name: str = "output") -> dict[str, Any]:
    """An answer with the mark of its realm; the same object, if no item in the field `name` is encrypted."""
    output = answer.get(name)
    if not realm or not isinstance(output, list) or not any(map(_is_sealed, output)):
        return answer
    return {**answer, name: [_marked(item, realm) for item in output]}


def marked_event(event: dict[str, Any], realm: str) -> dict[str, Any]:
    """An event with the mark of its realm; the same object, if it has no encrypted reasoning."""
    item, response = event.get("item"), event.get("response")
    if _is_sealed(item):
        return {**event, "item": _marked(item, realm)}
    if isinstance(response, dict) and (shown := marked(response, realm)) is not response:
        return {**event, "response": shown}
    return event


def _is_sealed(item: Any) -> bool:
    sealed = isinstance(item, dict) and item.get("type") in ENCRYPTED and item.get(SEALED)
    return isinstance(sealed, str) and sealed != ""


def _marked(item: Any, realm: str) -> Any:
    return {**item, SEALED: tagged(realm, item[SEALED])} if _is_sealed(item) else item
