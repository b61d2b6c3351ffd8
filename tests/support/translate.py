"""Translation between two formats by their names, as the router does it for an attempt."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.neutral import translation
from weir_router.dialects.neutral.target import ANY, Target
from weir_router.dialects.registry import record_of


def request(ask: Ask, to: Format, target: Target = ANY, dropped: list[str] | None = None) -> dict[str, Any]:
    """The request in the format `to`, for this backend."""
    return translation.request(ask, record_of(ask.format), record_of(to), target, dropped)


def untranslatable(ask: Ask, to: Format) -> str | None:
    """Why the format `to` cannot say it."""
    return translation.untranslatable(ask, record_of(ask.format), record_of(to))


def response(
    payload: dict[str, Any],
    to: Format,
    ask: Ask,
    *,
    upstream: Format | None = None,
    created: int = 0,
    realm: str = "",
) -> dict[str, Any]:
    """A whole answer of the format `upstream`, or of the other one, for a caller of the format `to`."""
    return translation.response(payload, ask, record_of(to), record_of(upstream or other(to)), created, realm)


def stream(
    to: Format, ask: Ask, *, upstream: Format | None = None, created: int = 0, realm: str = ""
) -> translation.Translated:
    """A renderer from the stream of the format `upstream`, or of the other one, for a caller of the format `to`."""
    return translation.stream(ask, record_of(to), record_of(upstream or other(to)), created, realm)


def other(format: Format) -> Format:
    """The format of the other maker, as the two oldest are translated into each other."""
    return Format.OPENAI_CHAT if format is Format.ANTHROPIC_MESSAGES else Format.ANTHROPIC_MESSAGES
