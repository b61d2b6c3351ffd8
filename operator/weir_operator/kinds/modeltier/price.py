"""The price of a backend, as its owner states it. Part of `schema`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from weir_operator.schemas.common import Money, Tokens
from weir_operator.schemas.rules import Model

MAX_STEPS = 4  # of a price; providers have one or two


class PriceStepSpec(Model):
    """US dollars per million tokens of a request with a long prompt."""

    above: Tokens
    """Number of prompt tokens, cached ones included; a longer prompt has this price."""
    input: Money
    """Price of prompt tokens."""
    cached_input: Money | None = None
    """Price of prompt tokens read from the provider's prompt cache. Default: as `input`."""
    cache_write: Money | None = None
    """Price of prompt tokens written into the provider's prompt cache. Default: as `input`."""
    cache_write_long: Money | None = None
    """Price of prompt tokens written with the longer lifetime. Default: as in a price without steps."""
    output: Money
    """Price of completion tokens, reasoning included."""


class PriceSpec(Model):
    """Prices in US dollars per million tokens."""

    input: Money | None = None
    """Price of prompt tokens. Default: the catalogue's."""
    cached_input: Money | None = None
    """Price of prompt tokens read from the provider's prompt cache. Default: the catalogue's, or as `input`."""
    cache_write: Money | None = None
    """Price of prompt tokens written into the provider's prompt cache. Default: the catalogue's, or as `input`."""
    cache_write_long: Money | None = None
    """Price of prompt tokens written with the longer lifetime (Anthropic: 1 hour, OpenAI: 12 hours). Default: the
    catalogue's, or twice `input` if there is a `cacheWrite`, else as `input`."""
    output: Money | None = None
    """Price of completion tokens, reasoning included. Default: the catalogue's."""
    steps: Annotated[tuple[PriceStepSpec, ...], Field(max_length=MAX_STEPS)] | None = None
    """Prices of long prompts; an empty list: none. The highest step below the prompt's length is the price of all
    tokens of a request. Default: the catalogue's, with its own prices only."""
