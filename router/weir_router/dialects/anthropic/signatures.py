"""Signatures of thought, between a caller and an upstream of the same format. Used by `upstream` and `whole`.

Each server signs its models' thought and refuses thought that another one has signed. So the signatures of all servers
but Claude's own platforms are marked with their realm on the way to the caller, and come back without the mark to the
same realm only: see `neutral.opaque`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from weir_router.dialects.neutral.opaque import tagged, untagged

_FIELDS = {"thinking": "signature", "redacted_thinking": "data"}
"""Kinds of blocks with a signature, and the field that holds it."""


class Fitted(NamedTuple):
    """A conversation with the signatures of one realm only."""

    messages: list[Any]
    lost: bool  # thought of another realm was left out


def fitting(messages: list[Any], realm: str) -> Fitted | None:
    """The conversation for this realm; None: it stays as it is."""
    if not any(_is_foreign(block, realm) for message in messages for block in _blocks(message)):
        return None
    result: list[Any] = []
    lost = False
    for message in messages:
        blocks = _blocks(message)
        if not blocks or not any(_is_foreign(block, realm) for block in blocks):
            result.append(message)
            continue
        kept = [own for block in blocks if (own := _own(block, realm)) is not None]
        if kept:
            result.append({**message, "content": kept})
        lost = lost or len(kept) < len(blocks)
    return Fitted(result, lost)


def lacking(messages: list[Any]) -> bool:
    """Whether the calls whose results come last have no thought before them, which a model that thinks for a budget
    demands: another one has made them.
    """
    return len(messages) > 1 and _lacks_thought(_blocks(messages[-2]))


def _blocks(message: Any) -> list[Any]:
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, list) else []


def _signature(block: Any) -> str | None:
    """The signature of a block of thought; None: it is none."""
    kind = block.get("type") if isinstance(block, dict) else None
    field = _FIELDS.get(kind) if isinstance(kind, str) else None
    signature = block.get(field) if field else None
    return signature if isinstance(signature, str) else None


def _is_foreign(block: Any, realm: str) -> bool:
    """Whether a block must not go to this realm as it is: it has a mark, or no signature."""
    signature = _signature(block)
    return signature is not None and (signature == "" or untagged(signature).realm != "")


def _own(block: Any, realm: str) -> Any:
    """The block for this realm; None: another one has signed it."""
    if not _is_foreign(block, realm):
        return block
    opaque = untagged(block[_FIELDS[block["type"]]])
    return {**block, _FIELDS[block["type"]]: opaque.blob} if opaque.realm == realm and opaque.blob else None


def _lacks_thought(blocks: list[Any]) -> bool:
    called = any(isinstance(block, dict) and block.get("type") == "tool_use" for block in blocks)
    return called and _signature(blocks[0]) is None


def marked(answer: dict[str, Any], realm: str) -> dict[str, Any]:
    """An answer with the mark of its realm; the same object, if it has no signature."""
    blocks = answer.get("content")
    if not isinstance(blocks, list) or not any(_signature(block) for block in blocks):
        return answer
    return {**answer, "content": [_marked(block, realm) for block in blocks]}


def _marked(block: Any, realm: str) -> Any:
    signature = _signature(block)
    return {**block, _FIELDS[block["type"]]: tagged(realm, signature)} if signature else block


def marked_event(event: dict[str, Any], realm: str) -> dict[str, Any]:
    """An event of a stream with the mark of its realm; the same object, if it has no signature."""
    block, delta = event.get("content_block"), event.get("delta")
    if _signature(block):
        return {**event, "content_block": _marked(block, realm)}
    signature = delta.get("signature") if isinstance(delta, dict) else None
    if isinstance(delta, dict) and isinstance(signature, str) and signature:
        return {**event, "delta": {**delta, "signature": tagged(realm, signature)}}
    return event
