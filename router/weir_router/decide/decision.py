"""`decide`: one request, its caller, its policy and the world → the decision, with all that it was made of.

The same function for the router, `weir explain` and `weir diff`. Pure: a decision that was recorded with its inputs
can be made again and comes out the same (`inputs`). Example:

    asked = Asked(model="auto", features=measure(prompt))
    decision = decide(asked, caller, policy, World(config, board.view(), wall=1.8e9, now=17.5, draw=0.25))
    decision.choice.candidates[0].backend

A request pays only for its serving: the reasons why routes were passed over, and the inputs as they were, are computed
from references on demand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import structs

from weir_router.contract import Complexity, Policy
from weir_router.contract.conditions import unmet
from weir_router.contract.facts import Caller
from weir_router.decide.choose import choose
from weir_router.decide.types import Asked, Candidate, Choice, Decision, RouteRequest, Skipped
from weir_router.decide.world import World
from weir_router.estimate.complexity import applied, classify
from weir_router.health.view import Snapshot


class PassedOver(NamedTuple):
    """A route before the one that matched, and why it did not."""

    route: str
    reasons: list[str]


class Inputs(NamedTuple):
    """Arguments of `decide`."""

    asked: Asked
    caller: Caller
    policy: Policy
    world: World


def decide(asked: Asked, caller: Caller, policy: Policy, world: World) -> Decision:
    """Estimates the class, finds the route and orders its backends."""
    heads = world.heads
    head = heads.get(policy.key) if heads else None
    classification = classify(asked.features) if head is None else head(asked.features)
    complexity, reason = applied(classification, policy.min_confidence)
    choice = choose(policy, _request(asked, caller, complexity), world)
    return Decision(
        asked,
        caller,
        policy,
        world.config,
        world.wall,
        world.now,
        world.draw,
        classification,
        complexity,
        reason,
        choice,
        head,
    )


def passed_over(decision: Decision) -> list[PassedOver]:
    """The routes before the one that matched, in the policy's order; all of them where none did."""
    request = _request(decision.asked, decision.caller, decision.complexity)
    found = []
    for route in decision.policy.routes:
        if route.name == decision.choice.route:
            break
        found.append(PassedOver(route.name, unmet(route.when, request)))
    return found


def inputs(decision: Decision) -> Inputs:
    """The inputs of a decision, with the health as it was seen: `decide(*inputs(decision)) == decision`."""
    health = dict(_health(decision.choice))
    heads = {} if decision.head is None else {decision.policy.key: decision.head}
    world = World(decision.config, health, decision.wall, decision.now, decision.draw, heads)
    return Inputs(decision.asked, decision.caller, decision.policy, world)


def _request(asked: Asked, caller: Caller, complexity: Complexity) -> RouteRequest:
    return RouteRequest(
        caller=caller,
        model=asked.model,
        complexity=complexity,
        prompt_tokens=asked.features.tokens,
        needs=asked.needs,
        headers=asked.headers,
        feature=asked.feature,
        max_output=asked.max_output,
        unable=asked.unable,
    )


def _health(choice: Choice) -> Iterator[tuple[str, Snapshot]]:
    """Key and health of every backend that was looked at."""
    places: list[Candidate | Skipped] = [*choice.candidates, *choice.skipped, *choice.observed, *choice.unobserved]
    for it in places:
        if it.seen is not None:
            figures = structs.asdict(it.seen)
            yield it.key, Snapshot(**figures | {"score": 1.0 if it.seen.score is None else it.seen.score})
