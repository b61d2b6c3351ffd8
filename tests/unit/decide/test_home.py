"""The home of a conversation, its session, and tool loops."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from weir_router.contract import Dialect, Selection
from weir_router.decide.asked import asked
from weir_router.decide.home import HOME_COST, HOME_ROOM
from weir_router.decide.session import HOME_TOKENS, session_of
from weir_router.dialects.registry import caller_named
from weir_router.health.view import Snapshot

Make = Callable[..., Any]
SYSTEM = "You are a careful agent. " * 300
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
SELECTIONS = [Selection.LEAST_LATENCY, Selection.CHEAPEST, Selection.WEIGHTED]


def openai(*turns: dict[str, Any], **more: Any) -> Any:
    body = {"model": "auto", "messages": list(turns), **more}
    return caller_named(Dialect.OPENAI).read(msgspec.json.encode(body), {})


def anthropic(*turns: dict[str, Any], **more: Any) -> Any:
    body = {"model": "auto", "max_tokens": 9, "messages": list(turns), **more}
    return caller_named(Dialect.ANTHROPIC).read(msgspec.json.encode(body), {})


def says(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def agent(question: str, turns: int) -> list[dict[str, Any]]:
    answered = [it for n in range(turns) for it in ({"role": "assistant", "content": f"{n}"}, says(f"and {n}?"))]
    return [{"role": "system", "content": SYSTEM}, says(question), *answered]


def session(ask: Any, **headers: str) -> str | None:
    return asked(ask, {name.replace("_", "-"): value for name, value in headers.items()}).session


def first(choice: Any) -> str:
    return choice.candidates[0].backend.name


# sessions


def test_the_beginning_of_a_conversation_is_its_session() -> None:
    sessions = {session(openai(*agent("first?", turns))) for turns in range(4)}
    assert len(sessions) == 1
    assert sessions != {session(openai(*agent("other?", 0)))}
    assert sessions != {session(openai({"role": "system", "content": SYSTEM + "!"}, says("first?")))}
    in_anthropic = {session(anthropic(*agent("first?", turns)[1:], system=SYSTEM)) for turns in range(4)}
    assert len(in_anthropic) == 1


def test_people_who_begin_alike_have_sessions_of_their_own() -> None:
    turns = agent("first?", 0)
    people = [{}, {"user": "a"}, {"user": "b"}, {"safety_identifier": "c"}, {"metadata": {"user_id": "d"}}]
    assert len({session(openai(*turns, **person)) for person in people}) == len(people)


@pytest.mark.parametrize(
    "given", [{"prompt_cache_key": "k"}, {"metadata": {"user_id": "user_1_account_2_session_3"}, "user": "u"}]
)
def test_an_id_that_the_client_gives_is_its_session(given: dict[str, Any]) -> None:
    one, other = (session(openai(*agent(question, 0), **given)) for question in ("one?", "other?"))
    assert one == other
    assert one != session(openai(*agent("one?", 0)))


@pytest.mark.parametrize("name", ["x-weir-session", "x-session-id", "session_id", "x-claude-code-session-id"])
def test_an_id_in_a_header_comes_first(name: str) -> None:
    def of(question: str, value: str, key: str) -> str:
        return session_of(openai(*agent(question, 0), prompt_cache_key=key), {name: value})

    assert of("one?", "s", "k") == of("other?", "s", "l") != of("one?", "t", "k")


@pytest.mark.parametrize(
    "odd", [{"prompt_cache_key": 5}, {"metadata": "x"}, {"metadata": {"user_id": 5}}, {"user": ["a"]}, {"user": ""}]
)
def test_an_id_that_is_none_is_passed_over(odd: dict[str, Any]) -> None:
    assert session(openai(*agent("one?", 0), **odd)) == session(openai(*agent("one?", 0)))


def test_the_line_that_claude_code_adds_is_passed_over() -> None:
    def of(line: str) -> str | None:
        return session(anthropic(says("one?"), system=[{"type": "text", "text": it} for it in (line, SYSTEM)]))

    assert of("x-anthropic-billing-header: cch=1;") == of("x-anthropic-billing-header: cch=2;")


def test_odd_text_has_a_session_too() -> None:
    assert session(openai(says("\\ud800" * HOME_TOKENS * 4)))
    assert session(openai({"role": "assistant", "content": SYSTEM})) is not None
    assert session_of(openai(says("hi")), {"x-weir-session": "\udcff" * 9_999})


def test_only_a_prompt_that_a_provider_would_cache_has_one_or_one_with_tools() -> None:
    assert session(openai(says("Hi"))) is None
    assert session(openai(says("Hi"), prompt_cache_key="k")) is None
    assert session(openai(says("Hi"), tools=TOOLS)) is not None
    assert session(openai(says("word " * HOME_TOKENS))) is not None


def calls(ask: Any) -> int:
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        session_of(ask, {})
    finally:
        sys.setprofile(None)
    return count


def test_the_cost_of_a_session_does_not_grow_with_the_conversation() -> None:
    short, long = openai(*agent("first?", 1)), openai(*agent("first?", 500))
    assert calls(short) == calls(long) < 60
    huge = [{"role": "system", "content": SYSTEM * 500}, says("x" * 1_000_000)]
    assert calls(openai(*huge)) == calls(short)


# homes


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_conversation_stays_at_its_home_whatever_is_drawn(
    decide: Make, policy_of: Make, backend: Make, request_of: Make, selection: Selection
) -> None:
    three = tuple(backend(name) for name in "abc")
    homes = {}
    for number in range(60):
        request = request_of(2_000, session=f"s{number}")
        found = {first(decide(policy_of("t"), None, request, selection, draw=n / 9, t=three)) for n in range(9)}
        assert len(found) == 1
        homes[number] = found.pop()
    assert min(Counter(homes.values()).values()) >= 10
    assert set(Counter(homes.values())) == set("abc")
    gone = tuple(it for it in three if it.name != "b")
    for number, home in homes.items():
        moved = first(decide(policy_of("t"), None, request_of(2_000, session=f"s{number}"), selection, t=gone))
        assert moved == home or home == "b"


def test_weights_count_for_homes(decide: Make, policy_of: Make, backend: Make, request_of: Make) -> None:
    some = (backend("a", weight=3), backend("b", weight=1), backend("c", weight=0))
    found = Counter(
        first(decide(policy_of("t"), None, request_of(2_000, session=str(n)), Selection.WEIGHTED, t=some))
        for n in range(400)
    )
    assert 250 < found["a"] < 350
    assert found["c"] == 0


def test_two_tiers_with_the_same_place_agree(decide: Make, policy_of: Make, backend: Make, request_of: Make) -> None:
    def named(prefix: str) -> tuple[Any, ...]:
        return tuple(msgspec.structs.replace(backend(name), name=prefix + name) for name in "abc")

    for number in range(20):
        request = request_of(2_000, session=str(number))
        one = decide(policy_of("t"), None, request, Selection.LEAST_LATENCY, t=named("x"))
        other = decide(policy_of("u"), None, request, Selection.LEAST_LATENCY, u=named("y"))
        assert first(one)[1:] == first(other)[1:]


FAILING = Snapshot(score=HOME_COST)
CROWDED = Snapshot(pending=HOME_ROOM, score=HOME_ROOM + 1)
OPEN = Snapshot(state="open", available_at=2_000.0, reason="server")


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (FAILING, "next after this conversation's home, which has just failed or is slow"),
        (CROWDED, "next after this conversation's home, which has 16 requests in flight, more than its share"),
        (OPEN, "home of this conversation"),
        (Snapshot(keeps_objectives=False), "home of this conversation"),
        (Snapshot(saturated=True), "home of this conversation"),
    ],
)
def test_a_home_is_left_for_its_health_and_for_load(
    decide: Make, policy_of: Make, backend: Make, request_of: Make, view: Snapshot, why: str
) -> None:
    three = tuple(backend(name) for name in "abc")

    def run(health: dict[str, Snapshot]) -> Any:
        return decide(policy_of("t"), health, request_of(2_000, session="s"), Selection.LEAST_LATENCY, t=three)

    whole = [it.backend.name for it in run({}).candidates]
    moved = run({whole[0]: view})
    assert first(moved) == whole[1]
    assert why in moved.candidates[0].reason


@pytest.mark.parametrize(
    "others", [Snapshot(pending=HOME_ROOM, score=HOME_ROOM + 1), Snapshot(pending=40, score=41.0), FAILING]
)
def test_a_home_that_has_no_more_than_its_share_stays_and_so_where_all_are_ill(
    decide: Make, policy_of: Make, backend: Make, request_of: Make, others: Snapshot
) -> None:
    three = tuple(backend(name) for name in "abc")
    request = request_of(2_000, session="s")
    home = first(decide(policy_of("t"), None, request, Selection.LEAST_LATENCY, t=three))
    health = dict.fromkeys("abc", others)
    found = decide(policy_of("t"), health, request, Selection.LEAST_LATENCY, t=three)
    assert first(found) == home
    assert "home of this conversation" in found.candidates[0].reason
    assert found.candidates[0].seen.pending == health[home].pending


def test_a_home_with_few_requests_is_not_left_for_an_idle_one(
    decide: Make, policy_of: Make, backend: Make, request_of: Make
) -> None:
    three = tuple(backend(name) for name in "abc")
    request = request_of(2_000, session="s")
    home = first(decide(policy_of("t"), None, request, Selection.LEAST_LATENCY, t=three))
    busy = {home: Snapshot(pending=HOME_ROOM - 1, score=float(HOME_ROOM))}
    assert first(decide(policy_of("t"), busy, request, Selection.LEAST_LATENCY, t=three)) == home


def test_a_cheaper_backend_comes_before_a_home(decide: Make, policy_of: Make, backend: Make, request_of: Make) -> None:
    for number in range(9):
        request = request_of(2_000, session=str(number))
        assert first(decide(policy_of("t"), None, request, t=(backend("dear", 2.0), backend("cheap", 1.0)))) == "cheap"


# tool loops

CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}],
}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "Prove it step by step. " * 900}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}


def brings(*beside: str) -> dict[str, Any]:
    texts = [{"type": "text", "text": text} for text in beside]
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "Prove it."}, *texts]}


@pytest.mark.parametrize(
    ("loop", "question"),
    [
        (openai(says("Hi"), CALL, RESULT, tools=TOOLS), openai(says("Hi"), tools=TOOLS)),
        (openai(says("Hi"), CALL, RESULT, CALL, RESULT, tools=TOOLS), openai(says("Hi"), tools=TOOLS)),
        (
            openai(says("Hi"), CALL, RESULT, says("Thanks"), CALL, RESULT, tools=TOOLS),
            openai(says("Hi"), CALL, RESULT, says("Thanks"), tools=TOOLS),
        ),
        (anthropic(says("Hi"), USE, brings(), tools=[{"name": "f"}]), anthropic(says("Hi"), tools=[{"name": "f"}])),
        (
            anthropic(says("Hi"), USE, brings("Reminder: design a compiler."), tools=[{"name": "f"}]),
            anthropic(says("Hi"), tools=[{"name": "f"}]),
        ),
    ],
)
def test_in_a_tool_loop_the_class_is_that_of_the_question(loop: Any, question: Any) -> None:
    measured = asked(loop, {})
    assert measured.began == asked(question, {}).features
    assert measured.features.tokens > measured.began.tokens


@pytest.mark.parametrize(
    "ask",
    [
        openai(says("Hi"), tools=TOOLS),
        openai(says("Hi"), CALL, RESULT, says("And now?"), tools=TOOLS),
        openai(CALL, RESULT, tools=TOOLS),
        anthropic(USE, brings("Hi"), tools=[{"name": "f"}]),
    ],
)
def test_what_is_no_tool_loop_has_no_beginning(ask: Any) -> None:
    assert asked(ask, {}).began is None
