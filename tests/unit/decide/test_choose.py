"""The whole decision, from policy and request to candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from weir_router.contract import (
    BackendLimits,
    BackendState,
    Capability,
    CompiledConfig,
    Limit,
    Mode,
    Override,
    Route,
    Tier,
    TierRef,
    When,
)
from weir_router.decide.choose import choose
from weir_router.decide.types import Choice, Seen
from weir_router.decide.world import World
from weir_router.health.view import Snapshot

Make = Callable[..., Any]
DOWN = Snapshot(state="open", reason="server", available_at=1_004.2)
MISSING = Snapshot(keeps_objectives=False)
SLOW = Snapshot(state="open", reason="slow", available_at=1_004.0, last_resort=True)


def names(choice: Choice) -> str:
    return "".join(candidate.backend.name for candidate in choice.candidates)


def skipped(choice: Choice) -> dict[str, str]:
    return {skip.backend: skip.reason for skip in choice.skipped}


def test_tiers_in_the_routes_order_whatever_they_cost(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("x", "y"), x=(backend("a", 9),), y=(backend("b", 1), backend("c", 0.5)))
    assert names(choice) == "acb"
    assert (choice.route, choice.reason, choice.unable) == ("r", "route r is the first that matches", None)
    assert [c.key for c in choice.candidates] == ["llm/x/a", "llm/y/c", "llm/y/b"]


def test_candidates_carry_their_grants_limits(decide: Make, policy_of: Make, backend: Make) -> None:
    limit = Limit(key="grant", requests_per_minute=5)
    route = Route(name="r", tiers=(TierRef(tier="llm/x", limits=(limit,)),))
    choice = decide(policy_of(routes=(route,)), x=(backend(),))
    assert choice.candidates[0].limits == (limit,)


def test_no_route_can_never_serve(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("x", route={"when": When(max_prompt_tokens=1)}), x=(backend(),))
    assert (choice.route, choice.candidates) == (None, ())
    assert choice.unable == "no route of team-a/p matches this request (Simple, 100 prompt tokens)"


def test_a_route_that_is_kept_without_tiers_says_where_to_look(decide: Make, policy_of: Make) -> None:
    choice = decide(policy_of())
    assert (choice.route, choice.candidates) == ("r", ())
    assert "none of its tiers can be used; see the conditions of" in choice.reason


def test_a_tier_that_is_gone_is_skipped_but_may_come_back(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("gone"))
    assert skipped(choice) == {"": "the tier is not in the config"}
    assert choice.unable is None


# Fitness


@pytest.mark.parametrize("state", [BackendState.DRAINING, BackendState.DISABLED])
def test_only_active_backends_take_requests(decide: Make, policy_of: Make, backend: Make, state: BackendState) -> None:
    choice = decide(policy_of("x"), x=(backend("a", state=state), backend("b")))
    assert names(choice) == "b"
    assert skipped(choice) == {"a": f"state {state.value}"}


def test_a_draining_backend_does_not_make_the_request_unservable(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("x"), x=(backend(state=BackendState.DRAINING),))
    assert (choice.candidates, choice.unable) == ((), None)


def test_residency_holds_for_every_tier(decide: Make, policy_of: Make, backend: Make) -> None:
    policy = policy_of("x", "y", route={"require": {"region": "eu"}})
    choice = decide(policy, x=(backend("a"),), y=(backend("b"), backend("c", labels={"region": "eu"})))
    assert names(choice) == "c"


def test_when_nothing_fits_it_says_why(decide: Make, policy_of: Make, backend: Make, request_of: Make) -> None:
    blind = [backend(name, capabilities=frozenset()) for name in "abcdefg"]
    request = request_of(needs=frozenset({Capability.VISION}))
    choice = decide(policy_of("x"), request=request, x=tuple(blind))
    assert choice.unable.startswith("llm/x/a: does not offer Vision; llm/x/b: ")
    assert choice.unable.endswith("llm/x/e: does not offer Vision; and 2 more")
    few = decide(policy_of("x"), request=request, x=tuple(blind[:1]))
    assert few.unable == "llm/x/a: does not offer Vision"


def test_the_effective_context_excludes(decide: Make, policy_of: Make, backend: Make) -> None:
    short = backend("a", 0.1, limits=BackendLimits(effective_context_tokens=50))
    choice = decide(policy_of("x"), x=(short, backend("b")))
    assert names(choice) == "b"
    assert skipped(choice) == {"a": "100 prompt tokens exceed its effective context of 50"}


def test_the_effective_context_gives_way_when_it_excludes_everyone(
    decide: Make, policy_of: Make, backend: Make
) -> None:
    short = backend("a", limits=BackendLimits(effective_context_tokens=50))
    tiny = backend("b", limits=BackendLimits(context_tokens=60, effective_context_tokens=50))
    choice = decide(policy_of("x"), x=(short, tiny))
    assert names(choice) == "a"
    assert "exceed its effective context of 50, as on the whole route" in choice.candidates[0].reason
    assert skipped(choice) == {"b": "100 tokens exceed its context of 60"}


THINKS = frozenset({Capability.TOOLS, Capability.REASONING})


def test_a_backend_that_cannot_think_is_out_where_another_can(
    decide: Make, policy_of: Make, backend: Make, request_of: Make
) -> None:
    plain, thinker = backend("a", 0.1, capabilities=frozenset({Capability.TOOLS})), backend("b", capabilities=THINKS)
    choice = decide(policy_of("x"), request=request_of(needs=THINKS), x=(plain, thinker))
    assert names(choice) == "b"
    assert skipped(choice) == {"a": "does not offer Reasoning"}


def test_a_request_does_without_thought_where_no_backend_has_it(
    decide: Make, policy_of: Make, backend: Make, request_of: Make
) -> None:
    plain, bare = backend("a", capabilities=frozenset({Capability.TOOLS})), backend("b", capabilities=frozenset())
    choice = decide(policy_of("x"), request=request_of(needs=THINKS), x=(plain, bare))
    assert names(choice) == "a"
    assert "does not offer Reasoning, as on the whole route" in choice.candidates[0].reason
    assert skipped(choice) == {"b": "does not offer Tools"}


# Health


def test_what_is_out_is_skipped_with_the_moment_of_its_return(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("x"), {"a": DOWN}, x=(backend("a"), backend("b", 5)))
    assert names(choice) == "b"
    [skip] = choice.skipped
    assert skip.reason == "open because of server, available in 4.2 s"
    assert skip.key == "llm/x/a"
    assert skip.seen == Seen(state="open", reason="server", available_at=1_004.2)


def test_a_backend_whose_time_has_come_is_a_probe(decide: Make, policy_of: Make, backend: Make) -> None:
    ready = Snapshot(state="half-open", reason="server", available_at=1_000.0)
    choice = decide(policy_of("x"), {"a": ready}, x=(backend("a"),))
    assert choice.candidates[0].reason == "costs about $0.000356; probe of a half-open breaker"


def test_everything_out_fails_fast(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("x"), {"a": DOWN, "b": DOWN}, x=(backend("a"), backend("b")))
    assert (choice.candidates, choice.unable, choice.panic) == ((), None, False)
    assert len(choice.skipped) == 2


def test_out_for_credentials_is_told_apart(decide: Make, policy_of: Make, backend: Make) -> None:
    refused = Snapshot(state="ejected", reason="credential", available_at=1_060.0, credential_out=True)
    assert decide(policy_of("x"), {"a": refused}, x=(backend("a"),)).skipped[0].seen.credential_out


def test_a_last_resort_is_used_when_nothing_else_is_left(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("x", "y"), {"a": DOWN, "b": SLOW}, x=(backend("a"),), y=(backend("b"),))
    assert (names(choice), choice.panic) == ("b", True)
    assert choice.candidates[0].reason.startswith("last resort: nothing else is available")
    assert set(skipped(choice)) == {"a"}


def test_a_last_resort_is_left_alone_while_a_later_tier_is_well(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("x", "y"), {"a": SLOW}, x=(backend("a"),), y=(backend("b"),))
    assert (names(choice), choice.panic) == ("b", False)


# Objectives


@pytest.mark.parametrize(
    ("missing", "order"),
    [("", "abc"), ("a", "bca"), ("b", "acb"), ("ab", "cab"), ("ac", "bac"), ("c", "abc"), ("abc", "abc")],
)
def test_a_tier_that_misses_its_objectives_is_passed_over(
    decide: Make, policy_of: Make, backend: Make, missing: str, order: str
) -> None:
    view = dict.fromkeys(missing, MISSING)
    choice = decide(policy_of("x", "y", "z"), view, x=(backend("a"),), y=(backend("b"),), z=(backend("c"),))
    assert names(choice) == order


def test_a_passed_over_tier_says_so(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("x", "y"), {"a": MISSING}, x=(backend("a"),), y=(backend("b"),))
    assert "tier passed over" in choice.candidates[1].reason


def test_one_backend_that_keeps_its_objectives_holds_the_tier(decide: Make, policy_of: Make, backend: Make) -> None:
    choice = decide(policy_of("x", "y"), {"a": MISSING}, x=(backend("a"), backend("b", 9)), y=(backend("c"),))
    assert names(choice) == "bac"


# Observe and override


def test_observe_decides_but_sends_to_the_baseline(decide: Make, policy_of: Make, backend: Make) -> None:
    policy = policy_of("x", mode=Mode.OBSERVE, baseline=TierRef(tier="llm/y"))
    choice = decide(policy, x=(backend("a"),), y=(backend("b"),))
    assert (names(choice), choice.route, choice.observed_tier) == ("b", "r", "llm/x")
    assert choice.reason == "observe: route r matches, sent to the baseline llm/y"


def test_observe_keeps_residency_on_the_baseline(decide: Make, policy_of: Make, backend: Make) -> None:
    baseline = TierRef(tier="llm/y")
    policy = policy_of("x", mode=Mode.OBSERVE, baseline=baseline, route={"require": {"region": "eu"}})
    assert names(decide(policy, x=(backend("a"),), y=(backend("b"),))) == ""


def test_observe_serves_what_no_route_matches(decide: Make, policy_of: Make, backend: Make) -> None:
    policy = policy_of(mode=Mode.OBSERVE, baseline=TierRef(tier="llm/y"), routes=())
    choice = decide(policy, y=(backend("b"),))
    assert (names(choice), choice.route, choice.observed_tier) == ("b", None, None)


def test_observe_would_have_gone_nowhere(decide: Make, policy_of: Make, backend: Make) -> None:
    policy = policy_of("x", mode=Mode.OBSERVE, baseline=TierRef(tier="llm/y"))
    assert decide(policy, {"a": DOWN}, x=(backend("a"),), y=(backend("b"),)).observed_tier is None


def test_observe_without_a_baseline_uses_the_route(decide: Make, policy_of: Make, backend: Make) -> None:
    assert names(decide(policy_of("x", mode=Mode.OBSERVE), x=(backend("a"),))) == "a"


def test_an_override_sends_everything_to_one_tier_until_its_moment(
    decide: Make, policy_of: Make, backend: Make
) -> None:
    override = Override(tier=TierRef(tier="llm/y"), until=1_800_000_060.0)
    policy = policy_of("x", override=override)
    tiers = {"x": (backend("a"),), "y": (backend("b"),)}
    during = decide(policy, wall=1_800_000_059.9, **tiers)
    assert (names(during), during.route) == ("b", "r")
    assert during.reason == "override: everything goes to llm/y until 2027-01-15T08:01:00Z"
    assert names(decide(policy, wall=1_800_000_060.0, **tiers)) == "a"


def test_an_override_serves_what_no_route_matches(decide: Make, policy_of: Make, backend: Make) -> None:
    override = Override(tier=TierRef(tier="llm/y"), until=2e9)
    assert names(decide(policy_of(routes=(), override=override), y=(backend("b"),))) == "b"


def test_endpoints_of_one_backend_are_candidates_each_and_the_ill_one_is_skipped(
    decide: Make, policy_of: Make, backend: Make, request_of: Make
) -> None:
    pods = tuple(backend("a", endpoint=f"10.0.0.{n}:80") for n in (1, 2, 3))
    tiers = {"llm/t": Tier(namespace="llm", name="t", backends=pods)}
    view = {"llm/t/a@10.0.0.2:80": Snapshot(state="open", reason="timeout", available_at=2_000.0)}
    world = World(CompiledConfig(tiers=tiers), view, wall=0.0, now=1_000.0, draw=0.5)
    found = choose(policy_of("t"), request_of(), world)
    assert {it.key for it in found.candidates} == {"llm/t/a@10.0.0.1:80", "llm/t/a@10.0.0.3:80"}
    assert [it.key for it in found.skipped] == ["llm/t/a@10.0.0.2:80"]
