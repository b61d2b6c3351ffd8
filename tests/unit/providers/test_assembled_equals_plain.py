"""The simulator's assembled stream equals its plain answer: streaming for a plain caller loses nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.pairings import pairing_at
from weir_cli.sim import anthropic_wire, openai_wire
from weir_cli.sim.answer import compose
from weir_cli.sim.models import SimModel
from weir_router.contract import Backend, Dialect
from weir_router.dialects.axes import Format
from weir_router.dialects.base import Signal
from weir_router.dialects.registry import caller_named, record_of
from weir_router.dialects.wire import sse

openai, anthropic = record_of(Format.OPENAI_CHAT), record_of(Format.ANTHROPIC_MESSAGES)

MODEL = {"name": "m", "cached_tokens": 2, "cache_write_tokens": 1, "extra": {"x_new": {"a": [1]}}}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
OPENAI_TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("weather", "time")
]
ANTHROPIC_TOOLS = [{"name": name, "input_schema": PARAMETERS} for name in ("weather", "time")]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": PARAMETERS}}

CLAUDE = Backend(name="c", provider=Dialect.ANTHROPIC, base_url="https://api.anthropic.com", model="m")


def assembled(provider: Any, dialect: Dialect, body: dict[str, Any], stream: bytes) -> Any:
    ask = caller_named(dialect).read(json.dumps(body).encode(), {})
    renderer = provider.renderer(ask, pairing_at(ask.format, dialect), CLAUDE)
    reader = provider.reader()
    for event in sse.Splitter().feed(stream):
        payload = sse.decode(event)
        renderer.feed(event, payload, Signal.DONE if payload is None else reader.read(payload))
    return json.loads(renderer.end())


@pytest.mark.parametrize("prompt", ["Hello", "Grüße 😀 木", "x " * 500])
@pytest.mark.parametrize("reasoning_tokens", [0, 12])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": OPENAI_TOOLS, "tool_choice": "required"},
        {"tools": OPENAI_TOOLS, "tool_choice": {"type": "function", "function": {"name": "time"}}},
        {"response_format": SCHEMA},
        {"max_tokens": 5},
        {"stop": ["a"]},
        {"n": 2},
    ],
)
def test_openai(prompt: str, reasoning_tokens: int, fields: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}], **fields}
    model = SimModel(reasoning_tokens=reasoning_tokens, **MODEL)
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    ask, streaming = openai_wire.parse(body, model), openai_wire.parse(streamed, model)
    answers = [compose(ask, model, 0, choice) for choice in range(body.get("n") or 1)]
    stream = b"".join(frame.data for frame in openai_wire.stream(streaming, model, answers))
    assert assembled(openai, Dialect.OPENAI, body, stream) == json.loads(openai_wire.render(ask, model, answers))


@pytest.mark.parametrize("prompt", ["Hello", "Grüße 😀 木", "x " * 500])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": ANTHROPIC_TOOLS, "tool_choice": {"type": "any"}},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"max_tokens": 5},
        {"stop_sequences": ["a"]},
    ],
)
def test_anthropic(prompt: str, fields: dict[str, Any]) -> None:
    body = {"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": prompt}], **fields}
    model = SimModel(dialect=Dialect.ANTHROPIC, **MODEL)
    ask = anthropic_wire.parse(body, model)
    answer = compose(ask, model, 0)
    stream = b"".join(frame.data for frame in anthropic_wire.stream(ask, model, [answer]))
    assert assembled(anthropic, Dialect.ANTHROPIC, body, stream) == json.loads(
        anthropic_wire.render(ask, model, [answer])
    )
