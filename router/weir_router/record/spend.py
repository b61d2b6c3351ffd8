"""What an answer cost, and what it would have cost at the baseline. Pure."""

from __future__ import annotations

from weir_router.contract import Price, Tier
from weir_router.record.events import Usage

_PER_TOKEN = 1e-6  # prices are per million tokens


def dollars(usage: Usage, price: Price) -> float:
    """US dollars for `usage` at `price`: cache reads and writes at their own price where there is one."""
    cached = price.input if price.cached_input is None else price.cached_input
    write = price.input if price.cache_write is None else price.cache_write
    fresh = max(0, usage.input - usage.cached_input - usage.cache_write)
    total = fresh * price.input + usage.cached_input * cached + usage.cache_write * write + usage.output * price.output
    return total * _PER_TOKEN


def baseline_dollars(usage: Usage, tier: Tier | None) -> float | None:
    """The same tokens at the cheapest priced backend of the baseline tier: the careful claim. None: nothing to
    compare with.
    """
    if tier is None:
        return None
    costs = [dollars(usage, backend.price) for backend in tier.backends if backend.price is not None]
    return min(costs, default=None)
