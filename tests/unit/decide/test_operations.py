"""Operations beyond conversations: routes name them, backends list them, and vectors of two models never mix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from weir_router.contract import (
    CONVERSATIONS,
    BackendState,
    Mode,
    Operation,
    Override,
    Route,
    TierRef,
    When,
)

Make = Callable[..., Any]
VECTORS = When(operations=frozenset({"Embeddings"}))
OTHERS = sorted(frozenset(Operation) - CONVERSATIONS)


def two_routes(**vectors: Any) -> tuple[Route, ...]:
    talk = Route(name="talk", tiers=(TierRef(tier="llm/talk"),))
    return talk, Route(
        name="vectors", tiers=(TierRef(tier="llm/one"), TierRef(tier="llm/two")), when=VECTORS, **vectors
    )


@pytest.fixture
def of(backend: Make) -> Make:
    """A backend of a model for embeddings."""

    def make(name: str, model: str, **fields: Any) -> Any:
        made = backend(name, endpoints=("Embeddings",), **fields)
        return msgspec.structs.replace(made, model=model)

    return make


@pytest.mark.parametrize("operation", OTHERS)
def test_an_operation_that_no_route_names_is_refused_with_the_field(
    operation: Operation, decide: Make, policy_of: Make, request_of: Make, backend: Make
) -> None:
    choice = decide(policy_of("talk"), request=request_of(operation=operation), talk=(backend(),))
    assert not choice.candidates
    assert choice.unable == f"no route of team-a/p serves {operation}: name it in when.operations of a route"


def test_the_size_is_named_where_a_route_has_the_operation(decide: Make, policy_of: Make, request_of: Make) -> None:
    route = {"when": When(operations=frozenset({"Embeddings"}), min_prompt_tokens=500)}
    choice = decide(policy_of("talk", route=route), request=request_of(operation=Operation.EMBEDDINGS), talk=())
    assert choice.unable == "no route of team-a/p matches this request (Simple, 100 prompt tokens)"


def test_conversations_pass_over_routes_for_other_operations(
    decide: Make, policy_of: Make, request_of: Make, backend: Make, of: Make
) -> None:
    policy = policy_of(routes=tuple(reversed(two_routes())))
    tiers = {"talk": (backend("chat"),), "one": (of("vectors", "v"),), "two": ()}
    for operation, name in ((Operation.CHAT, "chat"), (Operation.RESPONSES, "chat"), (Operation.EMBEDDINGS, "vectors")):
        choice = decide(policy, request=request_of(operation=operation), **tiers)
        assert [it.backend.name for it in choice.candidates] == [name]


def test_a_backend_that_does_not_list_the_operation_is_skipped_with_the_reason(
    decide: Make, policy_of: Make, request_of: Make, backend: Make, of: Make
) -> None:
    policy, request = policy_of(routes=two_routes()), request_of(operation=Operation.EMBEDDINGS)
    choice = decide(policy, request=request, talk=(), one=(backend("chat"),), two=(of("vectors", "v"),))
    assert [it.backend.name for it in choice.candidates] == ["vectors"]
    assert [(it.backend, it.reason) for it in choice.skipped] == [("chat", "does not list Embeddings in its endpoints")]
    choice = decide(policy, request=request, talk=(), one=(backend("chat"),), two=())
    assert choice.unable == "llm/one/chat: does not list Embeddings in its endpoints"


def test_vectors_of_two_models_never_mix(
    decide: Make, policy_of: Make, request_of: Make, of: Make, backend: Make
) -> None:
    """A second model in any state counts: otherwise an outage of the first would mix them."""
    policy, request = policy_of(routes=two_routes()), request_of(operation=Operation.EMBEDDINGS)
    for state in BackendState:
        tiers = {"one": (of("a", "v-small"),), "two": (of("b", "v-large", state=state), backend("chat"))}
        choice = decide(policy, request=request, talk=(), **tiers)
        assert not choice.candidates
        assert choice.unable is not None
        assert "2 models for embeddings, whose vectors cannot be compared (v-small)" in choice.unable


def test_deployments_of_one_model_are_one_model(decide: Make, policy_of: Make, request_of: Make, of: Make) -> None:
    policy, request = policy_of(routes=two_routes()), request_of(operation=Operation.EMBEDDINGS)
    tiers = {"one": (of("a", "v-small"),), "two": (of("b", "prod-eastus", base_model="v-small"),)}
    assert [it.backend.name for it in decide(policy, request=request, talk=(), **tiers).candidates] == ["a", "b"]


def test_a_model_that_the_route_does_not_allow_does_not_count(
    decide: Make, policy_of: Make, request_of: Make, of: Make
) -> None:
    policy = policy_of(routes=two_routes(require={"region": "eu"}))
    tiers = {"one": (of("a", "v-small", labels={"region": "eu"}),), "two": (of("b", "v-large"),)}
    choice = decide(policy, request=request_of(operation=Operation.EMBEDDINGS), talk=(), **tiers)
    assert [it.backend.name for it in choice.candidates] == ["a"]


@pytest.mark.parametrize(
    "fields",
    [
        {"override": Override(tier=TierRef(tier="llm/talk"), until=1_900_000_000.0)},
        {"mode": Mode.OBSERVE, "baseline": TierRef(tier="llm/talk")},
    ],
    ids=["override", "observe"],
)
def test_an_override_and_a_baseline_are_for_conversations_only(
    fields: dict[str, Any], decide: Make, policy_of: Make, request_of: Make, of: Make
) -> None:
    policy = policy_of(routes=two_routes(), **fields)
    tiers = {"talk": (of("other", "v-large"),), "one": (of("a", "v-small"),), "two": ()}
    vectors = decide(policy, request=request_of(operation=Operation.EMBEDDINGS), **tiers)
    assert ([it.backend.name for it in vectors.candidates], vectors.diverted) == (["a"], False)
    assert [it.backend.name for it in decide(policy, request=request_of(), **tiers).candidates] == ["other"]
