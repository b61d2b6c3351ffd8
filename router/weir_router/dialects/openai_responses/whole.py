"""Whole answers of this format, from an upstream to a caller."""

from __future__ import annotations

from typing import Any

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Pairing, Whole
from weir_router.dialects.neutral import translation
from weir_router.dialects.neutral.target import realm_of
from weir_router.dialects.openai_responses import state
from weir_router.dialects.openai_responses.answers import COMPLETED, INCOMPLETE_STATUS
from weir_router.dialects.openai_responses.failures import TABLE, error_of
from weir_router.dialects.openai_responses.stream import carries_content, end_of
from weir_router.dialects.openai_responses.usage import usage_of
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.relay import encode

WAITING = ("queued", "in_progress")
"""Statuses of an answer that runs in the background, when it is asked for."""


def skim_whole(ask: Ask, raw: bytes) -> Usage | None:
    """See `base.FormatRecord`. Answers have items of many kinds, so all are read."""
    return None


def read_whole(payload: Any) -> Whole:
    """See `base.FormatRecord`."""
    if not isinstance(payload, dict):
        raise failures.malformed("an answer that is not a JSON object")
    status = payload.get("status")
    if status == "failed":
        raise failures.from_payload(TABLE, error_of(payload))
    if failures.is_error(payload) and status not in (COMPLETED, INCOMPLETE_STATUS):
        raise failures.from_payload(TABLE, payload)
    if status in WAITING and payload.get("background") is True:
        return Whole(usage_of(payload), status)
    if status not in (None, COMPLETED, INCOMPLETE_STATUS):
        raise failures.malformed(f"a response that has not ended: its status is {str(status)[:40]!r}")
    output = payload.get("output")
    if not isinstance(output, list):
        raise failures.malformed("a response without output")
    contents = [carries_content(item) for item in output]
    usage, reason = usage_of(payload), end_of(payload)
    empty = reason == COMPLETED and not (usage and usage.output) and not any(contents)
    return Whole(usage, reason, empty)


def render_whole(
    ask: Ask, pairing: Pairing, backend: Backend, raw: bytes, payload: dict[str, Any], *, created: int = 0
) -> bytes:
    """See `base.FormatRecord`."""
    realm = realm_of(backend, pairing.host.platforms)
    if not pairing.same:
        return encode(translation.response(payload, ask, *pairing.both(), created, realm))
    shown = state.shown_to_caller(payload, realm, state.shown_of(ask, backend))
    return raw if shown is payload else encode(shown)
