"""The quickstart and the simulator have the same models."""

from __future__ import annotations

from pathlib import Path

import pytest

from weir_cli.sim.fleet import FLEET, TIERS
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.observe.manifests import load
from weir_router.contract import Backend, Dialect

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart"
PRICES = {"ultra-budget": (0.01, 0.15), "budget": (0.25, 0.28), "mid-range": (0.19, 0.78), "premium": (1.92, 3.00)}


def backends() -> dict[str, tuple[Backend, ...]]:
    config = compile_config(load(QUICKSTART, KINDS).observed, KINDS, catalogue=Catalogue.load(), now=0.0).config
    return {tier.name: tier.backends for tier in config.tiers.values()}


def test_the_quickstart_has_the_simulators_fleet():
    told = {
        (name, it.model, it.provider, it.price.input, it.price.output, it.limits.context_tokens)
        for name, tier in backends().items()
        for it in tier
        if it.price
    }
    assert told == {(it.tier, it.name, it.dialect, it.price_input, it.price_output, it.context_tokens) for it in FLEET}


@pytest.mark.parametrize("tier", TIERS)
def test_a_tiers_prices_are_those_of_the_demo(tier):
    prices = [it.price.output for it in backends()[tier] if it.price]
    assert (min(prices), max(prices)) == PRICES[tier]


def test_every_backend_is_where_the_simulator_listens():
    urls = {Dialect.OPENAI: "http://127.0.0.1:9100/v1", Dialect.ANTHROPIC: "http://127.0.0.1:9100"}
    assert all(it.base_url == urls[it.provider] for tier in backends().values() for it in tier)
