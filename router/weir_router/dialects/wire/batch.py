"""The inputs and tokens that providers take in one request for embeddings. Pure; used by `decide.asked`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from weir_router.contract import Backend
from weir_router.dialects.ask import Batch


class Most(NamedTuple):
    """The most that a provider takes in one request. None: not stated."""

    inputs: int
    tokens: int | None = None


HOSTS = {
    "api.openai.com": Most(2_048, 300_000),
    "openai.azure.com": Most(2_048, 300_000),
    "generativelanguage.googleapis.com": Most(100),
    "api.cohere.ai": Most(96),
    "api.cohere.com": Most(96),
    "api.voyageai.com": Most(1_000),
    "dashscope.aliyuncs.com": Most(10),
    "dashscope-intl.aliyuncs.com": Most(10),
}
"""Limits by host, or by the end of one. A server that is not listed says itself what is too much."""

SURE = 4 / 6
"""Factor on estimated tokens for the number that a request has in any case: see `openai_embeddings.request.DENSE`."""


def too_large(batch: Batch) -> Callable[[Backend], str | None]:
    """Says of a backend why its provider does not take the whole batch in one request; None: it does."""

    def reason(backend: Backend) -> str | None:
        most = _most(urlsplit(backend.base_url).hostname or "")
        if most is None:
            return None
        if batch.inputs > most.inputs:
            return f"takes {most.inputs} inputs in one request, and this one has {batch.inputs}: send several"
        sure = int(batch.tokens * SURE)
        if most.tokens is not None and sure > most.tokens:
            return f"takes {most.tokens} tokens in one request, and this one has {sure} at least: send several"
        return None

    return reason


def _most(host: str) -> Most | None:
    return next((most for name, most in HOSTS.items() if host == name or host.endswith(f".{name}")), None)
