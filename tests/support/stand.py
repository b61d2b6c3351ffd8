"""A simulator, a router in front of it, and the config between them, for the router's tests."""

from __future__ import annotations

import base64
import contextlib
import random
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

import msgspec

from weir_cli.sim import SimModel, Simulator
from weir_router.admit.queue import MAX_IN_FLIGHT
from weir_router.app import Router
from weir_router.clock import Clock
from weir_router.config.access import Access
from weir_router.contract import (
    Backend,
    CallerKey,
    CallerRule,
    CompiledConfig,
    Dialect,
    Policy,
    Price,
    Route,
    Secrets,
    StateKey,
    Tier,
    TierRef,
)
from weir_router.identify.keys import fingerprint
from weir_router.record.log import outputs
from weir_router.serve.extensions import NONE, Extensions

KEY = "weir_test-key-of-the-caller"
UPSTREAM_KEY = "sk-upstream-0123456789"
NAMESPACE = "team-a"
OTHER_KEY, OTHER_NAMESPACE = "weir_test-key-of-another-caller", "team-b"
STATE_KEYS = (StateKey(key=base64.b64encode(b"k" * 32).decode()),)


class Lines:
    """The request log, decoded."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def __call__(self, line: bytes) -> None:
        self.lines.append(msgspec.json.decode(line))


class Stand:
    """The stand as a test sees it."""

    def __init__(self, sim: Simulator, router: Router, config: CompiledConfig, secrets: Secrets, log: Lines) -> None:
        self.sim = sim
        self.router = router
        self.config = config
        self.secrets = secrets
        self.log = log

    @property
    def url(self) -> str:
        """URL for callers."""
        return self.router.url

    @property
    def last(self) -> dict[str, Any]:
        """The last line of the request log."""
        return self.log.lines[-1]

    def apply(self, config: CompiledConfig) -> None:
        """Swaps the config."""
        self.config = config
        self.router.store.apply(config, self.secrets)


def backend(sim: Simulator, model: SimModel, **changes: Any) -> Backend:
    """A backend for a simulated model, named like it."""
    base = sim.url + ("/v1" if model.dialect is Dialect.OPENAI else "")
    defaults: dict[str, Any] = {"credential": "upstream", "price": Price(input=1.0, output=2.0)}
    defaults |= {"name": model.name, "provider": model.dialect, "base_url": base, "model": model.name}
    return Backend(**{**defaults, **changes})


def config_for(tiers: Sequence[Sequence[Backend]], **policy: Any) -> CompiledConfig:
    """One policy over tiers t0, t1, ... in order; `policy` overrides its fields."""
    compiled = {
        f"llm/t{number}": Tier(namespace="llm", name=f"t{number}", backends=tuple(backends))
        for number, backends in enumerate(tiers)
    }
    defaults: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": "assistants",
        "models": ("auto",),
        "callers": (CallerRule(namespaces=frozenset({NAMESPACE})),),
        "routes": (Route(name="all", tiers=tuple(TierRef(tier=key) for key in compiled)),),
    }
    return CompiledConfig(revision=1, tiers=compiled, policies=(Policy(**{**defaults, **policy}),))


@contextlib.asynccontextmanager
async def stand(
    *tiers: Sequence[SimModel],
    changes: dict[str, dict[str, Any]] | None = None,
    clock: Clock | None = None,
    seed: int = 0,
    max_in_flight: int = MAX_IN_FLIGHT,
    memory: int | None = None,
    reviewer: Access | None = None,
    origins: Collection[str] = (),
    extensions: Extensions = NONE,
    **policy: Any,
) -> AsyncIterator[Stand]:
    """A router over one tier per sequence of models; `changes` overrides backends' fields by model name."""
    models = [model for tier in tiers for model in tier]
    log = Lines()
    outputs.append(log)
    secrets = Secrets(
        credentials={"upstream": UPSTREAM_KEY},
        caller_keys={
            fingerprint(KEY): CallerKey(namespace=NAMESPACE, name="tester", user_tier="paid"),
            fingerprint(OTHER_KEY): CallerKey(namespace=OTHER_NAMESPACE, name="tester"),
        },
        state_keys=STATE_KEYS,
    )
    try:
        async with (
            Simulator(models) as sim,
            Router(
                port=0,
                admin_port=0,
                clock=clock,
                rng=random.Random(seed),
                grace=1.0,
                max_in_flight=max_in_flight,
                memory=memory,
                reviewer=reviewer,
                origins=origins,
                extensions=extensions,
            ) as router,
        ):
            config = config_for(
                [[backend(sim, model, **(changes or {}).get(model.name, {})) for model in tier] for tier in tiers],
                **policy,
            )
            result = Stand(sim, router, config, secrets, log)
            result.apply(config)
            yield result
    finally:
        outputs.remove(log)
