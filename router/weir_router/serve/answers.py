"""Ids, headers and errors of answers to callers. Used by `serve.story` and `app`."""

from __future__ import annotations

import random

from weir_router.dialects.base import FormatRecord
from weir_router.errors import WeirError
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

REASON = "x-weir-reason"
"""Answer header with the reasons of the class and of the route, in words."""

Place = tuple[str | None, str | None, str | None, str | None, str | None, int]
_PLACE = ("x-weir-policy", "x-weir-route", "x-weir-tier", "x-weir-backend", "x-weir-complexity", "x-weir-attempts")
MAX_PLACES = 1_000
"""Combinations of policy, route, tier and backend whose header lines are cached; no config has more."""

_places: dict[Place, bytes] = {}  # at most `MAX_PLACES`, and never more than a config has: names, no secrets
_random_bits = random.Random().getrandbits


def new_request_id() -> str:
    """An id of 64 random bits for the log and the caller. It grants nothing, so a fast random source is enough."""
    return "weir-" + _random_bits(64).to_bytes(8, "big").hex()


def route_lines(own: dict[str, str], place: Place) -> bytes:
    """The answer's `own` header lines, and those that say how the request was routed."""
    lines = _places.get(place)
    return fields(own) + (_lines_of(place) if lines is None else lines)  # none at all before a policy is known


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


def error_answer(error: WeirError, format: FormatRecord, request_id: str) -> Answer:
    """The answer for the error of a request that is not served."""
    own = {format.request_id: request_id, **errors.headers(error), "x-weir-request-id": request_id}
    return json_answer(error.status, format.error_body(error, request_id), fields(own))
