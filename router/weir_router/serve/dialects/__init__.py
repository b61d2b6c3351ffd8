"""Callers' dialects: what a request body asks for. Called by `serve`; knows no policies, models or upstreams."""

from __future__ import annotations

from weir_router.call.ask import Ask
from weir_router.contract import Dialect
from weir_router.serve.dialects import anthropic, openai


def read(dialect: Dialect, body: bytes, headers: dict[str, str]) -> Ask:
    """Understands a request. `headers` has its names in lower case. Raises `errors.BadRequest`."""
    return openai.read(body, headers) if dialect is Dialect.OPENAI else anthropic.read(body, headers)


__all__ = ["read"]
