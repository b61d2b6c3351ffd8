"""An SDK gets the same text, tool calls, stop reasons and usage from an upstream of the other dialect.

The comparison is with the answer that the upstream's own SDK gets from the simulator directly.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import anthropic
import openai
import pytest
import pytest_asyncio

from sdk import clients
from sdk.clients import ANTHROPIC_TOOLS, CALL, CALL_ALL, HI, OPENAI_TOOLS, PIXEL, SCHEMA
from support.stand import stand
from weir_cli.sim import SimModel
from weir_router.contract import Dialect, Transport

pytestmark = pytest.mark.asyncio(loop_scope="module")

FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}

# (as the caller says it, as the same request is said in the upstream's dialect)
TO_ANTHROPIC: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"messages": HI}, {"messages": HI}),
    "tool": ({"messages": CALL, "tools": OPENAI_TOOLS}, {"messages": CALL, "tools": ANTHROPIC_TOOLS}),
    "parallel tools": ({"messages": CALL_ALL, "tools": OPENAI_TOOLS}, {"messages": CALL_ALL, "tools": ANTHROPIC_TOOLS}),
    "forced tool": (
        {
            "messages": HI,
            "tools": OPENAI_TOOLS,
            "tool_choice": {"type": "function", "function": {"name": "tides"}},
        },
        {"messages": HI, "tools": ANTHROPIC_TOOLS, "tool_choice": {"type": "tool", "name": "tides"}},
    ),
    "length": ({"messages": HI, "max_tokens": 3}, {"messages": HI, "max_tokens": 3}),
    "newer length": ({"messages": HI, "max_completion_tokens": 3}, {"messages": HI, "max_tokens": 3}),
    "JSON schema": (
        {
            "messages": HI,
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "strict": True}},
        },
        {"messages": HI, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    "stop": ({"messages": HI, "stop": "STOP"}, {"messages": HI, "stop_sequences": ["STOP"]}),
}


def openai_facts(answer: Any) -> dict[str, Any]:
    """The contents of a chat completion, independent of the format."""
    message, usage = answer.choices[0].message, answer.usage
    calls = [(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or ()]
    return {
        "id": answer.id,
        "text": message.content or "",
        "thinking": getattr(message, "reasoning_content", "") or "",
        "calls": calls,
        "finish": answer.choices[0].finish_reason,
        "usage": (
            usage.prompt_tokens,
            usage.prompt_tokens_details.cached_tokens,
            usage.completion_tokens,
            usage.completion_tokens_details.reasoning_tokens,
        ),
    }


def anthropic_facts(answer: Any) -> dict[str, Any]:
    """The contents of a message, independent of the format."""
    blocks, usage = answer.content, answer.usage
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return {
        "id": answer.id,
        "text": "".join(b.text for b in blocks if b.type == "text"),
        "thinking": "".join(b.thinking for b in blocks if b.type == "thinking"),
        "calls": [(b.id, b.name, b.input) for b in blocks if b.type == "tool_use"],
        "finish": FINISH.get(answer.stop_reason, answer.stop_reason),
        "usage": (
            usage.input_tokens + read + written,
            read,
            usage.output_tokens,
            usage.output_tokens_details.thinking_tokens,
        ),
    }


async def openai_ways(client: openai.AsyncOpenAI, **asked: Any) -> list[dict[str, Any]]:
    """The facts of one request, plain and through the stream helper."""
    options: Any = {"stream_options": {"include_usage": True}}
    plain = await client.chat.completions.create(**asked)
    async with client.chat.completions.stream(**asked, **options) as stream:
        async for _ in stream:
            pass
        snapshot = stream.current_completion_snapshot
    return [openai_facts(plain), openai_facts(snapshot)]


async def anthropic_ways(client: Any, **asked: Any) -> list[dict[str, Any]]:
    """The facts of one request, plain and through the stream helper."""
    asked = {"max_tokens": 2000, **asked}
    plain = await client.messages.create(**asked)
    async with client.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    return [anthropic_facts(plain), anthropic_facts(final)]


TEXT = "one two STOP three {prompt}"


class Sides(NamedTuple):
    """Both SDKs, directly at the simulator and through Weir; the models `o` and `a` are named after the dialects."""

    openai_direct: openai.AsyncOpenAI
    anthropic_direct: anthropic.AsyncAnthropic
    openai_weir: openai.AsyncOpenAI
    anthropic_weir: anthropic.AsyncAnthropic


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=Transport)
async def sides(request: pytest.FixtureRequest) -> AsyncIterator[Sides]:
    models = [
        SimModel("o", cached_tokens=1, answer=TEXT),
        SimModel("a", Dialect.ANTHROPIC, cached_tokens=1, cache_write_tokens=1, answer=TEXT),
    ]
    async with (
        clients.each_alone(models, request.param) as s,
        clients.openai_direct(s.sim) as openai_direct,
        clients.anthropic_direct(s.sim) as anthropic_direct,
        clients.openai_client(s) as openai_weir,
        clients.anthropic_client(s) as anthropic_weir,
    ):
        yield Sides(openai_direct, anthropic_direct, openai_weir, anthropic_weir)


@pytest.mark.parametrize("case", TO_ANTHROPIC)
async def test_an_openai_sdk_gets_what_an_anthropic_model_says(case: str, sides: Sides) -> None:
    asked, said = TO_ANTHROPIC[case]
    expected = await anthropic_ways(sides.anthropic_direct, model="a", **said)
    assert await openai_ways(sides.openai_weir, model="a", **asked) == expected


@pytest.mark.parametrize("case", TO_ANTHROPIC)
async def test_an_anthropic_sdk_gets_what_an_openai_model_says(case: str, sides: Sides) -> None:
    said, asked = TO_ANTHROPIC[case]
    expected = await openai_ways(sides.openai_direct, model="o", **said)
    assert await anthropic_ways(sides.anthropic_weir, model="o", **asked) == expected


async def test_an_openai_model_that_thinks_shows_it_to_an_anthropic_caller_who_asked() -> None:
    async with stand([SimModel("m", reasoning_tokens=4)]) as s, clients.anthropic_client(s) as weir:
        thinking: Any = {"type": "enabled", "budget_tokens": 1024}
        shown, streamed = await anthropic_ways(weir, model="auto", messages=HI, thinking=thinking)
        hidden, hidden_too = await anthropic_ways(weir, model="auto", messages=HI)
    assert shown["thinking"]
    assert shown == streamed
    assert hidden == hidden_too
    assert hidden["thinking"] == ""
    assert hidden["usage"][3] == 4


async def test_an_anthropic_model_thinks_for_an_openai_caller_who_asks_for_effort() -> None:
    async with stand([SimModel("m", Dialect.ANTHROPIC)]) as s, clients.openai_client(s) as weir:
        plain, streamed = await openai_ways(weir, model="auto", messages=HI, reasoning_effort="high")
    assert plain["thinking"]
    assert plain == streamed


async def test_a_conversation_with_tools_goes_on_across_dialects() -> None:
    async with stand([SimModel("m", Dialect.ANTHROPIC)]) as s, clients.openai_client(s) as weir:
        first = await weir.chat.completions.create(model="auto", messages=CALL, tools=OPENAI_TOOLS)
        message = first.choices[0].message
        assert message.tool_calls is not None
        result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
        turns: Any = [*CALL, message, result]
        second = await weir.chat.completions.create(model="auto", messages=turns, tools=OPENAI_TOOLS)
        sent = s.sim.requests("m")[-1].json()["messages"]
    assert second.choices[0].finish_reason == "stop"
    assert sent[-1]["content"][0]["type"] == "tool_result"
    assert sent[-1]["content"][0]["tool_use_id"] == sent[-2]["content"][0]["id"]


async def test_a_conversation_with_tools_goes_on_the_other_way_too() -> None:
    async with stand([SimModel("m")]) as s, clients.anthropic_client(s) as weir:
        first = await weir.messages.create(model="auto", max_tokens=99, messages=CALL, tools=ANTHROPIC_TOOLS)
        use: Any = next(block for block in first.content if block.type == "tool_use")
        result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]}
        turns: Any = [*CALL, {"role": "assistant", "content": first.content}, result]
        second = await weir.messages.create(model="auto", max_tokens=99, messages=turns, tools=ANTHROPIC_TOOLS)
        sent = s.sim.requests("m")[-1].json()["messages"]
    assert second.stop_reason == "end_turn"
    assert sent[-1] == {"role": "tool", "tool_call_id": sent[-2]["tool_calls"][0]["id"], "content": "sunny"}


async def test_a_dropped_field_is_named_in_the_answers_header() -> None:
    async with stand([SimModel("m", Dialect.ANTHROPIC)]) as s, clients.openai_client(s) as weir:
        raw = await weir.chat.completions.with_raw_response.create(model="auto", messages=HI, seed=7, verbosity="low")
        nothing = await weir.chat.completions.with_raw_response.create(model="auto", messages=HI)
    assert raw.headers["x-weir-dropped"] == "seed, verbosity"
    assert "x-weir-dropped" not in nothing.headers


async def test_an_image_reaches_the_other_dialect() -> None:
    part: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    async with stand([SimModel("m", Dialect.ANTHROPIC)]) as s, clients.openai_client(s) as weir:
        await weir.chat.completions.create(model="auto", messages=[{"role": "user", "content": [part]}])
        block = s.sim.requests("m")[-1].json()["messages"][0]["content"][0]
    assert block["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL}


async def test_a_refusal_keeps_its_words_and_gets_the_stop_reason_of_the_dialect() -> None:
    asked: Any = [{"role": "user", "content": "refuse this request"}]
    async with stand([SimModel("m")]) as s, clients.anthropic_client(s) as weir:
        ways = await anthropic_ways(weir, model="auto", messages=asked)
    assert [(way["finish"], way["text"]) for way in ways] == [("refusal", "I'm sorry, but I can't help with that.")] * 2
    async with stand([SimModel("m", Dialect.ANTHROPIC)]) as s, clients.openai_client(s) as weir_too:
        others = await openai_ways(weir_too, model="auto", messages=asked)
    assert [way["finish"] for way in others] == ["content_filter"] * 2


async def test_a_stream_without_usage_asked_hides_it_across_dialects() -> None:
    async with stand([SimModel("m", Dialect.ANTHROPIC)]) as s, clients.openai_client(s) as weir:
        chunks = [c async for c in await weir.chat.completions.create(model="auto", messages=HI, stream=True)]
        assert all(chunk.usage is None and chunk.choices for chunk in chunks)
        assert s.last["usage"]["output"] == 40


async def test_what_a_dialect_cannot_say_goes_to_the_backends_that_can() -> None:
    models = [SimModel("a", Dialect.ANTHROPIC)], [SimModel("o")]
    async with stand(*models) as s, clients.openai_client(s) as weir:
        answer = await weir.chat.completions.create(model="auto", messages=HI, n=2)
        assert len(answer.choices) == 2
        assert s.sim.stats["a"].requests == 0
    async with stand(models[0]) as s, clients.openai_client(s) as weir:
        with pytest.raises(openai.BadRequestError, match="one answer") as caught:
            await weir.chat.completions.create(model="auto", messages=HI, n=2)
    assert caught.value.code == "no_capable_model"
