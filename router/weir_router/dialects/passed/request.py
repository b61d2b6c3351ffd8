"""Reads requests to passed endpoints: an `Ask` from JSON or a form. Called by `serve`; changes nothing, sends nothing.

Only fields that Weir itself needs are read: the model, the wish for a stream, and the text by which a request is
routed. The upstream judges all others.
"""

from __future__ import annotations

from typing import Any

import msgspec

from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.openai_chat.request import PASSED_HEADERS
from weir_router.dialects.passed import multipart
from weir_router.dialects.passed.endpoints import Endpoint
from weir_router.dialects.wire import body as read_body
from weir_router.dialects.wire.look import Look
from weir_router.dialects.wire.outgoing import IN_PLACE
from weir_router.errors import BadRequest
from weir_router.estimate.prompt import Prompt, Turn

BEFORE, AFTER = "before", "after"
"""Names of the undecoded fields of an `Ask` that hold a form: its bytes before and after the part with the model."""

CONTENT_TYPE = "content-type"

_CHARS_PER_TOKEN = 4
_NO_PROMPT = Prompt(())
_UNREAD: dict[str, Any] = {BEFORE: None, AFTER: None}


def look(body: bytes) -> Look:
    """The model, which may be missing. Raises `BadRequest`."""
    if multipart.is_form(body):
        return Look(_checked(multipart.look(body).model))
    return Look(read_body.look_unnamed(body).model)


def read(format: Format, endpoint: Endpoint, body: bytes, headers: dict[str, str]) -> Ask:
    """A request to this endpoint. Raises `BadRequest`."""
    form = multipart.is_form(body)
    if not (endpoint.form if form else endpoint.json):
        kinds = "JSON" if endpoint.json else f"a form ({multipart.MEDIA_TYPE})"
        raise BadRequest(f"{endpoint.route} takes {kinds}, and this body is none.")
    passed = read_body.passed_on(headers, PASSED_HEADERS)
    if form:
        passed[CONTENT_TYPE] = headers.get(CONTENT_TYPE, "")
        return _read_form(format, body, passed)
    fields, raw = read_body.parse(body)
    model = "" if fields.get("model") is None else read_body.model(fields)
    stream = endpoint.streams and read_body.flag(fields, "stream")
    prompt = _prompt(fields, endpoint.text)
    large = len(body) >= IN_PLACE
    return Ask(format, model, stream, fields, raw, prompt, streamable=False, headers=passed, large=large)


def _read_form(format: Format, body: bytes, headers: dict[str, str]) -> Ask:
    form = multipart.scan(body, multipart.boundary_of(headers[CONTENT_TYPE]))
    view = memoryview(body)
    raw = {BEFORE: msgspec.Raw(view[: form.start]), AFTER: msgspec.Raw(view[form.end :])}
    large = len(body) >= IN_PLACE
    model = _checked(form.model)
    return Ask(format, model, False, _UNREAD, raw, _NO_PROMPT, streamable=False, headers=headers, large=large)


def _checked(model: str | None) -> str:
    """The name in a form; empty: none."""
    return "" if model is None else read_body.model({"model": model})


def _prompt(fields: dict[str, Any], name: str | None) -> Prompt:
    """The text by which a request is measured: of several, which are answered each for itself, the longest."""
    value = None if name is None else fields.get(name)
    several = value if isinstance(value, list) else [value]
    if several and all(type(it) is int for it in several):
        several = [several]
    texts = [it for it in several if isinstance(it, str)]
    numbers = [len(it) for it in several if isinstance(it, list)]  # tokens in place of a text
    turns = (Turn("user", max(texts, key=len)),) if texts else ()
    max_output = fields.get("max_tokens")
    return Prompt(
        turns,
        max_output=max_output if type(max_output) is int and max_output > 0 else None,
        extra_chars=_CHARS_PER_TOKEN * max(numbers, default=0),
    )
