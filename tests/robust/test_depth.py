"""Requests and answers whose JSON is nested deeply, in every format and place: a bound, and never a bug."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from support.servers import talking
from support.stand import KEY, Stand, backend, config_for, stand
from weir_cli.sim import SimModel
from weir_router.contract import Dialect
from weir_router.dialects.wire.depth import MAX_DEPTH

KEYS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
PATHS = ("/v1/chat/completions", "/v1/messages")
PLAIN: dict[str, Any] = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def lists(depth: int) -> str:
    return "[" * depth + "]" * depth


def objects(depth: int) -> str:
    """Objects whose last one holds a list, which is a level too."""
    return '{"a":' * (depth - 1) + "[]" + "}" * (depth - 1)


def aside(depth: int) -> str:
    """Lists that hold more than the next one, so that no run of brackets gives them away."""
    return (
        "[1," * (depth // 2)
        + '{"a":' * (depth - depth // 2 - 1)
        + "[]"
        + "}" * (depth - depth // 2 - 1)
        + ",2]" * (depth // 2)
    )


PLACES = {
    "metadata": ('"metadata": %s', 1),
    "unknown_field": ('"unknown_field": %s', 1),
    "tools[0]": ('"tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": %s}}}]', 5),
    "messages[0]": ('"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "x": %s}]}]', 5),
}
"""Places of a deep value, and the levels above it."""


def body(place: str, value: str) -> bytes:
    field, _ = PLACES[place]
    fields = [json.dumps({name: it})[1:-1] for name, it in PLAIN.items() if not field.startswith(f'"{name}"')]
    return ("{" + ", ".join([*fields, field % value]) + "}").encode()


async def post(s: Stand, path: str, data: bytes) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(s.url + path, data=data, headers=KEYS) as answer,
    ):
        return answer.status, await answer.json()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("nested", [lists, objects, aside])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 300, 700, 1_000, 100_000])
async def test_a_body_that_is_too_deep_is_refused_with_the_place_and_nothing_is_sent(
    path: str, nested: Callable[[int], str], depth: int
):
    async with stand([SimModel("m")]) as s:
        for place, (_, above) in PLACES.items():
            status, answer = await post(s, path, body(place, nested(depth - above)))
            assert status == 400, answer
            message = answer["error"]["message"]
            assert "more than 128 levels" in message
            assert f", in `{place}" in message or (depth >= 1_000 and "has far more" in message)
        assert not s.sim.requests("m")


@pytest.mark.parametrize("provider", [Dialect.OPENAI, Dialect.ANTHROPIC])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("nested", [lists, objects, aside])
async def test_the_bound_itself_passes_in_every_format(path: str, nested: Callable[[int], str], provider: Dialect):
    """It is served, or refused for its own reason, but never by the depth of a stack."""
    async with stand([SimModel("m", dialect=provider)]) as s:
        for place, (_, above) in PLACES.items():
            status, answer = await post(s, path, body(place, nested(MAX_DEPTH - above)))
            assert status in (200, 400), answer
            assert "level" not in str(answer)
            assert "nested" not in str(answer)


@pytest.mark.parametrize("depth", [MAX_DEPTH, 200, 20_000])
async def test_arguments_of_a_call_that_are_too_deep_become_text_in_a_translation(depth: int):
    function = {"name": "f", "arguments": objects(depth)}
    said = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}
    result = {"role": "tool", "tool_call_id": "c", "content": "done"}
    async with stand([SimModel("m", dialect=Dialect.ANTHROPIC)]) as s:
        asked = PLAIN | {"messages": [*PLAIN["messages"], said, result]}
        status, answer = await post(s, PATHS[0], json.dumps(asked).encode())
        assert status == 200, answer
        (sent,) = s.sim.requests("m")
        given = sent.json()["messages"][1]["content"][0]["input"]
        assert (given == {"arguments": objects(depth)}) is (depth > MAX_DEPTH)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_a_deep_answer_is_malformed(path: str, stream: bool):
    async def talk(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        event = b'{"choices": [{"index": 0, "delta": {"content": ' + lists(100_000).encode() + b"}}]}"
        answer = b"data: " + event + b"\n\n" if stream else event
        kind = b"text/event-stream" if stream else b"application/json"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n" % kind)
        writer.write(b"content-length: %d\r\n\r\n%b" % (len(answer), answer))
        await writer.drain()

    async with talking(talk) as url, stand([SimModel("m")]) as s:
        s.apply(config_for([[backend(s.sim, SimModel("m"), base_url=f"{url}/v1")]]))
        status, answer = await post(s, path, json.dumps(PLAIN | {"stream": stream}).encode())
        assert status == 503, answer
        assert {it["outcome"] for it in s.last["attempts"]} == {"malformed"}
