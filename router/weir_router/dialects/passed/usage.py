"""The tokens that an answer of a passed endpoint states, in the fields that providers use.

Examples: `{"usage": {"prompt_tokens": 9, "completion_tokens": 3}}` of completions, `{"usage": {"type": "tokens",
"input_tokens": 9, "output_tokens": 3}}` of images and transcriptions, `{"meta": {"tokens": {"input_tokens": 9}}}` of
Cohere's reranking. Some answers state seconds of audio or units of a search, which are no tokens, or nothing at all.
"""

from __future__ import annotations

import json
from typing import Any

from weir_router.dialects.usage import Usage
from weir_router.dialects.wire.outgoing import count

MAX_USAGE = 4 * 1024
"""Bytes from the name of the field `usage` to its end; providers write about 300."""

_NAME = b'"usage"'
"""The name of the field in JSON. Its quotes are not escaped, so it cannot be part of a text."""

_BETWEEN = b" :\r\n\t"
_GAP = 8
"""Bytes between the name and its value at most: a colon and a few spaces. Streams write null into every event."""

_decoder = json.JSONDecoder()


def usage_of(payload: dict[str, Any]) -> Usage | None:
    """The tokens that a decoded answer or event states; None: none, so they are unknown and not zero."""
    said = payload.get("usage")
    if not isinstance(said, dict):
        meta = payload.get("meta")
        said = meta.get("tokens") if isinstance(meta, dict) else None
    return _tokens(said) if isinstance(said, dict) else None


def _tokens(said: dict[str, Any]) -> Usage | None:
    into = count(said, "input_tokens") or count(said, "prompt_tokens")
    out = count(said, "output_tokens") or count(said, "completion_tokens")
    into = into or max(0, count(said, "total_tokens") - out)
    if not into and not out:
        return None
    details = said.get("input_tokens_details") or said.get("prompt_tokens_details")
    cached = count(details, "cached_tokens") if isinstance(details, dict) else 0
    return Usage(input=into, cached_input=min(cached, into), output=out)


class Finder:
    """Finds the last `usage` in the bytes of an answer that is not kept, be it JSON or a stream of events."""

    __slots__ = ("_found", "_tail")

    def __init__(self) -> None:
        self._found = b""  # from behind the name of the last field, as far as it may be its value
        self._tail = b""  # the last bytes, in which a name may begin

    def feed(self, data: bytes) -> None:
        """Looks at the next bytes."""
        window = self._tail + data
        kept = max(0, len(window) - len(_NAME) + 1)
        at = window.rfind(_NAME)
        while at >= 0:
            begins = window[at + len(_NAME) : at + len(_NAME) + _GAP].lstrip(_BETWEEN)[:1]
            if begins == b"{":
                break
            if not begins and len(window) < at + len(_NAME) + _GAP:  # its value is still to come
                kept = min(kept, at)
            at = window.rfind(_NAME, 0, at)
        if at >= 0:
            self._found = window[at + len(_NAME) : at + len(_NAME) + MAX_USAGE]
        elif self._found and len(self._found) < MAX_USAGE:
            self._found += data[: MAX_USAGE - len(self._found)]
        self._tail = window[kept:]

    def usage(self) -> Usage | None:
        """The tokens of the last field that was found."""
        text = self._found.decode("utf-8", "replace").lstrip(_BETWEEN.decode())
        try:
            said, _ = _decoder.raw_decode(text)
        except (ValueError, RecursionError):
            return None
        return _tokens(said) if isinstance(said, dict) else None
