"""The interface of a format whose callers may have tokens counted without an answer. Used by `serve.counting`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from weir_router.dialects.ask import Ask

if TYPE_CHECKING:
    from weir_router.dialects.wire.failures import Table  # it imports `base`, which imports this


class Counting(msgspec.Struct, frozen=True):
    """All that depends on the format of a request to count."""

    path: str  # below that of the format, at Weir and at its providers, e.g. "/count_tokens"
    read: Callable[[bytes, dict[str, str]], Ask]  # body and headers. Raises `BadRequest`
    fields: frozenset[str]  # of a request that providers count; they refuse others
    unread: Callable[[Ask], list[bytes]]  # JSON that the prompt has beside the text of its turns, such as tools
    answer: Callable[[int], dict[str, Any]]  # with an estimate
    failures: Table


def counted(ask: Ask, fields: frozenset[str]) -> Ask:
    """The request with those of its fields that are counted. It asks for no stream."""
    raw = {name: value for name, value in ask.raw.items() if name in fields}
    body = {name: value for name, value in ask.body.items() if name in fields}
    return msgspec.structs.replace(ask, raw=raw, body=body, stream=False)


def tokens_in(payload: object) -> int | None:
    """The number in a provider's answer; None: it has none."""
    found = payload.get("input_tokens") if isinstance(payload, dict) else None
    return found if type(found) is int and found >= 0 else None
