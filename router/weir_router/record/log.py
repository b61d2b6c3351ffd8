"""One structured line per request, to whoever asked for them. Never a secret; a prompt only under `Full`.

Not through `logging`: a handler, a lock and a record of twenty fields cost more than the line itself.

What an upstream said about a failure may quote the prompt ("Invalid value: 'Dear Dr ...'"), so its words are for the
caller; the line keeps kind, status and code. What Weir itself says about a failure stays.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from weir_router.contract import PromptLogging
from weir_router.errors import AttemptRecord, FailureKind, Source
from weir_router.record.events import RequestRecord

Output = Callable[[bytes], None]
"""Takes one line of JSON, without a line end."""

outputs: list[Output] = []
"""Where lines go; empty: no line is made. An output must neither raise nor block."""

_NONE, _FULL = PromptLogging.NONE, PromptLogging.FULL  # looking up an enum's member costs as much as a call
_encode_into = msgspec.json.Encoder(order=None).encode_into
_buffer = bytearray()  # as long as the last line; a new one would grow a dozen times under each
_OUR_WORDS = frozenset(
    {
        FailureKind.CONNECT,
        FailureKind.RESET,
        FailureKind.SILENT,
        FailureKind.STALLED,
        FailureKind.TOO_LONG,
        FailureKind.MALFORMED,
        FailureKind.TRUNCATED,
    }
)
"""Failures that Weir saw, and that no upstream put into words."""


def log(record: RequestRecord) -> None:
    """Hands `record` as a JSON line to every output."""
    if outputs:
        line = encoded(record)
        for output in outputs:
            output(line)


def encoded(record: RequestRecord) -> bytes:
    """`record` as JSON, with what may be shown."""
    _encode_into(_printable(_without_figures(record)), _buffer)
    return bytes(_buffer)


def _without_figures(record: RequestRecord) -> RequestRecord:
    if record.prompt_logging is not _NONE:
        return record
    return msgspec.structs.replace(record, reason=None)  # it counts the prompt's words


def _printable(record: RequestRecord) -> RequestRecord:
    if record.prompt_logging is _FULL or (record.error is None and len(record.attempts) == 1):
        return record
    message = None if record.error_source == Source.UPSTREAM else record.error_message
    return msgspec.structs.replace(record, error_message=message, attempts=[_unquoted(a) for a in record.attempts])


def _unquoted(attempt: AttemptRecord) -> AttemptRecord:
    if attempt.message is None or attempt.outcome in _OUR_WORDS:
        return attempt
    return msgspec.structs.replace(attempt, message=None)
