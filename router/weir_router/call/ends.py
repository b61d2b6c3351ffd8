"""The end of an attempt: whether a stream has ended as it should, whether it is empty, and its record. Used by
`call.attempt` and `call.journey`.
"""

from __future__ import annotations

from weir_router.contract import line
from weir_router.dialects.base import Reader
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire.failures import redacted
from weir_router.dialects.wire.lossy import lossy
from weir_router.errors import AttemptFailed, AttemptRecord, FailureKind
from weir_router.health.board import Guard

MAX_IDLE = 256 * 1024
"""Bytes of comments and blank lines between two events: three hours of 20 bytes each second."""

MAX_MESSAGE = 500
"""Characters of an upstream's message that are searched for keys, before a report shows the first of them."""

QUOTING = frozenset({FailureKind.SERVER, FailureKind.OVERLOAD, FailureKind.BLOCKED})
"""Failures whose message is the upstream's and about the request, so that it may quote the prompt."""

EMPTY = "empty"
"""Outcome of an attempt whose answer is empty, if another one may answer in its place."""


def has_tokens(usage: Usage | None) -> bool:
    """Whether an answer has output tokens, such as reasoning that is not shown."""
    return usage is not None and usage.output > 0


def idle(size: int) -> int:
    """`size`, the bytes without an event so far. Raises `AttemptFailed` (malformed) if they are too many."""
    if size > MAX_IDLE:
        raise AttemptFailed(FailureKind.MALFORMED, f"more than {MAX_IDLE} bytes of comments without an event")
    return size


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


def report(guard: Guard, failure: AttemptFailed, via: str) -> None:
    """Reports a failure to health. A loop of a request that has come by way of other installations (`via`) is no
    evidence: their owners, or a caller who made the header up, chose the way.
    """
    if failure.kind is FailureKind.LOOP and via:
        guard.cancelled()
    else:
        guard.failed(failure.kind, failure.retry_after, words_of(failure))


def words_of(failure: AttemptFailed) -> str:
    """A failure in one line for reports and statuses: its kind and the upstream's message, e.g.
    `model: The model "m" does not exist`. The message may quote a key. One that may quote the prompt is left out, as in
    the request log: the status and the upstream's code stand for it, e.g. `server: HTTP 500, server_error`.
    """
    said = failure.message
    if failure.kind in QUOTING:
        said = f"HTTP {failure.status}" if failure.status is not None else "an error in its stream"
        said = ", ".join(filter(None, (said, failure.code or failure.type)))
    return line(f"{failure.kind.value}: {redacted(line(said, MAX_MESSAGE))}")


def failed(tier: str, backend: str, failure: AttemptFailed, seconds: float, ttft: float | None) -> AttemptRecord:
    """The record of an attempt that has failed."""
    code = failure.code or failure.type
    return AttemptRecord(tier, backend, failure.kind.value, seconds, failure.status, code, failure.message, ttft)
