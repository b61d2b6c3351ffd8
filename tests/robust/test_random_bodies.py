"""Thousands of broken request bodies over real HTTP: 200 or a 4xx in the caller's dialect, and no bug of Weir."""

from __future__ import annotations

import asyncio
import io
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from robust.fuzz import seeds
from robust.mutations import broken, broken_text, odd
from support.stand import KEY, Stand, backend, config_for, stand
from weir_cli.sim import SimModel
from weir_router.contract import Dialect, Route, TierRef, When, WireFormat

PER_BATCH = 100
AT_ONCE = 16

IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

OPENAI: list[dict[str, Any]] = [
    {"model": "auto", "messages": [{"role": "user", "content": "Say hello."}]},
    {
        "model": "auto",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.2,
        "stop": ["END"],
        "max_completion_tokens": 50,
        "metadata": {"a": "b"},
        "logit_bias": {"50256": -100},
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {
                        "type": "file",
                        "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
                    },
                ],
            },
        ],
    },
    {
        "model": "auto",
        "max_tokens": 40,
        "reasoning_effort": "low",
        "parallel_tool_calls": True,
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Weather of a city.",
                    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
                    "strict": True,
                },
            }
        ],
        "messages": [
            {"role": "system", "content": "Use tools."},
            {"role": "user", "content": "Weather in Oslo?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "Snow"},
            {"role": "user", "content": "And now?"},
        ],
    },
    {
        "model": "auto",
        "n": 1,
        "seed": 7,
        "top_p": 1,
        "user": "u",
        "presence_penalty": 0.1,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "strict": True, "schema": {"type": "object", "properties": {"x": {}}}},
        },
        "messages": [{"role": "user", "content": "JSON please."}, {"role": "assistant", "content": "{"}],
    },
]

ANTHROPIC: list[dict[str, Any]] = [
    {"model": "auto", "max_tokens": 64, "messages": [{"role": "user", "content": "Say hello."}]},
    {
        "model": "auto",
        "max_tokens": 64,
        "stream": True,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_k": 3,
        "metadata": {"user_id": "u"},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                    },
                ],
            }
        ],
    },
    {
        "model": "auto",
        "max_tokens": 2048,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "tools": [
            {
                "name": "weather",
                "description": "Weather of a city.",
                "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
            }
        ],
        "messages": [
            {"role": "user", "content": "Weather in Oslo?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "Snow"}]},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ],
    },
]

RESPONSES: list[dict[str, Any]] = [
    {"model": "auto", "input": "Say hello."},
    {
        "model": "auto",
        "stream": True,
        "instructions": "Be brief.",
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "prompt_cache_key": "k",
        "input": [
            {"role": "developer", "content": "Be kind."},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}", "detail": "low"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
                ],
            },
        ],
    },
    {
        "model": "auto",
        "max_output_tokens": 40,
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "name": "weather"},
        "tools": [
            {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": True},
            {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            {"type": "namespace", "name": "more", "tools": [{"type": "function", "name": "f", "parameters": {}}]},
            {"type": "web_search"},
        ],
        "input": [
            {"role": "user", "content": "Weather in Oslo?"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "w1.0a1b2c3d.c2ln"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Oslo"}'},
            {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "x"},
            {"type": "function_call_output", "call_id": "c1", "output": "Snow"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "ok"}]},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        ],
    },
]

PATHS = {
    Dialect.OPENAI: "/v1/chat/completions",
    Dialect.ANTHROPIC: "/v1/messages",
    WireFormat.RESPONSES: "/v1/responses",
}
VALID = {Dialect.OPENAI: OPENAI, Dialect.ANTHROPIC: ANTHROPIC, WireFormat.RESPONSES: RESPONSES}
ROUTES = ("same", "openai", "anthropic")
MODELS = (SimModel("sim-openai"), SimModel("sim-anthropic", dialect=Dialect.ANTHROPIC))


@pytest.fixture
async def gateway() -> AsyncIterator[Stand]:
    """A stand in which `x-weir-feature` picks the upstream's dialect."""
    async with stand(MODELS) as it:
        tiers = [[backend(it.sim, model)] for model in MODELS]
        routes = [
            Route(name=name, tiers=(TierRef(tier=f"llm/t{number}"),), when=When(features=frozenset({name})))
            for number, name in enumerate(("openai", "anthropic"))
        ]
        it.apply(config_for(tiers, routes=tuple(routes)))
        yield it


def body_of(dialect: Dialect | WireFormat, rng: random.Random) -> bytes:
    """A randomly broken request body."""
    valid = rng.choice(VALID[dialect])
    kind = rng.random()
    if kind < 0.75:
        changed = broken(valid, rng)
        if isinstance(changed, dict) and rng.random() < 0.9:
            changed["model"] = "auto"  # otherwise too many end at the first check
        return encode(changed)
    if kind < 0.9:
        return broken_text(encode(valid).decode(), rng)
    return encode(odd(rng)) if kind < 0.95 else rng.randbytes(rng.choice((0, 1, 10, 1000)))


def encode(value: Any) -> bytes:
    """JSON as careless clients write it."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError, msgspec.MsgspecError):
        import json

        return json.dumps(value).encode()


def error_in(dialect: Dialect | WireFormat, body: bytes) -> dict[str, Any]:
    """The error object of an answer, its envelope checked."""
    decoded = msgspec.json.decode(body)
    if dialect is Dialect.ANTHROPIC:
        assert decoded["type"] == "error"
    error: dict[str, Any] = decoded["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert "Traceback" not in error["message"]
    return error


async def send(
    session: aiohttp.ClientSession, dialect: Dialect | WireFormat, upstream: str, body: bytes
) -> tuple[int, bytes]:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "x-weir-feature": upstream}
    async with session.post(PATHS[dialect], data=io.BytesIO(body), headers=headers) as response:
        return response.status, await response.read()


async def check(session: aiohttp.ClientSession, seed: int) -> None:
    rng = random.Random(seed)
    dialect, upstream = rng.choice(list(PATHS)), rng.choice(("openai", "anthropic"))
    body = body_of(dialect, rng)
    status, answer = await send(session, dialect, upstream, body)
    told = f"seed {seed}: {dialect} to {upstream}: {status} {answer[:500]!r} for {body[:2000]!r}"
    assert status == 200 or 400 <= status < 500, told
    if status != 200:
        assert error_in(dialect, answer)["code"] != "internal_error", told
    elif answer.startswith((b"data:", b"event:")):
        assert b"event: error" not in answer, told
        assert b'data: {"error"' not in answer, told
        assert b"response.failed" not in answer, told
    else:
        assert isinstance(msgspec.json.decode(answer), dict), told


async def check_good(session: aiohttp.ClientSession) -> None:
    for dialect, upstream in (
        (Dialect.OPENAI, "anthropic"),
        (Dialect.ANTHROPIC, "openai"),
        (WireFormat.RESPONSES, "openai"),
        (WireFormat.RESPONSES, "anthropic"),
    ):
        status, answer = await send(session, dialect, upstream, encode(VALID[dialect][0]))
        assert status == 200, answer


async def test_random_broken_bodies_are_4xx_and_good_requests_are_served(
    gateway: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Semaphore(AT_ONCE)
    found: list[str] = []

    async def one(session: aiohttp.ClientSession, seed: int) -> None:
        async with gate:
            try:
                await check(session, seed)
            except AssertionError as error:
                found.append(str(error))

    async with aiohttp.ClientSession(gateway.url) as session:
        for batch in seeds(PER_BATCH):
            await asyncio.gather(*(one(session, seed) for seed in batch))
            await check_good(session)
    assert not found, "\n\n".join(found[:20]) + f"\n{len(found)} in all"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
