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

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from msgspec import structs

from weir_router.contract import Complexity, Policy
from weir_router.contract.caller import Caller
from weir_router.contract.conditions import unmet
from weir_router.decide.choose import choose
from weir_router.decide.request import RouteRequest
from weir_router.decide.types import UNSEEN, Asked, Candidate, Choice, Decision, Seen, Skipped
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
    features = asked.features if asked.began is None else asked.began
    classification = classify(features) if head is None else head(features)
    complexity, reason = applied(classification, policy.min_confidence)
    request = RouteRequest(asked, caller, complexity, world.wall)
    began = None if asked.began is None else _entry(asked, caller, complexity, world.wall)
    choice = choose(policy, request, world, began)
    if began is not None and choice.unable is not None:  # the loop has outgrown every backend of its route
        return decide(structs.replace(asked, began=None), caller, policy, world)
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


def _entry(asked: Asked, caller: Caller, complexity: Complexity, wall: float) -> RouteRequest:
    """The request as the conditions of routes see it: in a tool loop, the one that began it."""
    features = asked.features if asked.began is None else asked.began
    return RouteRequest(structs.replace(asked, features=features), caller, complexity, wall)


def passed_over(decision: Decision) -> list[PassedOver]:
    """The routes before the one that matched, in the policy's order; all of them where none did."""
    request = _entry(decision.asked, decision.caller, decision.complexity, decision.wall)
    found = []
    for route in decision.policy.routes:
        if route.name == decision.choice.route:
            break
        found.append(PassedOver(route.name, unmet(route.when, request)))
    return found


def inputs(decision: Decision) -> Inputs:
    """The inputs of a decision, with the health as it was seen: `decide(*inputs(decision)) == decision`."""
    health = views(_seen(decision.choice))
    heads = {} if decision.head is None else {decision.policy.key: decision.head}
    world = World(decision.config, health, decision.wall, decision.now, decision.draw, heads)
    return Inputs(decision.asked, decision.caller, decision.policy, world)


def views(places: Iterable[tuple[str, Seen]]) -> dict[str, Snapshot]:
    """The health of each backend as it was seen, by its key.

    Under `mode: Observe` two orders are made of one view, and each looks at other figures: those that differ from what
    `Seen` begins with were looked at.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, seen in places:
        looked_at = {name: it for name, it in structs.asdict(seen).items() if it != getattr(UNSEEN, name)}
        found.setdefault(key, {}).update(looked_at)
    return {key: Snapshot(**figures) for key, figures in found.items()}


def _seen(choice: Choice) -> Iterator[tuple[str, Seen]]:
    places: list[Candidate | Skipped] = [*choice.candidates, *choice.skipped, *choice.observed, *choice.unobserved]
    for it in places:
        if it.seen is not None:
            yield it.key, it.seen
