"""The sizes that `GET /v1/models` shows: of the backends that may serve a request of this caller."""

import msgspec
import pytest

from weir_router.contract import (
    Backend,
    BackendLimits,
    BackendState,
    CallerKind,
    CallerRule,
    CompiledConfig,
    Dialect,
    Mode,
    Operation,
    Override,
    Policy,
    Route,
    Tier,
    TierRef,
    When,
)
from weir_router.contract.caller import Caller
from weir_router.decide.sizes import listed

CALLER = Caller("team-a", "app", CallerKind.API_KEY, user_tier="paid")
NOW = 1_000.0
EMBEDDINGS = frozenset({Operation.EMBEDDINGS})


def backend(name: str, context: int | None, output: int | None, **more) -> Backend:
    limits = BackendLimits(context_tokens=context, output_tokens=output)
    return Backend(name=name, provider=Dialect.OPENAI, base_url="http://h/v1", model=name, limits=limits, **more)


TIERS = {
    "small": [backend("s", 8_000, 1_000)],
    "large": [backend("l", 200_000, None, labels={"region": "eu"}), backend("m", 100_000, 32_000)],
    "off": [backend("o", 1_000_000, 64_000, state=BackendState.DISABLED)],
    "unknown": [backend("u", None, None)],
}


def config() -> CompiledConfig:
    tiers = {f"n/{name}": Tier(namespace="n", name=name, backends=tuple(it)) for name, it in TIERS.items()}
    return CompiledConfig(revision=1, tiers=tiers)


def route(*tiers: str, **more) -> Route:
    return Route(name="r", tiers=tuple(TierRef(tier=f"n/{tier}") for tier in tiers), **more)


def policy(*routes: Route, **more) -> Policy:
    return Policy(namespace="n", name="p", models=("auto",), callers=(CallerRule(),), routes=routes, **more)


@pytest.mark.parametrize(
    ("asked", "sizes"),
    [
        (policy(route("small", "large")), (200_000, 32_000)),
        (policy(route("small"), route("large")), (200_000, 32_000)),
        (policy(route("small", "unknown")), (8_000, 1_000)),
        (policy(route("unknown")), (None, None)),
        (policy(route("small", "off")), (8_000, 1_000)),
        (policy(route("small", "missing")), (8_000, 1_000)),
        (policy(route("large", require={"region": "eu"})), (200_000, None)),
        (policy(route("small"), route("large", when=When(user_tiers=frozenset({"free"})))), (8_000, 1_000)),
        (policy(route("small"), route("large", when=When(user_tiers=frozenset({"paid"})))), (200_000, 32_000)),
        (policy(route("small"), route("large", when=When(min_prompt_tokens=9_000))), (200_000, 32_000)),
        (policy(route("large"), mode=Mode.OBSERVE, baseline=TierRef(tier="n/small")), (8_000, 1_000)),
        (policy(route("large"), mode=Mode.OBSERVE), (200_000, 32_000)),
        (policy(route("large"), override=Override(TierRef(tier="n/small"), NOW + 1)), (8_000, 1_000)),
        (policy(route("large"), override=Override(TierRef(tier="n/small"), NOW)), (200_000, 32_000)),
        (policy(route("small"), route("large", when=When(operations=EMBEDDINGS))), (8_000, 1_000)),
        (policy(route("large", when=When(operations=EMBEDDINGS))), (200_000, 32_000)),
        (policy(), (None, None)),
    ],
)
def test_the_sizes_are_the_largest_that_a_request_of_the_caller_may_get(asked: Policy, sizes: tuple) -> None:
    found = listed("auto", asked, CALLER, config(), NOW)
    assert (found.name, found.context, found.output) == ("auto", *sizes)


def test_a_route_for_other_callers_does_not_count() -> None:
    rule = CallerRule(namespaces=frozenset({"team-b"}))
    asked = policy(route("small"), route("large", when=When(callers=(rule,))))
    assert listed("auto", asked, CALLER, config(), NOW).context == 8_000
    assert listed("auto", asked, msgspec.structs.replace(CALLER, namespace="team-b"), config(), NOW).context == 200_000
