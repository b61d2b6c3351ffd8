"""What goes back to a caller besides the answer: ids, headers, and errors as HTTP. Used by `serve.story` and `app`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType

from weir_router.contract import Dialect
from weir_router.errors import WeirError
from weir_router.record.events import RequestRecord
from weir_router.serve import errors
from weir_router.serve.http import Answer, fields

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}

REQUEST_ID = {Dialect.OPENAI: "x-request-id", Dialect.ANTHROPIC: "request-id"}
"""Where each SDK looks for the id that it shows in answers and exceptions; an upstream's own id goes first."""


_ids = random.Random()


def new_request_id() -> str:
    """An id for the log and the caller; 64 random bits. It grants nothing, so no system call is made for it."""
    return "weir-" + _ids.getrandbits(64).to_bytes(8, "big").hex()


def dialect_of(headers: Mapping[str, str]) -> Dialect:
    """The dialect of a caller whose path does not tell."""
    return Dialect.ANTHROPIC if "anthropic-version" in headers else Dialect.OPENAI


def way(record: RequestRecord) -> dict[str, str]:
    """Headers that say which way the request took."""
    reason = f"{record.diverted}; {record.reason}" if record.diverted else record.reason
    pairs = (
        ("x-weir-request-id", record.id),
        ("x-weir-policy", record.policy),
        ("x-weir-route", record.route),
        ("x-weir-tier", record.tier),
        ("x-weir-backend", record.backend),
        ("x-weir-complexity", record.complexity),
        ("x-weir-reason", reason),
        ("x-weir-attempts", str(len(record.attempts)) if record.attempts else None),
    )
    return {name: value for name, value in pairs if value}


def json_answer(status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
    """A whole body."""
    return Answer(status, fields({**headers, "content-type": "application/json"}), body)


def error_answer(
    error: WeirError, dialect: Dialect, request_id: str, headers: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    """An error before the first byte has gone out."""
    ids = {REQUEST_ID[dialect]: request_id, "x-weir-request-id": request_id}
    body = errors.body(error, dialect, request_id)
    return json_answer(error.status, body, {**headers, **ids, **errors.headers(error)})
