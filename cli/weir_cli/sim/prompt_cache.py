"""The prompt caches of simulated models: the longest beginning of a prompt that was sent lately, in tokens.

`weir_cli.sim.server` asks once per request to a model with `prompt_cache`. As at OpenAI and Anthropic, a cache is of
one model and one credential, counts from 1,024 tokens in steps of 128, and forgets after five minutes without use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

from weir_cli.sim.answer import CHARACTERS_PER_TOKEN, IMAGE_TOKENS, is_media

LEAST_TOKENS = 1_024
"""Tokens of the shortest beginning that is cached: OpenAI's figure, and that of most Claude models."""

STEP_TOKENS = 128
"""Tokens from one length that is cached to the next (OpenAI)."""

KEPT_SECONDS = 300.0
"""Seconds since its last use after which a beginning is forgotten (Anthropic's shorter life)."""

MOST_BEGINNINGS = 200_000
"""Beginnings that are kept, so that a long run does not fill the memory: 25 million tokens."""

_STEP = STEP_TOKENS * CHARACTERS_PER_TOKEN


class PromptCache:
    """All caches of one simulator. Times are in seconds of any clock."""

    def __init__(self) -> None:
        self._used: dict[bytes, float] = {}  # last use of each beginning, by its hash

    def read(self, owner: str, body: Mapping[str, Any], now: float) -> int:
        """Tokens of the prompt that the cache of `owner` has; from now on it has all of them."""
        if len(self._used) > MOST_BEGINNINGS:
            self._used = {key: at for key, at in self._used.items() if at >= now - KEPT_SECONDS}
        cached = 0
        for steps, key in enumerate(_beginnings(owner, body), 1):
            if cached == steps - 1 and self._used.get(key, -KEPT_SECONDS - 1) >= now - KEPT_SECONDS:
                cached = steps
            self._used[key] = now
        tokens = cached * STEP_TOKENS
        return tokens if tokens >= LEAST_TOKENS else 0


def _beginnings(owner: str, body: Mapping[str, Any]) -> Iterator[bytes]:
    """A hash for each beginning of the prompt, the shortest first: each is made of the one before."""
    prompt = "".join(_texts([body.get(name) for name in ("tools", "system", "messages", "instructions", "input")]))
    key = owner.encode()
    for at in range(0, len(prompt) - _STEP + 1, _STEP):
        key = blake2b(key + prompt[at : at + _STEP].encode("utf-8", "replace"), digest_size=16).digest()
        yield key


def _texts(content: Any) -> Iterator[str]:
    """All text of a prompt in its order. Marks for the cache itself are left out, since clients move them."""
    match content:
        case str():
            yield content
        case list():
            for item in content:
                yield from _texts(item)
        case dict() if is_media(content):
            digest = blake2b(repr(content).encode("utf-8", "replace")).hexdigest()
            yield digest.ljust(IMAGE_TOKENS * CHARACTERS_PER_TOKEN)
        case dict():
            for name, value in content.items():
                if name != "cache_control":
                    yield from _texts(value)
