"""The examples name models that their simulator has, and the quickstart all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from weir_cli.sim.fleet import FLEET, TIERS
from weir_operator.compile import compile_config
from weir_operator.compile.catalogue import Catalogue
from weir_operator.kinds import KINDS
from weir_operator.observe.manifests import load
from weir_router.contract import Backend, Complexity, Dialect

EXAMPLES = Path(__file__).parents[3] / "examples"
QUICKSTART = EXAMPLES / "quickstart"
FOLDERS = sorted(path.name for path in EXAMPLES.iterdir())
SIMULATED = {
    f"http://{host}{path}": dialect
    for host in ("127.0.0.1:9100", "simulator.llm")
    for path, dialect in (("/v1", Dialect.OPENAI), ("", Dialect.ANTHROPIC))
}
"""Base URLs of a simulator of `FLEET`, with the format that it serves there."""

PRICES = {"ultra-budget": (0.01, 0.15), "budget": (0.25, 0.28), "mid-range": (0.19, 0.78), "premium": (1.92, 3.00)}


def backends(folder: Path = QUICKSTART) -> dict[str, tuple[Backend, ...]]:
    config = compile_config(load(folder, KINDS).observed, KINDS, catalogue=Catalogue.load(), now=0.0).config
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


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_example_names_a_model_that_its_simulator_does_not_have(folder):
    """A simulated model is known in one format only: of another provider it is a 404, and another tier answers."""
    fleet = {(it.name, it.dialect, it.context_tokens, it.price_input, it.price_output) for it in FLEET}
    for it in (it for tier in backends(EXAMPLES / folder).values() for it in tier):
        assert it.price, f"{it.model} has no price: neither the example nor the catalogue has one"
        if it.base_url in SIMULATED:
            assert SIMULATED[it.base_url] is it.provider, f"{it.model}: no {it.provider} at {it.base_url}"
            assert (it.model, it.provider, it.limits.context_tokens, it.price.input, it.price.output) in fleet
        else:
            assert "sim" not in f"{it.base_url} {it.model}", f"{it.base_url} is no URL of a simulator"


def test_each_class_of_the_cluster_example_goes_to_a_tier_of_its_own_first():
    config = compile_config(
        load(EXAMPLES / "cluster", KINDS).observed, KINDS, catalogue=Catalogue.load(), now=0.0
    ).config
    (policy,) = config.policies
    first = {}
    for it in Complexity:
        route = next(route for route in policy.routes if not route.when.complexity or it in route.when.complexity)
        first[it] = route.tiers[0]
    assert len(set(first.values())) == len(Complexity)


def test_the_simulator_of_the_cluster_example_has_the_fleet_and_no_other_models():
    objects = yaml.safe_load_all((EXAMPLES / "cluster" / "1-simulator.yaml").read_text())
    (simulator,) = (it for it in objects if it["kind"] == "Deployment")
    (container,) = simulator["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["sim", "--listen", "0.0.0.0:9100"]
