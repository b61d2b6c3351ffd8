"""Cost of a request, and its cost at the baseline tier. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from weir_router.contract import Backend, Price, PriceStep, Tier
from weir_router.dialects.usage import Usage
from weir_router.record.finished import NOTHING, Bill

LONG_WRITE = 2.0
"""The price of a cache write for an hour, in input prices, where none is stated: Anthropic's, for all its models."""

_PER_TOKEN = 1e-6  # prices are per million tokens


class Spent(Protocol):
    """The cost of one attempt: its usage, time and backend."""

    usage: Usage | None
    seconds: float
    ttft: float | None

    @property
    def backend(self) -> Backend:
        """The backend of the attempt, which has the price."""


def bill(attempts: Sequence[Spent], *, ok: bool, baseline: Tier | None) -> Bill:
    """Tokens and dollars of all attempts, even failed ones, which must be paid for. `ok`: the last has answered."""
    if not attempts:
        return NOTHING
    spent: float | None = None
    source = None
    for attempt in attempts:
        if attempt.usage is None:
            continue
        price = attempt.backend.price
        if price is not None:
            spent = (spent or 0.0) + dollars(attempt.usage, price)
            source = price.source
    last = attempts[-1]
    usage, model = last.usage, last.backend.model
    if usage is None:
        return Bill(None, model if ok else None, spent, source)
    if not ok:
        return Bill(usage, model, spent, source)
    return Bill(usage, model, spent, source, baseline_dollars(usage, baseline), _rate(last, usage))


def dollars(usage: Usage, price: Price) -> float:
    """US dollars for the `usage` of one answer; a long prompt has the price of its step."""
    figures: Price | PriceStep = price
    for step in price.steps:
        if usage.input > step.above:
            figures = step
    cached = figures.input if figures.cached_input is None else figures.cached_input
    write = figures.input if figures.cache_write is None else figures.cache_write
    fresh = max(0, usage.input - usage.cached_input - usage.cache_write)
    total = fresh * figures.input + usage.cached_input * cached + usage.output * figures.output
    if usage.cache_write:
        long = min(usage.cache_write_long, usage.cache_write)
        total += (usage.cache_write - long) * write + long * _long_write(figures)
    return total * _PER_TOKEN


def _long_write(figures: Price | PriceStep) -> float:
    """The price of a cache write with the longer lifetime."""
    if figures.cache_write_long is not None:
        return figures.cache_write_long
    return figures.input if figures.cache_write is None else LONG_WRITE * figures.input


def baseline_dollars(usage: Usage, tier: Tier | None) -> float | None:
    """US dollars for the same tokens at the cheapest backend of the baseline tier, so that savings are not overstated.
    None: no backend has a price.
    """
    if tier is None:
        return None
    costs = [dollars(usage, backend.price) for backend in tier.backends if backend.price is not None]
    return min(costs, default=None)


def _rate(attempt: Spent, usage: Usage) -> float | None:
    """Output tokens per second after the first. None: it took no time, or was one token."""
    if attempt.ttft is None or usage.output <= 1:
        return None
    generating = attempt.seconds - attempt.ttft
    return (usage.output - 1) / generating if generating > 0 else None
