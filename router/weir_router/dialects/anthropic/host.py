"""The host of Anthropic and compatible servers: an API key, a version of the API, and server-sent events."""

from __future__ import annotations

from functools import lru_cache

from weir_router.dialects.axes import Format
from weir_router.dialects.base import Host
from weir_router.dialects.wire.headers import HEADERS_KEPT, Kept
from weir_router.dialects.wire.sse import SSE

DEFAULT_VERSION = "2023-06-01"
"""Default of `anthropic-version`: the only version with today's streams."""


PLATFORMS = (
    "api.anthropic.com",
    "*.amazonaws.com",
    "*.api.aws",
    "*.googleapis.com",
    "*.services.ai.azure.com",
)
"""Hosts of the platforms that serve Claude itself: each takes the signatures of all others."""


@lru_cache(HEADERS_KEPT)  # see `openai_chat.host`
def _headers(credential: str | None, passed_on: tuple[tuple[str, str], ...]) -> Kept:
    headers = {"content-type": "application/json", "anthropic-version": DEFAULT_VERSION, **dict(passed_on)}
    if credential is not None:
        headers["x-api-key"] = credential
    return Kept(headers)


HOST = Host({Format.ANTHROPIC_MESSAGES: "/v1/messages"}, _headers, _headers.cache_clear, SSE, PLATFORMS)
