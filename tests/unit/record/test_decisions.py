"""The JSON form of decisions: closed, without anybody's text, and enough to decide again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.drawn import BODIES, CALLER, POLICIES, worlds
from support.finished import finished
from weir_router.contract import (
    Backend,
    CompiledConfig,
    Dialect,
    HeaderMatch,
    Parameters,
    Policy,
    Route,
    Tier,
    TierRef,
    When,
)
from weir_router.contract.conditions import header_matches
from weir_router.decide.asked import asked
from weir_router.decide.decision import decide
from weir_router.decide.types import Decision
from weir_router.decide.world import World
from weir_router.dialects.axes import Format
from weir_router.dialects.registry import caller_named, record_of
from weir_router.errors import AttemptRecord, Unauthenticated
from weir_router.record.decisions import RecordedDecision, inputs_of, recorded
from weir_router.record.finished import Finished

SCHEMA = Path(__file__).parent / "decision.v1.schema.json"
SECRET = "my-secret-diary"
VALUES = st.text("abc", max_size=4)
MATCHES = st.builds(HeaderMatch, name=st.just("x-team")) | st.builds(
    HeaderMatch, name=st.just("x-team"), prefix=VALUES.filter(bool)
)
MATCHES |= st.builds(HeaderMatch, name=st.just("x-team"), exact=VALUES)


def test_its_fields_are_those_that_are_written_down() -> None:
    """Each new one is a decision: what may leave a router, and in which words."""
    schema = msgspec.json.encode(plain(msgspec.json.schema(RecordedDecision)))
    assert msgspec.json.decode(SCHEMA.read_bytes()) == msgspec.json.decode(schema)


def plain(schema: Any) -> Any:
    """The schema without its descriptions."""
    if isinstance(schema, dict):
        return {name: plain(value) for name, value in schema.items() if name != "description"}
    return [plain(it) for it in schema] if isinstance(schema, list | tuple) else schema


def read(decision: Decision, **changes: Any) -> RecordedDecision:
    """The record of the decision, once through JSON."""
    record = recorded(finished(decision=decision, **changes))
    assert record is not None
    return msgspec.json.decode(msgspec.json.encode(record), type=RecordedDecision)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(BODIES), POLICIES, worlds(), st.lists(MATCHES, max_size=3))
def test_a_record_is_enough_to_decide_again(
    body: tuple[Dialect, dict[str, Any]], policy: Policy, world: World, matches: list[HeaderMatch]
) -> None:
    first = Route(name="first", tiers=(), when=When(headers=tuple(matches), max_prompt_tokens=60))
    policy = msgspec.structs.replace(policy, routes=(first, *policy.routes))
    config = msgspec.structs.replace(world.config, policies=(policy,))
    ask = caller_named(body[0]).read(msgspec.json.encode({"model": "auto", **body[1]}), {})
    headers = {"x-team": "abc", "authorization": SECRET}
    decision = decide(
        asked(ask, headers), CALLER, policy, World(config, world.health, world.wall, world.now, world.draw)
    )
    record = read(decision)
    again = decide(*inputs_of(record, config))
    assert again.choice == decision.choice
    assert (again.complexity, again.reason) == (decision.complexity, decision.reason)
    assert read(again) == record


@settings(max_examples=300, deadline=None)
@given(st.lists(MATCHES, min_size=1, max_size=4), VALUES)
def test_a_headers_stand_in_answers_every_condition_as_its_value_does(matches: list[HeaderMatch], value: str) -> None:
    routes = tuple(Route(name=str(n), tiers=(), when=When(headers=(it,))) for n, it in enumerate(matches))
    base = finished().decision
    assert base is not None
    seen = msgspec.structs.replace(base.asked, headers={"x-team": value})
    decision = msgspec.structs.replace(base, asked=seen, policy=msgspec.structs.replace(base.policy, routes=routes))
    made = read(decision).request.headers
    assert [header_matches(it, made) for it in matches] == [header_matches(it, {"x-team": value}) for it in matches]


@pytest.mark.parametrize("dialect", Dialect)
def test_it_holds_no_text_of_a_prompt_a_header_or_an_upstream(dialect: Dialect) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": SECRET, "parameters": {"title": SECRET}}}]
    messages = [{"role": "user", "content": f"Explain {SECRET} step by step."}]
    body: dict[str, Any] = {"model": "auto", "max_tokens": 9, "messages": messages, "user": SECRET, "n": 2}
    body |= {"tools": tools} if dialect is Dialect.OPENAI else {"system": SECRET}
    ask = caller_named(dialect).read(msgspec.json.encode(body), {})
    routes = (Route(name="r", tiers=(), when=When(headers=(HeaderMatch(name="x-team"),))),)
    ended = finished()
    assert ended.decision is not None
    policy = msgspec.structs.replace(ended.decision.policy, routes=routes)
    headers = {"authorization": SECRET, "x-team": SECRET, "x-weir-feature": "chat"}
    decision = decide(asked(ask, headers), CALLER, policy, World(ended.decision.config, {}, 0.0, 0.0, 0.5))
    failed = AttemptRecord("llm/t", "b", "caller", 0.1, status=400, message=f"Invalid value: {SECRET}")
    record = read(decision, ask=ask, attempts=[failed], error=Unauthenticated(SECRET))
    assert SECRET not in msgspec.json.encode(record).decode()
    assert record.request.headers == {"x-team": "…"}
    assert (record.request.feature, record.error, record.attempts[0].status) == ("chat", "unauthenticated", 400)


def test_it_tells_what_it_cost_and_which_fields_were_taken_out(decided: Finished) -> None:
    record = recorded(decided)
    assert record is not None
    assert (record.tier, record.backend, record.dropped) == ("llm/t", "b", ("seed",))
    assert (record.dollars, record.baseline_dollars, record.ttft) == (0.25, 1.0, 0.3)
    assert record.usage is not None
    assert record.usage.cached_input == 40


@pytest.fixture
def decided() -> Finished:
    """Answered by a backend whose model takes neither `seed` nor `user`."""

    backend = Backend(
        name="b",
        provider=Dialect.OPENAI,
        base_url="http://b",
        model="m",
        parameters=Parameters(drop=("user", "seed")),
    )
    config = CompiledConfig(tiers={"llm/t": Tier(namespace="llm", name="t", backends=(backend,))})
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "seed": 1}
    ask = caller_named(Dialect.OPENAI).read(msgspec.json.encode(body), {})
    ended = finished()
    assert ended.policy is not None
    route = Route(name="r", tiers=(TierRef(tier="llm/t"),))
    policy = msgspec.structs.replace(ended.policy, routes=(route,))
    decision = decide(asked(ask, {}), CALLER, policy, World(config, {}, 0.0, 0.0, 0.5))
    return finished(ask=ask, decision=decision)


def test_a_request_that_ended_before_any_decision_has_none() -> None:
    assert recorded(finished(decision=None)) is None


def test_a_reason_of_one_backend_is_not_that_of_another_of_its_provider() -> None:
    """OpenAI's own servers take as many inputs for embeddings as they say, others more."""
    one = Backend(name="a", provider=Dialect.OPENAI, base_url="https://api.cohere.com/v1", model="v")
    one = msgspec.structs.replace(one, endpoints=("Embeddings",))
    two = msgspec.structs.replace(one, name="b", base_url="http://vllm:8000/v1")
    config = CompiledConfig(tiers={"llm/t": Tier(namespace="llm", name="t", backends=(one, two))})
    ended = finished()
    assert ended.policy is not None
    when = When(operations=frozenset({"Embeddings"}))
    route = Route(name="r", tiers=(TierRef(tier="llm/t"),), when=when)
    policy = msgspec.structs.replace(ended.policy, routes=(route,))
    config = msgspec.structs.replace(config, policies=(policy,))
    ask = record_of(Format.OPENAI_EMBEDDINGS).read(msgspec.json.encode({"model": "auto", "input": ["a"] * 97}), {})
    decision = decide(asked(ask, {}), CALLER, policy, World(config, {}, 0.0, 0.0, 0.5))
    record = read(decision, ask=ask)
    assert list(record.request.unable) == ["llm/t/a"]
    again = decide(*inputs_of(record, config))
    assert [it.backend.name for it in again.choice.candidates] == ["b"]
    assert again.choice == decision.choice
