"""Ids, headers and errors of answers to callers. Used by `serve.story` and `app`."""

from __future__ import annotations

import random

from weir_router.dialects.base import FormatRecord
from weir_router.errors import WeirError
from weir_router.record.events import RequestRecord
from weir_router.serve import errors
from weir_router.serve.http import Answer, fields

STREAM_LINES = fields(
    {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
    }
)
"""Header lines of every stream."""

_JSON = b"content-type: application/json\r\n"

Place = tuple[str | None, str | None, str | None, str | None, str | None, int]
_PLACE = ("x-weir-policy", "x-weir-route", "x-weir-tier", "x-weir-backend", "x-weir-complexity", "x-weir-attempts")
MAX_PLACES = 1_000
"""Combinations of policy, route, tier and backend whose header lines are cached; no config has more."""

_places: dict[Place, bytes] = {}
_random_bits = random.Random().getrandbits


def new_request_id() -> str:
    """An id of 64 random bits for the log and the caller. It grants nothing, so a fast random source is enough."""
    return "weir-" + _random_bits(64).to_bytes(8, "big").hex()


def way(record: RequestRecord, own: dict[str, str]) -> bytes:
    """The answer's `own` header lines, and those that say how the request was routed."""
    own["x-weir-request-id"] = record.id
    if record.reason:
        own["x-weir-reason"] = f"{record.diverted}; {record.reason}" if record.diverted else record.reason
    place = record.policy, record.route, record.tier, record.backend, record.complexity, len(record.attempts)
    return fields(own) + (_places.get(place) or _lines_of(place))


def _lines_of(place: Place) -> bytes:
    values = (*place[:-1], str(place[-1]) if place[-1] else None)
    lines = fields({name: value for name, value in zip(_PLACE, values, strict=True) if value})
    if len(_places) >= MAX_PLACES:
        _places.clear()
    _places[place] = lines
    return lines


def json_answer(status: int, body: bytes, lines: bytes = b"") -> Answer:
    """A whole JSON answer; `lines` are header lines besides its type."""
    return Answer(status, _JSON + lines, body)


def error_answer(
    error: WeirError, format: FormatRecord, request_id: str, record: RequestRecord | None = None
) -> Answer:
    """The answer for an error before the first byte was sent. `record`: the request's record, if there is one."""
    own = {format.request_id: request_id, **errors.headers(error)}
    lines = fields({**own, "x-weir-request-id": request_id}) if record is None else way(record, own)
    return json_answer(error.status, format.error_body(error, request_id), lines)
