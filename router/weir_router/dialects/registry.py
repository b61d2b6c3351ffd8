"""Which module knows which wire format: of callers (`read`), and of upstreams (`provider_for`).

Called by `serve` for a request, and by `call.attempt` for a backend.
"""

from __future__ import annotations

from weir_router.contract import Dialect
from weir_router.dialects.anthropic import request as anthropic_request
from weir_router.dialects.anthropic import upstream as anthropic
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Provider
from weir_router.dialects.openai_chat import request as openai_request
from weir_router.dialects.openai_chat import upstream as openai

_PROVIDERS: dict[Dialect, Provider] = {Dialect.OPENAI: openai, Dialect.ANTHROPIC: anthropic}


def read(dialect: Dialect, body: bytes, headers: dict[str, str]) -> Ask:
    """Understands a caller's request. `headers` has its names in lower case. Raises `errors.BadRequest`."""
    return openai_request.read(body, headers) if dialect is Dialect.OPENAI else anthropic_request.read(body, headers)


def provider_for(dialect: Dialect) -> Provider:
    """The module that speaks `dialect` to upstreams."""
    return _PROVIDERS[dialect]
