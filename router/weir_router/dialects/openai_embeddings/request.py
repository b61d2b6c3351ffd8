"""Reads requests for embeddings: an `Ask` from body and headers. Called by `serve`; changes nothing, sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir_router.dialects.ask import Ask, Batch
from weir_router.dialects.axes import Format
from weir_router.dialects.openai_chat.request import PASSED_HEADERS
from weir_router.dialects.wire import body as read_body
from weir_router.dialects.wire.look import Look
from weir_router.dialects.wire.outgoing import IN_PLACE
from weir_router.errors import BadRequest
from weir_router.estimate import tokens
from weir_router.estimate.prompt import Prompt, Turn

MAX_INPUTS = 2_048
"""Inputs of one request: OpenAI's and Azure's own limit, and the largest of any provider."""

DENSE = 6
"""Bytes of a text that have a token at least. The usual estimate may be a quarter too high, and a text must not be
refused for tokens that it does not have."""

_SHAPES = "a text, a list of texts, a list of tokens (whole numbers), or a list of lists of tokens"


def embeds(fields: Mapping[str, object]) -> bool:
    """Whether only a request for embeddings looks so. Its `input` alone may also be a prompt of the Responses API."""
    given = fields.get("input")
    several = isinstance(given, list) and bool(given) and all(isinstance(it, str | int | list) for it in given)
    return several or ("input" in fields and not fields.keys().isdisjoint({"dimensions", "encoding_format"}))


def look(body: bytes) -> Look:
    """The model, as for chat completions. Embeddings are never a stream."""
    return Look(read_body.look(body).model)


def read(body: bytes, headers: dict[str, str]) -> Ask:
    """Reads a `POST /v1/embeddings`. Unknown fields are kept. Raises `errors.BadRequest`."""
    fields, raw = read_body.parse(body)
    inputs = _inputs(fields)
    size = read_body.whole_number(fields, "dimensions")
    if size == 0:
        raise BadRequest("`dimensions` must be at least 1.", param="dimensions")
    texts = [it for it in inputs if isinstance(it, str)]
    counts = [tokens.of_text(it) if isinstance(it, str) else len(it) for it in inputs]
    least = max(-(-tokens.bytes_of(it) // DENSE) if isinstance(it, str) else len(it) for it in inputs)
    return Ask(
        Format.OPENAI_EMBEDDINGS,
        read_body.model(fields),
        stream=False,
        body=fields,
        raw=raw,
        prompt=Prompt(turns=tuple([Turn("user", text) for text in texts])),
        streamable=False,
        headers=read_body.passed_on(headers, PASSED_HEADERS),
        large=len(body) >= IN_PLACE,
        batch=Batch(len(inputs), sum(counts), least),
    )


def _inputs(fields: dict[str, Any]) -> list[str | list[int]]:
    """The inputs: each a text or a list of tokens."""
    given = fields.get("input")
    if given is None:
        raise read_body.missing("input", f"Send {_SHAPES}.")
    if isinstance(given, str):
        inputs: list[Any] = [given]
        _check(given, "input")
        return inputs
    if not isinstance(given, list):
        raise read_body.wrong_type("input", _SHAPES, given)
    if not given:
        raise BadRequest(f"`input` is empty. Send {_SHAPES}.", param="input")
    first = given[0]
    if type(first) is int:
        _check(given, "input")
        return [given]
    if len(given) > MAX_INPUTS:
        raise BadRequest(
            f"`input` has {len(given)} inputs, and a request has at most {MAX_INPUTS}. Send several requests.",
            param="input",
        )
    kind, other = (str, "a text") if isinstance(first, str) else (list, "a list of tokens")
    for index, it in enumerate(given):
        where = f"input[{index}]"
        if not isinstance(it, kind):
            raise read_body.wrong_type(where, f"{other}, as input[0] is" if index else _SHAPES, it)
        _check(it, where)
    return given


def _check(it: str | list[Any], where: str) -> None:
    """Raises `BadRequest` unless it is a text or a list of tokens, and not empty."""
    if not it:
        raise BadRequest(f"`{where}` is empty, and no model makes a vector of nothing. Leave it out.", param=where)
    if isinstance(it, list):
        for index, token in enumerate(it):
            if type(token) is not int or token < 0:
                found = str(token)[:20] if type(token) is int else read_body.type_name(token)
                raise BadRequest(
                    f"`{where}[{index}]` must be a token, a whole number from 0, not {found}.",
                    param=f"{where}[{index}]",
                )
