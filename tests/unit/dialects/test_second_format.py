"""A backend that lists several formats gets a request in the best one that can express it."""

import json
from typing import Any

import aiohttp
import pytest

from support.stand import KEY, stand
from weir_cli.sim import SimModel
from weir_router.contract import Backend, Dialect, Traits
from weir_router.dialects.axes import Format
from weir_router.dialects.registry import pairing_of, record_of, unable

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
FLAT = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
CHAT, MESSAGES, RESPONSES = Format.OPENAI_CHAT, Format.ANTHROPIC_MESSAGES, Format.OPENAI_RESPONSES
BODIES: dict[Format, dict[str, Any]] = {
    CHAT: {"model": "auto", "messages": HI},
    MESSAGES: {"model": "auto", "max_tokens": 99, "messages": HI},
    RESPONSES: {"model": "auto", "input": "hi"},
}
FIVE = {"stop_sequences": ["a", "b", "c", "d", "e"]}
CITED = {
    "messages": [
        {
            "role": "user",
            "content": [
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "x"},
                    "citations": {"enabled": True},
                }
            ],
        }
    ]
}
PARTICULAR = Traits(tools_without_reasoning=True)


def at(*formats: str, **more: Any) -> Backend:
    provider = Dialect.ANTHROPIC if formats == ("Messages",) else Dialect.OPENAI
    return Backend(name="b", provider=provider, base_url="http://h/v1", model="m", formats=formats, **more)


@pytest.mark.parametrize(
    ("caller", "more", "formats", "wanted"),
    [
        # The caller's own, wherever it is listed.
        (CHAT, {"n": 2}, ("Responses", "Chat"), "Chat"),
        (RESPONSES, {}, ("Chat", "Responses"), "Responses"),
        (MESSAGES, CITED, ("Chat", "Messages"), "Messages"),
        # The first listed, if it can express the request.
        (MESSAGES, {}, ("Chat", "Responses"), "Chat"),
        (MESSAGES, {}, ("Responses", "Chat"), "Responses"),
        (RESPONSES, {}, ("Messages", "Chat"), "Messages"),
        # Otherwise the next one that can.
        (MESSAGES, FIVE, ("Chat", "Responses"), "Responses"),
        (CHAT, {"moderation": {"model": "m"}}, ("Messages", "Responses"), "Responses"),
        (RESPONSES, {"moderation": {"model": "m"}}, ("Messages", "Chat"), "Chat"),
        # None can: the first one's reason counts.
        (CHAT, {"n": 2}, ("Messages", "Responses"), None),
        (MESSAGES, CITED, ("Chat", "Responses"), None),
        (CHAT, {"n": 2}, ("Messages",), None),
    ],
)
def test_the_first_format_that_can_express_a_request_is_taken(
    caller: Format, more: dict[str, Any], formats: tuple[str, ...], wanted: str | None
) -> None:
    ask = record_of(caller).read(json.dumps(BODIES[caller] | more).encode(), {})
    found = pairing_of(ask, at(*formats))
    if wanted is None:
        assert unable(ask, at(*formats))
    else:
        assert unable(ask, at(*formats)) is None
        assert found.format.name == wanted  # type: ignore[attr-defined]
        assert found.same == (found.format is record_of(caller))


def test_each_reason_is_said_once() -> None:
    ask = record_of(CHAT).read(json.dumps(BODIES[CHAT] | {"n": 2}).encode(), {})
    why = unable(ask, at("Messages", "Responses"))
    assert why is not None
    assert "Anthropic models give one answer" in why
    assert "the Responses API gives one answer" in why
    asked = record_of(MESSAGES).read(json.dumps(BODIES[MESSAGES] | CITED).encode(), {})
    assert str(unable(asked, at("Chat", "Responses"))).count("do not cite") == 1


@pytest.mark.parametrize(
    ("caller", "more", "formats", "wanted"),
    [
        (CHAT, {"tools": [TOOL]}, ("Chat", "Responses"), "Responses"),
        (CHAT, {"tools": [TOOL], "reasoning_effort": "high"}, ("Responses", "Chat"), "Responses"),
        (CHAT, {"tools": [TOOL], "reasoning_effort": "none"}, ("Chat", "Responses"), "Chat"),
        (CHAT, {"tools": [TOOL], "n": 2}, ("Chat", "Responses"), "Chat"),
        (CHAT, {"tools": [TOOL]}, ("Chat",), "Chat"),
        (CHAT, {}, ("Chat", "Responses"), "Chat"),
        (MESSAGES, {"tools": [{"name": "f", "input_schema": {"type": "object"}}]}, ("Chat", "Responses"), "Responses"),
        (RESPONSES, {"tools": [FLAT]}, ("Chat", "Responses"), "Responses"),
    ],
)
def test_tools_go_where_the_model_may_reason_beside_them(
    caller: Format, more: dict[str, Any], formats: tuple[str, ...], wanted: str
) -> None:
    ask = record_of(caller).read(json.dumps(BODIES[caller] | more).encode(), {})
    assert pairing_of(ask, at(*formats, traits=PARTICULAR)).format.name == wanted  # type: ignore[attr-defined]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("more", "path"), [({}, "/v1/chat/completions"), (FIVE, "/v1/responses")])
async def test_a_caller_is_answered_by_either(more: dict[str, Any], path: str, stream: bool) -> None:
    async with stand([SimModel("m")], changes={"m": {"formats": ("Chat", "Responses")}}) as s:
        body = BODIES[MESSAGES] | more | {"stream": stream}
        async with (
            aiohttp.ClientSession(headers={"x-api-key": KEY}) as session,
            session.post(f"{s.url}/v1/messages", json=body) as answer,
        ):
            said = await answer.text()
            assert answer.status == 200, said
            assert ("message_stop" if stream else '"end_turn"') in said
            assert ("stop_sequences" in answer.headers.get("x-weir-dropped", "")) == bool(more)
        assert [seen.path for seen in s.sim.requests("m")] == [path]


async def test_a_chat_with_tools_keeps_its_reasoning_by_the_other_format() -> None:
    changes = {"m": {"formats": ("Chat", "Responses"), "traits": PARTICULAR}}
    async with stand([SimModel("m")], changes=changes) as s:
        body = BODIES[CHAT] | {"tools": [TOOL], "reasoning_effort": "low"}
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
            session.post(f"{s.url}/v1/chat/completions", json=body) as answer,
        ):
            assert (answer.status, (await answer.json())["object"]) == (200, "chat.completion")
        (seen,) = s.sim.requests("m")
        assert (seen.path, seen.json()["reasoning"]["effort"]) == ("/v1/responses", "low")
