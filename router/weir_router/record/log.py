"""One JSON line per request, to each output. It holds no secret, and a prompt only under `Full`.

Not through `logging`: a handler, a lock and a record of twenty fields cost more than the line itself.

An upstream's message about a failure may quote the prompt ("Invalid value: 'Dear Dr ...'"), so only the caller gets it;
the line keeps kind, status and code. Weir's own message about a failure stays.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from weir_router.contract import PromptLogging
from weir_router.errors import AttemptRecord, FailureKind, Source
from weir_router.record.finished import Finished
from weir_router.record.line import RequestRecord

Output = Callable[[bytes], None]
"""A function that takes one line of JSON, without a line end."""

outputs: list[Output] = []
"""Outputs of the lines. Without any, no line is made. An output must neither raise nor block."""

_encode_into = msgspec.json.Encoder(order=None).encode_into
_buffer = bytearray()  # reused for all lines: a new buffer would grow a dozen times for each
_OUR_WORDS = frozenset(
    {
        FailureKind.HOST,
        FailureKind.CONNECT,
        FailureKind.RESET,
        FailureKind.SILENT,
        FailureKind.STALLED,
        FailureKind.TOO_LONG,
        FailureKind.DEADLINE,
        FailureKind.UNREAD,
        FailureKind.MALFORMED,
        FailureKind.TRUNCATED,
        FailureKind.LOSSY,
    }
)
"""Failures whose message is Weir's own, and never an upstream's."""


def log(finished: Finished) -> None:
    """A sink: hands the request as a JSON line to every output."""
    if outputs:
        line = encoded(record_of(finished))
        for output in outputs:
            output(line)


def record_of(it: Finished) -> RequestRecord:
    """The fields of the line of this request."""
    bill, policy, decision = it.bill, it.policy, it.decision
    record = RequestRecord(it.id, it.path, it.outcome)  # to name more here costs more
    record.status, record.seconds, record.ttft = it.status, it.seconds, it.ttft
    record.model, record.stream = it.model, it.stream
    record.tier, record.backend = it.tier, it.backend
    if it.attempts:
        record.attempts = it.attempts
    record.usage, record.upstream_model = bill.usage, bill.upstream_model
    record.dollars, record.price_source = bill.dollars, bill.price_source
    record.baseline_dollars, record.tokens_per_second = bill.baseline_dollars, bill.tokens_per_second
    caller, error = it.caller, it.error
    if caller is not None:
        record.caller = f"{caller.namespace}/{caller.name}"
        record.caller_namespace, record.caller_pod = caller.namespace, caller.pod
    if error is not None:
        record.error, record.error_source, record.error_message = error.code, error.source.value, error.message
    if policy is not None:
        record.policy, record.prompt_logging = it.policy_key, policy.prompt_logging
    if decision is not None:
        choice, features = decision.choice, decision.asked.features
        record.operation = decision.asked.operation
        record.feature, record.complexity, record.reason = decision.asked.feature, decision.complexity, decision.reason
        # `round` would convert to a string and back
        record.probability = int(decision.classification.probability * 1000 + 0.5) / 1000
        record.route = choice.route
        if choice.observed:
            record.observed_tier = choice.observed[0].tier
        if choice.diverted:
            record.diverted = choice.reason
        if record.prompt_logging is not PromptLogging.NONE:
            record.prompt_tokens, record.features = features.tokens, features
        if record.prompt_logging is PromptLogging.FULL and it.ask is not None:
            record.prompt = "\n\n".join(f"{turn.role}: {turn.text}" for turn in it.ask.prompt.turns)
    return record


def encoded(record: RequestRecord) -> bytes:
    """`record` as JSON, without the fields that the policy's prompt logging forbids."""
    _encode_into(_printable(_without_figures(record)), _buffer)
    return bytes(_buffer)


def _without_figures(record: RequestRecord) -> RequestRecord:
    if record.prompt_logging is not PromptLogging.NONE:
        return record
    return msgspec.structs.replace(record, reason=None)  # it counts the prompt's words


def _printable(record: RequestRecord) -> RequestRecord:
    if record.prompt_logging is PromptLogging.FULL or (record.error is None and len(record.attempts) == 1):
        return record
    message = None if record.error_source == Source.UPSTREAM else record.error_message
    return msgspec.structs.replace(record, error_message=message, attempts=[_unquoted(a) for a in record.attempts])


def _unquoted(attempt: AttemptRecord) -> AttemptRecord:
    if attempt.message is None or attempt.outcome in _OUR_WORDS:
        return attempt
    return msgspec.structs.replace(attempt, message=None)
