"""The host of OpenAI and compatible servers: a bearer token, and server-sent events."""

from __future__ import annotations

from functools import lru_cache

from weir_router.dialects.axes import Format
from weir_router.dialects.base import Host
from weir_router.dialects.passed.endpoints import ENDPOINTS
from weir_router.dialects.wire.headers import HEADERS_KEPT, Kept
from weir_router.dialects.wire.sse import SSE


@lru_cache(HEADERS_KEPT)  # requests with the same credential differ only in their callers' headers
def _headers(credential: str | None, passed_on: tuple[tuple[str, str], ...]) -> Kept:
    headers = {"content-type": "application/json", **dict(passed_on)}
    if credential is not None:
        headers["authorization"] = f"Bearer {credential}"
    return Kept(headers)


PATHS = {
    Format.OPENAI_CHAT: "/chat/completions",
    Format.OPENAI_RESPONSES: "/responses",
    Format.OPENAI_EMBEDDINGS: "/embeddings",
    Format.ANTHROPIC_MESSAGES: "/messages",  # vLLM, Ollama and others beside OpenAI's own formats
    **{format: endpoint.path for format, endpoint in ENDPOINTS.items()},
}

HOST = Host(PATHS, _headers, _headers.cache_clear, SSE, ())
