"""A request body as JSON, and its fields with checked types; used by all formats.

It only checks fields that Weir itself reads; the upstream judges all others. Every failure is a `BadRequest` that
says what is wrong, where, and what to do.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import msgspec

from weir_router.dialects.wire import look as typed
from weir_router.dialects.wire.depth import MAX_DEPTH, deepest, too_deep
from weir_router.dialects.wire.look import Look
from weir_router.errors import BadRequest

MAX_ITEMS = 1_000_000
"""Items of one body, see `items`: decoding them takes 100 ms and 100 MiB. A million tokens of code have half."""

MAX_MODEL_NAME = 256
"""Characters of the longest model name: a caller must not flood the request log and error messages with it."""

FEW = 4 * 1024
"""Bytes of a body up to which a count of its brackets is quicker than the look at its decoded values."""

_MODEL = frozenset("".join(it) for it in product(*zip("model", "MODEL", strict=True))) - {"model"}
"""Other spellings of the model's field. Servers in Go, such as Ollama, take each of them, and would get another model
than the router allows."""

_TOO_DEEP = f"more than {MAX_DEPTH} levels of lists and objects"
_FLATTER = "Send a flatter JSON object."

_decode = msgspec.json.Decoder().decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_TYPE_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


_SAMPLES: dict[str, object] = {'"': "", "[": [], "{": {}, "t": True, "f": False, "n": None}
"""A value of each JSON type, by the first character of its text. All other texts are numbers."""


def look(body: bytes) -> Look:
    """The model and whether a stream is wanted, without decoding the rest. Raises `BadRequest`.

    A key that occurs twice counts as in `parse`: the last one does.
    """
    try:
        seen = typed.decode(body)
    except (ValueError, RecursionError):
        seen = _look_again(body)
    if len(seen.model) > MAX_MODEL_NAME or not seen.model or seen.model.isspace():
        model({"model": seen.model})
    return seen


def look_unnamed(body: bytes) -> Look:
    """Like `look`, for formats whose callers may leave the model out, which is then empty."""
    try:
        return look(body)
    except BadRequest:
        try:
            raw = typed.decode_raw(body)
        except (ValueError, RecursionError):
            raw = None
        if raw is None or bytes(raw.model) != b"null":
            raise
        return Look("", bytes(raw.stream) == b"true")


def _look_again(body: bytes) -> Look:
    """Like `look`, for an unexpected body. It builds no value but the model's text."""
    try:
        raw = typed.decode_raw(body)
        text = bytes(raw.model)
        value = _decode(text) if text.startswith(b'"') else _sample(text)
    except msgspec.ValidationError:
        raise BadRequest(f"The request body must be a JSON object, not {type_name(_sample(body.lstrip()))}.") from None
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, body) from None
    return Look(model({"model": value}), bytes(raw.stream) == b"true")


def _sample(text: bytes) -> object:
    return _SAMPLES.get(chr(text[0]), 0)


def parse(body: bytes) -> tuple[dict[str, Any], dict[str, msgspec.Raw]]:
    """The decoded body, and the undecoded fields of its top level."""
    try:
        decoded = _decode(body)
        if not isinstance(decoded, dict):
            raise BadRequest(f"The request body must be a JSON object, not {type_name(decoded)}.")
        if not _MODEL.isdisjoint(decoded) and "model" in decoded:
            raise BadRequest("The name of the field `model` is in lower case. Send it once.", param="model")
        size = len(body)
        if size > 2 * MAX_DEPTH and (size > FEW or _brackets(body) > MAX_DEPTH) and too_deep(decoded):
            where = deepest(decoded)
            raise BadRequest(f"The request body has {_TOO_DEEP}, in `{where}`. {_FLATTER}", param=where)
        return decoded, _decode_raw(body)
    except (ValueError, RecursionError) as error:  # msgspec's errors, and invalid UTF-8
        raise _unreadable(error, body) from None


def _brackets(body: bytes) -> int:
    """The number of lists and objects at most: brackets within texts are counted too."""
    return body.count(b"{") + body.count(b"[")


def _unreadable(error: Exception, body: bytes) -> BadRequest:
    if isinstance(error, RecursionError):
        return BadRequest(f"The request body has far {_TOO_DEEP}. {_FLATTER}")
    return BadRequest(f"The request body cannot be read as JSON: {_explain(error, body)}")


def _explain(error: Exception, body: bytes) -> str:
    if not body.strip():
        return "it is empty. Send a JSON object."
    if isinstance(error, UnicodeDecodeError):
        return f"a string in it is not valid UTF-8 ({error.reason}). Encode the body as UTF-8."
    reason = str(error).removeprefix("JSON is malformed: ")
    if "surrogate" in reason or (b"\\ud" in body.lower() and "truncated" in reason):
        # Typical of text that was cut within an emoji; the position alone would not explain it.
        return f"{reason}. A \\ud800-\\udfff escape must come in a pair; send whole Unicode characters."
    if "truncated" in reason:
        return f"it ends too early, after {len(body)} bytes. Send the whole body and its true Content-Length."
    return f"{reason}. Send a valid JSON object."


def type_name(value: object) -> str:
    """The JSON type of a value, with its article."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def wrong_type(where: str, expected: str, value: object) -> BadRequest:
    """The error for a field of the wrong type."""
    return BadRequest(f"`{where}` must be {expected}, not {type_name(value)}.", param=where)


def missing(where: str, remedy: str) -> BadRequest:
    """The error for a required field that is absent or null."""
    return BadRequest(f"`{where}` is required. {remedy}", param=where)


def model(fields: dict[str, Any]) -> str:
    """The model's name."""
    value = fields.get("model")
    if value is None:
        raise missing("model", 'Name a model, e.g. "model": "auto"; GET /v1/models lists those that you may use.')
    if not isinstance(value, str):
        raise wrong_type("model", "a string", value)
    if not value.strip():
        raise BadRequest("`model` is empty. GET /v1/models lists the models that you may use.", param="model")
    if len(value) > MAX_MODEL_NAME:
        raise BadRequest(f"`model` is longer than {MAX_MODEL_NAME} characters; no model's name is.", param="model")
    return value


def messages(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages: at least one, each an object with a role. Unknown roles pass."""
    value = fields.get("messages")
    if value is None:
        raise missing("messages", 'Send at least one, e.g. [{"role": "user", "content": "Hello"}].')
    if not isinstance(value, list):
        raise wrong_type("messages", "a list", value)
    if not value:
        raise BadRequest(
            '`messages` is empty. Send at least one, e.g. {"role": "user", "content": "Hello"}.', param="messages"
        )
    for index, message in enumerate(value):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{index}]", "an object with `role` and `content`", message)
        if not isinstance(message.get("role"), str):
            raise wrong_type(f"messages[{index}].role", "a string such as user or assistant", message.get("role"))
    return value


def flag(fields: dict[str, Any], name: str) -> bool:
    """An optional boolean; absent and null are false."""
    value = fields.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise wrong_type(name, "true or false", value)


def whole_number(fields: dict[str, Any], name: str) -> int | None:
    """An optional number of tokens, not negative."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, "a whole number of tokens", value)
    if value < 0:
        raise BadRequest(f"`{name}` must not be negative.", param=name)
    return value


def optional_list(fields: dict[str, Any], name: str) -> list[Any]:
    """An optional list; absent and null are empty."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(name, "a list", value)
    return value


def optional_object(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """An optional object; absent and null are empty."""
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    return value


def parts(content: object, where: str) -> list[dict[str, Any]]:
    """Message content as a list of parts: a string is one text part, null is no part."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if content is None:
        return []
    if not isinstance(content, list):
        raise wrong_type(where, "a string or a list of parts", content)
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise wrong_type(f"{where}[{index}]", 'an object such as {"type": "text", "text": "..."}', part)
    return content


def passed_on(headers: dict[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """The caller's headers that an upstream of the same format should see."""
    return {name: headers[name] for name in names if name in headers}
