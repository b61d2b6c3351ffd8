"""Whole answers of this format, from an upstream to a caller."""

from __future__ import annotations

from typing import Any

from weir_router.contract import Backend
from weir_router.dialects.anthropic import signatures
from weir_router.dialects.anthropic.failures import TABLE
from weir_router.dialects.anthropic.stream import NORMAL_ENDS
from weir_router.dialects.anthropic.usage import usage_of
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Pairing, Whole
from weir_router.dialects.neutral import translation
from weir_router.dialects.neutral.target import realm_of
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.relay import encode


def skim_whole(ask: Ask, raw: bytes) -> Usage | None:
    """See `base.FormatRecord`. Answers have blocks of many kinds, so all are read."""
    return None


def read_whole(payload: Any) -> Whole:
    """See `base.FormatRecord`."""
    if not isinstance(payload, dict):
        raise failures.malformed("an answer that is not a JSON object")
    if payload.get("type") == "error" or failures.is_error(payload):
        raise failures.from_payload(TABLE, payload)
    content, reason = payload.get("content"), payload.get("stop_reason")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise failures.malformed("an answer without content blocks")
    if reason is not None and not isinstance(reason, str):
        raise failures.malformed("a stop reason that is no text")
    usage = usage_of(payload)
    empty = not (usage and usage.output) and reason in NORMAL_ENDS
    empty = empty and not any(_has_content(block) for block in content)
    return Whole(usage, reason, empty)


def _has_content(block: dict[str, Any]) -> bool:
    """Whether there is anything in a block."""
    kind = block.get("type")
    return bool(block.get("text")) if kind == "text" else kind != "thinking" or bool(block.get("thinking"))


def render_whole(
    ask: Ask, pairing: Pairing, backend: Backend, raw: bytes, payload: dict[str, Any], *, created: int = 0
) -> bytes:
    """See `base.FormatRecord`."""
    realm = realm_of(backend, pairing.host.platforms)
    if not pairing.same:
        return encode(translation.response(payload, ask, *pairing.both(), created, realm))
    shown = signatures.marked(payload, realm) if realm else payload
    return raw if shown is payload else encode(shown)
