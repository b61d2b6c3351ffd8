"""The demo's fleet as data: invented models in four tiers, named once for `weir sim`, the demo and its manifests.

Prices, times to first token and rates are the span that each tier of hosted models covered when this was written.
Models of a tier share its speed and differ in price and dialect.
"""

from __future__ import annotations

from weir_cli.sim.models import SimModel
from weir_router.contract import Dialect

TIERS = ("ultra-budget", "budget", "mid-range", "premium")
"""Cheapest first."""

_JITTER = 0.1
"""Hosted models are never metronomes; ten per cent keeps a tier's models recognisable."""

_SPEED = {"ultra-budget": (0.135, 75.0), "budget": (0.195, 53.0), "mid-range": (0.310, 41.0), "premium": (0.725, 18.0)}
"""Seconds to the first token and tokens per second."""


def _model(
    tier: str, name: str, dialect: Dialect, price_input: float, price_output: float, context_tokens: int
) -> SimModel:
    ttft, rate = _SPEED[tier]
    return SimModel(
        name=name,
        dialect=dialect,
        ttft=ttft,
        tokens_per_second=rate,
        jitter=_JITTER,
        context_tokens=context_tokens,
        price_input=price_input,
        price_output=price_output,
        tier=tier,
    )


FLEET: tuple[SimModel, ...] = (
    _model("ultra-budget", "sim-minnow", Dialect.OPENAI, 0.005, 0.01, 32_000),
    _model("ultra-budget", "sim-sprat", Dialect.ANTHROPIC, 0.04, 0.15, 64_000),
    _model("budget", "sim-dace", Dialect.OPENAI, 0.07, 0.25, 128_000),
    _model("budget", "sim-grayling", Dialect.OPENAI, 0.08, 0.28, 128_000),
    _model("mid-range", "sim-perch", Dialect.OPENAI, 0.06, 0.19, 128_000),
    _model("mid-range", "sim-trout", Dialect.ANTHROPIC, 0.20, 0.78, 200_000),
    _model("premium", "sim-salmon", Dialect.OPENAI, 0.48, 1.92, 200_000),
    _model("premium", "sim-sturgeon", Dialect.ANTHROPIC, 0.75, 3.00, 200_000),
)
"""Every model of the demo."""


def of_tier(tier: str) -> tuple[SimModel, ...]:
    """The fleet's models of one tier; empty for a tier that is not in `TIERS`."""
    return tuple(model for model in FLEET if model.tier == tier)
