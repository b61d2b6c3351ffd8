"""Agents behind several backends get nearly all cached tokens that one backend would give them."""

from __future__ import annotations

import pytest
from bench.sessions import direct, routed

from weir_router.contract import Dialect, Selection


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_twenty_turns_behind_three_backends_read_as_much_from_caches_as_with_one(dialect: Dialect) -> None:
    alone = await direct(dialect, 6, 20)
    assert alone.cached > 0.85 * alone.tokens
    behind = await routed(dialect, 6, 20, 3, Selection.LEAST_LATENCY)
    assert behind.tokens == alone.tokens
    assert behind.cached >= 0.95 * alone.cached
