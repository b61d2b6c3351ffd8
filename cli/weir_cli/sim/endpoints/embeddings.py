"""Embeddings: the same text gives the same vector of length 1 in every simulator, batch and encoding."""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from array import array
from typing import Any

import msgspec

from weir_cli.sim.answer import count_tokens
from weir_cli.sim.endpoints.reply import INVALID, Reply, invalid, one_of, required, whole_number
from weir_cli.sim.frames import as_json
from weir_cli.sim.models import SimModel
from weir_cli.sim.refused import Refused

MOST_INPUTS = 2_048
"""Inputs of one request (OpenAI)."""

MOST_TOKENS = 8_192
"""Tokens of one input (OpenAI)."""


def embed(fields: dict[str, Any], model: SimModel) -> Reply:
    """The vectors of a request's inputs. Raises `Refused`."""
    inputs = _inputs(required(fields, "input"))
    encoding = one_of(fields, "encoding_format", ("float", "base64"))
    size = whole_number(fields, "dimensions", model.dimensions, model.dimensions)
    tokens = [len(it) if isinstance(it, list) else max(1, count_tokens(it)) for it in inputs]
    if max(tokens) > MOST_TOKENS:
        message = f"This model's maximum context length is {MOST_TOKENS} tokens, however you requested {max(tokens)}."
        raise Refused(400, INVALID, message, code="context_length_exceeded", param="input")
    vectors = [_vector(model, it, size) for it in inputs]
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, encoding)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
    return Reply(as_json({"object": "list", "data": data, "model": model.name, "usage": usage, **model.extra}))


def _inputs(given: Any) -> list[str | list[int]]:
    """Each text or list of tokens."""
    inputs = given if isinstance(given, list) and not _are_tokens(given) else [given]
    if not inputs or not all((isinstance(it, str) and it) or _are_tokens(it) for it in inputs):
        raise invalid("input", "a non-empty text or list of tokens, or a non-empty list of these")
    if len(inputs) > MOST_INPUTS:
        raise invalid("input", f"at most {MOST_INPUTS} inputs")
    return inputs


def _are_tokens(given: Any) -> bool:
    return (
        isinstance(given, list)
        and bool(given)
        and all(isinstance(it, int) and not isinstance(it, bool) for it in given)
    )


def _vector(model: SimModel, given: str | list[int], size: int) -> array[float]:
    """The first `size` numbers of the model's vector, brought to length 1 again, in single precision."""
    seed = model.name.encode() + b"\0" + msgspec.json.encode(given)
    noise = hashlib.shake_128(seed).digest(2 * model.dimensions)
    numbers = [int.from_bytes(noise[at : at + 2], "little") / 32_768 - 1 for at in range(0, 2 * size, 2)]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return array("f", [number / length for number in numbers])


def _encoded(vector: array[float], encoding: str) -> list[float] | str:
    if encoding == "float":
        return vector.tolist()
    if sys.byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()
