"""The end of an attempt: whether a stream has ended as it should, and its record. Used by `call.attempt`."""

from __future__ import annotations

from weir_router.dialects.base import Reader
from weir_router.dialects.wire.lossy import lossy
from weir_router.errors import AttemptFailed, AttemptRecord, FailureKind


def check_end(reader: Reader, *, plain: bool, said: bool) -> None:
    """Raises `AttemptFailed` for a stream that has ended without a stop reason.

    `said`: its end was said, e.g. by `[DONE]`. A `plain` caller then gets the reason from an answer that is no stream;
    a streaming one must see that the answer may be cut off.
    """
    if reader.stop_reason is not None:
        return
    if plain and said and reader.content_events:
        raise lossy("it ends without a finish reason")
    raise AttemptFailed(FailureKind.TRUNCATED, "the stream ended without a stop reason")


def failed(tier: str, backend: str, failure: AttemptFailed, seconds: float, ttft: float | None) -> AttemptRecord:
    """The record of an attempt that has failed."""
    code = failure.code or failure.type
    return AttemptRecord(tier, backend, failure.kind.value, seconds, failure.status, code, failure.message, ttft)
