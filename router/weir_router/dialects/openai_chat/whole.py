"""Whole answers of this format, from an upstream to a caller."""

from __future__ import annotations

from typing import Any

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Pairing, Whole
from weir_router.dialects.neutral import translation
from weir_router.dialects.neutral.target import realm_of
from weir_router.dialects.openai_chat import skim
from weir_router.dialects.openai_chat.failures import TABLE
from weir_router.dialects.openai_chat.stream import FAILED_REASONS, NORMAL_ENDS, carries_content, finish_reason_of
from weir_router.dialects.openai_chat.usage import counted, usage_of
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.relay import encode
from weir_router.dialects.wire.sse import is_text
from weir_router.errors import AttemptFailed, FailureKind


def skim_whole(ask: Ask, raw: bytes) -> Usage | None:
    """See `base.FormatRecord`."""
    if ask.stream or ask.format is not Format.OPENAI_CHAT or ask.mixed:
        return None
    if not is_text(raw):
        return None
    try:
        whole = skim.whole(raw)
    except (ValueError, RecursionError):
        return None
    if len(whole.choices) != 1:
        return None
    choice = whole.choices[0]
    if whole.error or choice.error or whole.object == "error" or choice.object == "error":
        return None
    ended = choice.message.content and choice.finish_reason and choice.finish_reason not in FAILED_REASONS
    return counted(whole.usage) if ended else None


def read_whole(payload: Any) -> Whole:
    """See `base.FormatRecord`."""
    if not isinstance(payload, dict):
        raise failures.malformed("an answer that is not a JSON object")
    if failures.is_error(payload):
        raise failures.from_payload(TABLE, payload)
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices:
        raise failures.malformed("an answer without choices")
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise failures.malformed("a choice without a message")
    reasons = [finish_reason_of(choice) for choice in choices]
    for reason, choice in zip(reasons, choices, strict=True):
        if not reason and not carries_content(choice["message"]):
            raise AttemptFailed(
                FailureKind.TRUNCATED, "The upstream answered with neither content nor a finish reason."
            )
    usage = usage_of(payload)
    empty = not (usage and usage.output) and NORMAL_ENDS.issuperset(reasons)
    empty = empty and not any(carries_content(choice["message"]) for choice in choices)
    return Whole(usage, reasons[0], empty)


def render_whole(
    ask: Ask, pairing: Pairing, backend: Backend, raw: bytes, payload: dict[str, Any], *, created: int = 0
) -> bytes:
    """See `base.FormatRecord`."""
    if pairing.same:
        return raw
    realm = realm_of(backend, pairing.host.platforms)
    return encode(translation.response(payload, ask, *pairing.both(), created, realm))
