"""The SDKs get exactly the same answers through Weir as from an upstream of their own dialect directly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio

from sdk import clients
from sdk.clients import ANTHROPIC_TOOLS, CALL, CALL_ALL, HI, OPENAI_TOOLS, PIXEL, SCHEMA
from support.stand import stand
from weir_cli.sim import SimModel
from weir_router.contract import Dialect, Transport

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRANSPORTS = pytest.mark.parametrize("transport", Transport)


def said(text: str) -> Any:
    """A conversation of one prompt."""
    return [{"role": "user", "content": text}]


def openai_part(**part: Any) -> Any:
    """A prompt with a text and another part."""
    return [{"role": "user", "content": [{"type": "text", "text": "Look."}, part]}]


OPENAI: dict[str, dict[str, Any]] = {
    "plain": {"messages": HI},
    "several turns": {
        "messages": [
            {"role": "developer", "content": "Be kind."},
            *HI,
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": "and now?"}]},
        ]
    },
    "a tool": {"messages": CALL, "tools": OPENAI_TOOLS},
    "parallel tools": {"messages": CALL_ALL, "tools": OPENAI_TOOLS},
    "one tool at a time": {"messages": CALL_ALL, "tools": OPENAI_TOOLS, "parallel_tool_calls": False},
    "a forced tool": {
        "messages": HI,
        "tools": OPENAI_TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "tides"}},
    },
    "any tool": {"messages": HI, "tools": OPENAI_TOOLS, "tool_choice": "required"},
    "no tool": {"messages": CALL, "tools": OPENAI_TOOLS, "tool_choice": "none"},
    "image": {
        "messages": openai_part(type="image_url", image_url={"url": f"data:image/png;base64,{PIXEL}", "detail": "low"})
    },
    "document": {
        "messages": openai_part(
            type="file", file={"filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}
        )
    },
    "sound": {"messages": openai_part(type="input_audio", input_audio={"data": "QQ==", "format": "wav"})},
    "JSON schema": {
        "messages": HI,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA, "strict": True}},
    },
    "JSON object": {"messages": HI, "response_format": {"type": "json_object"}},
    "several choices": {"messages": HI, "n": 3},
    "log probabilities": {"messages": HI, "logprobs": True, "top_logprobs": 2},
    "log probabilities and choices": {"messages": HI, "n": 2, "logprobs": True},
    "length": {"messages": HI, "max_tokens": 3},
    "newer length": {"messages": HI, "max_completion_tokens": 3},
    "refusal": {"messages": said("refuse this request, please")},
    "seed and service tier": {"messages": HI, "seed": 7, "service_tier": "flex", "user": "u", "temperature": 0.2},
    "unknown fields": {"messages": HI, "extra_body": {"x_new": {"a": [1, 2.50, None]}, "seed": 3}},
    "empty tools": {"messages": HI, "extra_body": {"tools": [], "stop": None}},
}

ANTHROPIC: dict[str, dict[str, Any]] = {
    "plain": {"messages": HI},
    "several turns": {
        "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
        "messages": [*HI, {"role": "assistant", "content": "Hello."}, *HI],
    },
    "a tool": {"messages": CALL, "tools": ANTHROPIC_TOOLS},
    "parallel tools": {"messages": CALL_ALL, "tools": ANTHROPIC_TOOLS},
    "a forced tool": {"messages": HI, "tools": ANTHROPIC_TOOLS, "tool_choice": {"type": "tool", "name": "tides"}},
    "any tool": {"messages": HI, "tools": ANTHROPIC_TOOLS, "tool_choice": {"type": "any"}},
    "image": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                    {"type": "text", "text": "Look."},
                ],
            }
        ]
    },
    "document": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A page."}},
                    {"type": "text", "text": "Look."},
                ],
            }
        ]
    },
    "JSON schema": {"messages": HI, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "length": {"messages": HI, "max_tokens": 3},
    "refusal": {"messages": said("refuse this request, please")},
    "thinking": {"messages": HI, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    "thinking and a tool": {
        "messages": CALL,
        "tools": ANTHROPIC_TOOLS,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    },
    "adaptive thinking": {"messages": HI, "thinking": {"type": "adaptive"}},
    "unknown fields": {"messages": HI, "extra_body": {"x_new": {"a": [1, 2.50, None]}}},
}


MODELS = {
    "reasoning": SimModel("reasoning", reasoning_tokens=5, cached_tokens=1, cache_write_tokens=1),
    "unknown fields": SimModel("unknown fields", extra={"x_vendor": {"region": "eu"}}),
    "short": SimModel("short", answer_tokens=1),
    "empty": SimModel("empty", answer=""),
    "stop": SimModel("stop", answer="one two STOP three"),
}
"""Models, each of which serves its own name."""


class Sides(NamedTuple):
    """Clients of the simulator itself, and of Weir in front of it."""

    direct: Any
    weir: Any


@contextlib.asynccontextmanager
async def sides(dialect: Dialect, transport: Transport) -> AsyncIterator[Sides]:
    """Clients of one dialect for both sides; every model serves its own name."""
    models = [msgspec.structs.replace(model, dialect=dialect) for model in MODELS.values()]
    make: tuple[Any, Any] = (clients.openai_direct, clients.openai_client)
    if dialect is Dialect.ANTHROPIC:
        make = (clients.anthropic_direct, clients.anthropic_client)
    async with clients.each_alone(models, transport) as s, make[0](s.sim) as direct, make[1](s) as weir:
        yield Sides(direct, weir)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=Transport)
async def openai_sides(request: pytest.FixtureRequest) -> AsyncIterator[Sides]:
    async with sides(Dialect.OPENAI, request.param) as both:
        yield both


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=Transport)
async def anthropic_sides(request: pytest.FixtureRequest) -> AsyncIterator[Sides]:
    async with sides(Dialect.ANTHROPIC, request.param) as both:
        yield both


@pytest.mark.parametrize("asked", OPENAI.values(), ids=OPENAI)
async def test_openai_answers_are_those_of_the_upstream(asked: dict[str, Any], openai_sides: Sides) -> None:
    expected = await clients.openai_everyway(openai_sides.direct, model="reasoning", **asked)
    assert await clients.openai_everyway(openai_sides.weir, model="reasoning", **asked) == expected


def unmarked(answers: Any) -> Any:
    """The answers without the marks that signatures get for their way back."""
    return json.loads(re.sub(r"w1\.[0-9a-f]{8}\.", "", json.dumps(answers)))


@pytest.mark.parametrize("asked", ANTHROPIC.values(), ids=ANTHROPIC)
async def test_anthropic_answers_are_those_of_the_upstream(asked: dict[str, Any], anthropic_sides: Sides) -> None:
    expected = await clients.anthropic_everyway(anthropic_sides.direct, model="reasoning", **asked)
    assert unmarked(await clients.anthropic_everyway(anthropic_sides.weir, model="reasoning", **asked)) == expected


@pytest.mark.parametrize("model", MODELS)
async def test_openai_models_of_every_sort_answer_alike(model: str, openai_sides: Sides) -> None:
    asked: dict[str, Any] = {"model": model, "messages": HI, "stop": ["STOP"]}
    expected = await clients.openai_everyway(openai_sides.direct, **asked)
    assert await clients.openai_everyway(openai_sides.weir, **asked) == expected


@pytest.mark.parametrize("model", MODELS)
async def test_anthropic_models_of_every_sort_answer_alike(model: str, anthropic_sides: Sides) -> None:
    asked: dict[str, Any] = {"model": model, "messages": HI, "stop_sequences": ["STOP"]}
    expected = await clients.anthropic_everyway(anthropic_sides.direct, **asked)
    assert await clients.anthropic_everyway(anthropic_sides.weir, **asked) == expected


async def test_the_blocking_sdks_get_the_same() -> None:
    async with stand([SimModel("m")]) as s, clients.openai_direct(s.sim) as direct:
        with clients.openai_sync(s) as blocking:
            got = await asyncio.to_thread(clients.openai_everyway_sync, blocking, model="auto", messages=HI)
        assert got == await clients.openai_everyway(direct, model="m", messages=HI)


async def test_the_blocking_anthropic_sdk_gets_the_same() -> None:
    async with stand([SimModel("a", Dialect.ANTHROPIC)]) as s, clients.anthropic_direct(s.sim) as direct:
        with clients.anthropic_sync(s) as blocking:
            got = await asyncio.to_thread(clients.anthropic_everyway_sync, blocking, model="auto", messages=HI)
        assert got == await clients.anthropic_everyway(direct, model="a", messages=HI)


@TRANSPORTS
async def test_a_request_reaches_the_upstream_as_it_was_but_for_the_model(transport: Transport) -> None:
    async with stand([SimModel("m")], changes={"m": {"transport": transport}}) as s:
        body = {"messages": HI, "seed": 2**60, "extra_body": {"x": {"b": 1.10, "a": 'ä\u2028"\\'}, "temperature": 1e-7}}
        async with clients.openai_direct(s.sim) as direct, clients.openai_client(s) as weir:
            await direct.chat.completions.create(model="m", **body)
            await weir.chat.completions.create(model="auto", **body)
        expected, got = (seen.json() for seen in s.sim.requests("m"))
    added = {"stream": True, "stream_options": {"include_usage": True}} if transport is Transport.STREAMED else {}
    assert got == {**expected, **added}


@pytest.mark.parametrize("usage_asked", [True, False])
async def test_usage_is_counted_whether_or_not_the_caller_asked_for_it(usage_asked: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if usage_asked else {}
    async with stand([SimModel("m", cached_tokens=1, reasoning_tokens=2)]) as s, clients.openai_client(s) as weir:
        stream = await weir.chat.completions.create(model="auto", messages=HI, stream=True, **options)
        chunks = [chunk async for chunk in stream]
        assert any(chunk.usage for chunk in chunks) is usage_asked
        usage = s.last["usage"]
        assert (usage["input"], usage["cached_input"], usage["output"], usage["reasoning"]) == (1, 1, 42, 2)
        assert not usage["estimated"]
        assert s.last["dollars"] == pytest.approx((1 * 1.0 + 42 * 2.0) / 1e6)
