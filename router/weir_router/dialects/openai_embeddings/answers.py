"""Answers with embeddings: checked for a vector of each input, and passed on byte for byte."""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Pairing, Whole
from weir_router.dialects.openai_chat.failures import TABLE
from weir_router.dialects.openai_chat.usage import counted, usage_of
from weir_router.dialects.openai_embeddings.skim import decode
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire import failures

_EMPTY = (b"[]", b'""', b"null")


def skim_whole(ask: Ask, raw: bytes) -> Usage | None:
    """See `base.FormatRecord`. It decodes no number: 2,048 vectors have three million."""
    batch = ask.batch
    try:
        answer = decode(raw)
    except (ValueError, RecursionError):
        return None
    if batch is None or answer.error is not None or answer.object == "error" or len(answer.data) != batch.inputs:
        return None
    if any(not _is_vector(vector.embedding) for vector in answer.data):
        return None
    places = [vector.index for vector in answer.data]
    if places != list(range(batch.inputs)) and any(index is not None for index in places):
        return None
    usage = None if answer.usage is None else counted(answer.usage)
    return usage if usage is not None and usage.input else Usage(batch.tokens, estimated=True)


def _is_vector(embedding: msgspec.Raw) -> bool:
    text = bytes(memoryview(embedding)[:3])
    return text[:1] in (b"[", b'"') and text not in _EMPTY


def read_whole(payload: Any) -> Whole:
    """See `base.FormatRecord`."""
    if not isinstance(payload, dict):
        raise failures.malformed("an answer that is not a JSON object")
    if failures.is_error(payload):
        raise failures.from_payload(TABLE, payload)
    if not isinstance(payload.get("data"), list):
        raise failures.malformed("an answer without a list of vectors (data)")
    return Whole(usage_of(payload), None)


def render_whole(
    ask: Ask, pairing: Pairing, backend: Backend, raw: bytes, payload: dict[str, Any], *, created: int = 0
) -> bytes:
    """See `base.FormatRecord`. Only an answer that `skim_whole` has not taken comes here, so it raises the reason."""
    inputs = 0 if ask.batch is None else ask.batch.inputs
    data = payload["data"]
    if len(data) != inputs:
        raise failures.malformed(f"{len(data)} vectors for {inputs} inputs")
    for index, vector in enumerate(data):
        if not isinstance(vector, dict) or not vector.get("embedding"):
            raise failures.malformed(f"no vector in data[{index}]")
    raise failures.malformed("vectors that are not in the order of their inputs")
