"""Streams that cannot be put together without loss. Used by the formats' assemblers, `relay` and `call.attempt`.

A plain caller's request is then sent once more without a stream, since the server's own answer loses nothing.
"""

from __future__ import annotations

import json
from typing import Any

from weir_router.dialects.wire.sse import loads
from weir_router.errors import AttemptFailed, FailureKind

STREAM = "stream"
"""Field of a request that both formats have, and without which the upstream is asked once more."""

_first_value = json.JSONDecoder().raw_decode


def lossy(what: str) -> AttemptFailed:
    """The failure for a stream of this kind, e.g. "a tool call has no name"."""
    message = f"The upstream's stream cannot be put together: {what}."
    return AttemptFailed(FailureKind.LOSSY, message, field=STREAM, tunes=True)


def is_object(arguments: Any) -> bool:
    """Whether arguments of a tool call are one whole JSON object, as text or decoded."""
    if not isinstance(arguments, str):
        return isinstance(arguments, dict)
    try:
        return isinstance(loads(arguments.encode("utf-8", "surrogatepass")), dict)
    except ValueError:
        return False


def is_several(arguments: str) -> bool:
    """Whether arguments of a tool call are several JSON values in a row: those of calls that are mixed up."""
    if is_object(arguments):
        return False
    start = len(arguments) - len(arguments.lstrip())
    try:
        value, end = _first_value(arguments, start)
    except (ValueError, RecursionError):
        return False  # cut off by a limit of tokens, or no JSON from the beginning
    return isinstance(value, dict) and arguments[end:].lstrip().startswith("{")
