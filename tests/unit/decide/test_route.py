"""The route of a request: the first whose conditions hold, and the reasons of those before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from weir_router.contract import CallerRule, Capability, Complexity, HeaderMatch, Policy, Route, When
from weir_router.decide.choose import match_route

VISION, TOOLS = Capability.VISION, Capability.TOOLS
Make = Callable[..., Any]


@pytest.fixture
def matches(request_of: Make, policy_of: Callable[..., Policy]) -> Callable[..., bool]:
    def run(when: When, **given: Any) -> bool:
        facts = {"needs": frozenset({TOOLS, VISION}), "headers": {"x-team": "search-eu"}}
        return match_route(policy_of("t", route={"when": when}), request_of(**(facts | given))) is not None

    return run


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (When(), True),
        (When(complexity=frozenset({Complexity.SIMPLE, Complexity.MODERATE})), True),
        (When(complexity=frozenset({Complexity.COMPLEX})), False),
        (When(max_prompt_tokens=100), True),
        (When(max_prompt_tokens=99), False),
        (When(min_prompt_tokens=100), True),
        (When(min_prompt_tokens=101), False),
        (When(min_prompt_tokens=50, max_prompt_tokens=99), False),
        (When(capabilities=frozenset({VISION})), True),
        (When(capabilities=frozenset({VISION, Capability.AUDIO})), False),
        (When(headers=(HeaderMatch(name="x-team"),)), True),
        (When(headers=(HeaderMatch(name="x-team", exact="search-eu"),)), True),
        (When(headers=(HeaderMatch(name="x-team", exact="search"),)), False),
        (When(headers=(HeaderMatch(name="x-team", prefix="search"),)), True),
        (When(headers=(HeaderMatch(name="x-team", prefix="eu"),)), False),
        (When(headers=(HeaderMatch(name="x-other"),)), False),
        (When(headers=(HeaderMatch(name="x-team"), HeaderMatch(name="x-other"))), False),
        (When(callers=(CallerRule(namespaces=frozenset({"team-a"})),)), True),
        (When(callers=(CallerRule(namespaces=frozenset({"team-b"})),)), False),
        (When(user_tiers=frozenset({"gold"})), True),
        (When(user_tiers=frozenset({"silver"})), False),
        (When(features=frozenset({"summaries"})), False),
        (When(user_tiers=frozenset({"gold"}), max_prompt_tokens=1), False),
    ],
)
def test_every_condition_must_hold(matches: Callable[..., bool], when: When, expected: bool) -> None:
    assert matches(when) is expected


def test_a_feature_is_matched_by_the_clients_claim(matches: Callable[..., bool]) -> None:
    assert matches(When(features=frozenset({"summaries"})), feature="summaries")


def test_the_first_route_that_matches_wins(request_of: Make, policy_of: Callable[..., Policy]) -> None:
    names = ("never", "first", "second")
    whens = (When(max_prompt_tokens=1), When(), When())
    policy = policy_of(routes=tuple(Route(name=n, tiers=(), when=w) for n, w in zip(names, whens, strict=True)))
    route = match_route(policy, request_of(100))
    assert route is not None
    assert route.name == "first"
