"""A request that uses state goes along a route that leads there, be its prompt short or long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from weir_router.contract import Backend, Complexity, Dialect, Policy, Route, TierRef, When
from weir_router.decide.asked import ELSEWHERE, asked
from weir_router.decide.types import Choice
from weir_router.dialects.openai_responses.record import COMPACTING, RECORD

Make = Callable[..., Any]


def backend(name: str, account: str = "") -> Backend:
    return Backend(name=name, provider=Dialect.OPENAI, base_url=f"http://{name}", model="m", account=account)


TIERS = {"one": (backend("a", "AAAAAAAA"),), "two": (backend("b", "BBBBBBBB"), backend("c", "CCCCCCCC"))}


def route(name: str, *tiers: str, **when: Any) -> Route:
    return Route(name=name, tiers=tuple(TierRef(tier=f"llm/{tier}") for tier in tiers), when=When(**when))


def hook(home: str) -> Callable[[Backend], str | None]:
    return lambda it: None if it.account == home else "elsewhere"


@pytest.fixture
def sent(decide: Callable[..., Choice], policy_of: Callable[..., Policy], request_of: Make) -> Callable[..., Choice]:
    def run(home: str, *routes: Route, **facts: Any) -> Choice:
        request = request_of(home=home, unable=hook(home), **facts)
        return decide(policy_of(routes=routes), request=request, **TIERS)

    return run


def test_conditions_about_the_prompt_do_not_count(sent: Callable[..., Choice]) -> None:
    complex_only = frozenset({Complexity.COMPLEX})
    choice = sent(
        "BBBBBBBB",
        route("simple", "one"),
        route("complex", "gone", "two", complexity=complex_only, min_prompt_tokens=900, max_prompt_tokens=901),
    )
    assert (choice.route, [it.backend.name for it in choice.candidates]) == ("complex", ["b"])
    assert choice.reason == "route complex has the state that the request names"
    assert [(it.backend, it.reason) for it in choice.skipped if it.backend] == [("c", "elsewhere")]


def test_all_other_conditions_count(sent: Callable[..., Choice]) -> None:
    routes = route("paid", "two", user_tiers=frozenset({"platinum"})), route("rest", "one")
    choice = sent("BBBBBBBB", *routes)
    assert (choice.route, choice.candidates) == ("rest", ())
    assert choice.unable == "llm/one/a: elsewhere"


def test_the_first_route_with_the_state_wins(sent: Callable[..., Choice]) -> None:
    choice = sent("BBBBBBBB", route("first", "one", "two"), route("second", "two"))
    assert choice.route == "first"


def test_only_the_account_that_holds_the_state_can_serve_a_request_that_uses_it() -> None:
    body = b'{"model": "auto", "input": "go on", "previous_response_id": "x"}'
    ask = msgspec.structs.replace(RECORD.read(body, {}), home="AAAAAAAA")
    unable = asked(ask, {}).unable
    assert unable is not None
    here, there = (msgspec.structs.replace(backend("a", it), formats=("Responses",)) for it in ("AAAAAAAA", "BBBBBBBB"))
    assert (unable(here), unable(there)) == (None, ELSEWHERE)


def test_a_path_that_no_other_format_has_is_not_translated() -> None:
    unable = asked(COMPACTING.read(b'{"model": "auto", "input": "long"}', {}), {}).unable
    assert unable is not None
    assert unable(backend("a")) == "takes no format that has /compact"
