"""A reply of an endpoint, and what the endpoints share in reading a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from weir_cli.sim.connection import EVENT_STREAM, JSON
from weir_cli.sim.frames import Frame, Part, as_json
from weir_cli.sim.models import Service, SimModel
from weir_cli.sim.refused import Refused
from weir_router.contract import WireFormat

INVALID = "invalid_request_error"


class Upload(NamedTuple):
    """A file of a form."""

    name: str
    content_type: str
    data: bytes


class Reply(msgspec.Struct, frozen=True):
    """The model's answer: whole, and as a stream where one was asked for."""

    body: bytes
    content_type: str = JSON
    frames: list[Frame] | None = None
    stream_type: str = EVENT_STREAM
    steps: int = 1  # tokens to wait for


class Endpoint(NamedTuple):
    """One path: the service that a model must offer, and the function that answers."""

    service: Service
    answer: Callable[[dict[str, Any], SimModel], Reply]
    form: bool = False  # whether it takes a form (multipart/form-data); otherwise JSON
    errors: WireFormat = WireFormat.CHAT  # the format whose errors it uses


def event(part: Part, data: dict[str, Any], *, named: bool = True) -> Frame:
    """One event of a stream of JSON; `named`: its `type` stands in the event's name, too."""
    name = b"event: %b\n" % str(data["type"]).encode() if named else b""
    return Frame(part, b"%bdata: %b\n\n" % (name, as_json(data)))


def required(fields: dict[str, Any], name: str) -> Any:
    """A field that must be there. Raises `Refused`."""
    value = fields.get(name)
    if value is None:
        message = f"Missing required parameter: '{name}'."
        raise Refused(400, INVALID, message, code="missing_required_parameter", param=name)
    return value


def invalid(name: str, expected: str) -> Refused:
    """400 for a value that the endpoint does not take."""
    return Refused(400, INVALID, f"Invalid value for '{name}': expected {expected}.", code="invalid_value", param=name)


def text(fields: dict[str, Any], name: str) -> str:
    """A field that must be a text with something in it. Raises `Refused`."""
    value = required(fields, name)
    if not isinstance(value, str) or not value:
        raise invalid(name, "a non-empty text")
    return value


def one_of(fields: dict[str, Any], name: str, values: tuple[str, ...]) -> str:
    """A field with one of `values`, the first where it is missing. Raises `Refused`."""
    value = fields.get(name, values[0])
    if value not in values:
        raise invalid(name, f"one of {', '.join(values)}")
    return str(value)


def whole_number(fields: dict[str, Any], name: str, default: int, most: int) -> int:
    """A field with a number from 1 to `most`, which a form gives as text. Raises `Refused`."""
    value = fields.get(name, default)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise invalid(name, f"a whole number from 1 to {most}")
    return value


def is_true(fields: dict[str, Any], name: str) -> bool:
    """A field that is true, which a form gives as text."""
    return fields.get(name) in (True, "true")
