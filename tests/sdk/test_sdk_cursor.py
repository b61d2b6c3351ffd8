"""Cursor's bodies on `/v1/chat/completions` are answered with chunks of a chat completion, on upstreams of each format.

Its agent sends `input` and flat tools of the Responses API; its other modes a chat completion with a flat custom tool.
"""

import json
from typing import Any

import msgspec
import openai
import pytest
from openai.types.chat import completion_create_params as chat_types

from sdk.clients import HI, openai_client
from support.stand import KEY, stand
from weir_cli.sim import Fault, FaultKind, SimModel
from weir_router.contract import Dialect
from weir_router.dialects.axes import Format
from weir_router.dialects.neutral import translation
from weir_router.dialects.neutral.answer import CallArguments, CallBegin
from weir_router.dialects.neutral.checked import Checked
from weir_router.dialects.openai_chat import mixed
from weir_router.dialects.openai_chat.request import read
from weir_router.dialects.registry import record_of

SHELL = {
    "type": "function",
    "name": "shell",
    "description": "Runs.",
    "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
}
PATCH = {
    "type": "custom",
    "name": "ApplyPatch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
AGENT: dict[str, Any] = {
    "model": "auto",
    "user": "google-oauth2|user_1",
    "instructions": "Be brief.",
    "input": [
        {"role": "system", "content": "You work in an editor."},
        {"role": "user", "content": [{"type": "input_text", "text": "please call the tool"}]},
    ],
    "tools": [SHELL],
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "medium", "summary": "auto"},
    "text": {"verbosity": "medium"},
    "stream_options": {"include_usage": True},
    "metadata": {"cursorConversationId": "1"},
    "prompt_cache_retention": "24h",
}
UPSTREAMS = {
    "Chat": (SimModel("m"), {}),
    "Responses": (SimModel("m"), {"formats": ("Responses",)}),
    "Messages": (SimModel("m", dialect=Dialect.ANTHROPIC), {}),
}
WITH_EACH = pytest.mark.parametrize("upstream", UPSTREAMS)


def upstream_at(name: str) -> Any:
    model, changes = UPSTREAMS[name]
    return stand([model], changes={"m": changes})


async def chunks(client: openai.AsyncOpenAI, body: dict[str, Any]) -> list[Any]:
    """The chunks of a stream, read by the SDK."""
    stream = await client.post(
        "/chat/completions",
        body=body | {"stream": True},
        cast_to=openai.types.chat.ChatCompletion,
        stream=True,
        stream_cls=openai.AsyncStream[openai.types.chat.ChatCompletionChunk],
    )
    return [chunk async for chunk in stream]


async def whole(client: openai.AsyncOpenAI, body: dict[str, Any]) -> openai.types.chat.ChatCompletion:
    return await client.post("/chat/completions", body=body, cast_to=openai.types.chat.ChatCompletion)


@WITH_EACH
async def test_an_agent_gets_a_chat_completion_with_its_call(upstream: str) -> None:
    async with upstream_at(upstream) as s, openai_client(s) as client:
        answer = await whole(client, AGENT)
        assert answer.object == "chat.completion"
        (call,) = answer.choices[0].message.tool_calls or []
        assert (call.type, call.function.name, answer.choices[0].finish_reason) == ("function", "shell", "tool_calls")  # type: ignore[union-attr]
        assert answer.usage is not None
        parts = await chunks(client, AGENT)
        assert {part.object for part in parts} == {"chat.completion.chunk"}
        calls = [call for part in parts if part.choices for call in part.choices[0].delta.tool_calls or []]
        assert calls[0].function.name == "shell"
        assert json.loads("".join(it.function.arguments or "" for it in calls)) is not None
        assert parts[-1].usage is not None
        assert [seen.path for seen in s.sim.requests("m")][-1].endswith(
            {"Chat": "/chat/completions", "Responses": "/responses", "Messages": "/messages"}[upstream]
        )
        seen = json.dumps(s.sim.requests("m")[-1].json())
        assert "You work in an editor." in seen
        assert "Be brief." in seen


@WITH_EACH
async def test_a_plain_text_is_an_input_too(upstream: str) -> None:
    async with upstream_at(upstream) as s, openai_client(s) as client:
        for given in ({"input": "hi"}, {"input": "hi", "messages": None}, {"input": "hi", "messages": []}):
            answer = await whole(client, {"model": "auto", **given})
            assert answer.choices[0].message.content
        parts = await chunks(client, {"model": "auto", "input": "hi"})
        assert parts[-1].choices[0].finish_reason == "stop"  # no usage was asked for


@WITH_EACH
@pytest.mark.parametrize("body", [AGENT, {"model": "auto", "messages": HI}])
async def test_a_custom_tool_is_called_as_a_function_with_plain_text(upstream: str, body: dict[str, Any]) -> None:
    talk = json.loads(json.dumps(body).replace('"hi"', '"please call the tool"')) | {"tools": [PATCH]}
    async with upstream_at(upstream) as s, openai_client(s) as client:
        answer = await whole(client, talk)
        sent = s.sim.requests("m")[-1].json()["tools"][0]
        assert sent.get("type") == {"Chat": "function", "Responses": "custom", "Messages": None}[upstream]
        if upstream == "Responses":
            return  # the simulator calls functions only, see below
        (call,) = answer.choices[0].message.tool_calls or []
        assert (call.type, call.function.name) == ("function", "ApplyPatch")  # type: ignore[union-attr]
        calls = [
            it for part in await chunks(client, talk) if part.choices for it in part.choices[0].delta.tool_calls or []
        ]
        assert (calls[0].type, calls[0].function.name) == ("function", "ApplyPatch")
        assert "".join(it.function.arguments or "" for it in calls) == call.function.arguments  # type: ignore[union-attr]


def test_a_call_of_a_custom_tool_itself_is_one_of_a_function_too() -> None:
    ask = read(msgspec.json.encode(AGENT | {"tools": [PATCH]}), {})
    item = {"type": "custom_tool_call", "id": "i", "call_id": "c1", "name": "ApplyPatch", "input": "*** Begin"}
    payload = {"id": "resp_1", "model": "m", "status": "completed", "output": [item], "usage": None}
    whole = translation.response(payload, ask, mixed.RECORD, record_of(Format.OPENAI_RESPONSES), 0)
    (call,) = whole["choices"][0]["message"]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", {"name": "ApplyPatch", "arguments": "*** Begin"})
    writer = mixed.RECORD.event_writer(ask, 0, "")
    begun = writer.write(CallBegin(0, "c1", "ApplyPatch", custom=True))
    assert b'"type":"function","function":{"name":"ApplyPatch","arguments":""}' in begun
    assert b'"function":{"arguments":"*** Begin"}' in writer.write(CallArguments(0, "*** Begin"))


@WITH_EACH
async def test_flat_tools_among_those_of_a_chat_are_understood(upstream: str) -> None:
    nested = {"type": "function", "function": {"name": "read", "parameters": SHELL["parameters"]}}
    body = {
        "model": "auto",
        "messages": HI,
        "tools": [nested, SHELL],
        "tool_choice": {"type": "function", "name": "shell"},
    }
    async with upstream_at(upstream) as s, openai_client(s) as client:
        answer = await whole(client, body)
        assert (answer.choices[0].message.tool_calls or [])[0].function.name == "shell"  # type: ignore[union-attr]
        assert len(s.sim.requests("m")[-1].json()["tools"]) == 2


def test_a_call_comes_back_as_one_of_the_custom_tool() -> None:
    patch = "*** Begin Patch\n*** End Patch"
    history = [
        *HI,
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "ApplyPatch", "arguments": patch}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    items = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c1", "name": "ApplyPatch", "arguments": patch},
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
    ]
    for body in ({"messages": history}, {"input": items}):
        ask = read(msgspec.json.encode({"model": "auto", "tools": [PATCH], **body}), {})
        assert (ask.format, ask.mixed) == (Format.OPENAI_CHAT, True)
        asked = mixed.understand(Checked(ask.body), "auto")
        (call,) = [part for turn in asked.turns for part in turn.parts if hasattr(part, "arguments")]
        assert (call.custom, call.arguments) == (True, patch)
        assert asked.tools[0].grammar.syntax == "lark"  # type: ignore[union-attr]


CLAUDES: dict[str, Any] = {
    "model": "auto",
    "tools": [{"name": "shell", "description": "Runs.", "input_schema": SHELL["parameters"]}],
    "tool_choice": {"type": "auto"},
    "messages": [
        {"role": "user", "content": [{"type": "input_text", "text": "please call the tool"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I should look.", "signature": "sig"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "shell", "input": {"command": "ls"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a.txt"}]},
                {"type": "text", "text": "please call the tool"},
            ],
        },
    ],
}


def test_blocks_of_messages_become_parts_of_a_chat() -> None:
    ask = read(msgspec.json.encode(CLAUDES), {})
    assert ask.mixed
    assert {name: msgspec.json.decode(it) for name, it in ask.raw.items()} == ask.body
    assert ask.prompt.tool_results == 1
    user, assistant, result, rest = ask.body["messages"]
    assert user == {"role": "user", "content": [{"type": "text", "text": "please call the tool"}]}
    (call,) = assistant.pop("tool_calls")
    assert (call["id"], call["function"]) == ("toolu_1", {"name": "shell", "arguments": '{"command":"ls"}'})
    wanted = {
        "role": "assistant",
        "content": [{"type": "text", "text": "I look."}],
        "reasoning_content": "I should look.",
    }
    assert assistant == wanted
    assert result == {"role": "tool", "tool_call_id": "toolu_1", "content": "a.txt"}
    assert rest["content"] == [{"type": "text", "text": "please call the tool"}]
    assert ask.body["tools"][0]["function"]["parameters"] == SHELL["parameters"]
    assert ask.body["tool_choice"] == "auto"
    chat_types.CompletionCreateParamsNonStreaming(**ask.body)


@WITH_EACH
async def test_a_conversation_in_blocks_of_messages_is_answered(upstream: str) -> None:
    async with upstream_at(upstream) as s, openai_client(s) as client:
        choice = (await whole(client, CLAUDES)).choices[0]
        assert choice.message.tool_calls or choice.message.content
        assert (await chunks(client, CLAUDES))[-1].choices[0].finish_reason == choice.finish_reason
        sent = json.dumps(s.sim.requests("m")[-1].json())
        assert "toolu_1" in sent
        assert "a.txt" in sent


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ({"type": "input_image", "image_url": "http://h/a.png"}, {"url": "http://h/a.png"}),
        ({"type": "image", "source": {"type": "url", "url": "http://h/a.png"}}, {"url": "http://h/a.png"}),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            {"url": "data:image/png;base64,AA=="},
        ),
    ],
)
def test_images_of_other_formats_are_images(part: dict[str, Any], wanted: dict[str, Any]) -> None:
    ask = read(msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": [part]}]}), {})
    assert (ask.mixed, ask.prompt.images) == (False, 1)
    assert ask.body["messages"][0]["content"] == [{"type": "image_url", "image_url": wanted}]
    result = {"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": [part]}
    ask = read(msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": [result]}]}), {})
    assert [it["role"] for it in ask.body["messages"]] == ["tool", "user"]
    assert ask.body["messages"][0]["content"] == "Error: "


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [{"type": []}]}],
        [{"role": "user", "content": [{"type": "tool_result"}]}],
        [{"role": "user", "content": [{"type": "tool_result", "content": 7}, {"type": "input_text"}]}],
        [{"role": "assistant", "content": [{"type": "tool_use"}, {"type": "tool_use", "id": 1, "name": []}]}],
        [{"role": "assistant", "content": [{"type": "thinking", "thinking": "a"}], "tool_calls": 7}],
        [{"role": "system", "content": [{"type": "input_text", "text": 7}]}],
    ],
)
async def test_odd_parts_are_no_fault_of_the_router(messages: list[Any]) -> None:
    tools = [SHELL, {"name": []}, {"type": "custom", "name": 7}, 7, {"type": [], "name": "x"}]
    async with upstream_at("Messages") as s, openai_client(s, max_retries=0) as client:
        for more in ({}, {"tools": tools, "tool_choice": {"type": [], "name": "x"}}, {"tool_choice": {"name": 7}}):
            said = await client._client.post(
                f"{s.url}/v1/chat/completions",
                json={"model": "auto", "messages": messages, **more},
                headers={"authorization": f"Bearer {KEY}"},
            )
            assert said.status_code < 500, said.text


def test_a_usual_chat_stays_as_it_is() -> None:
    nested = {"type": "function", "function": {"name": "read", "parameters": {}}}
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}
    custom = {"type": "custom", "custom": {"name": "p", "format": grammar}}
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Mistral's"}]}
    for more in (
        {"tools": [nested, custom]},
        {"tools": []},
        {"input": "y"},
        {"tools": ["odd", {"type": "function"}]},
        {"messages": [*HI, {"role": "assistant", "content": [thought, {"type": "text", "text": "x"}]}, *HI]},
    ):
        body = msgspec.json.encode({"model": "auto", "messages": HI, **more})
        ask = read(body, {})
        assert not ask.mixed
        assert msgspec.json.encode(ask.raw) == body


@WITH_EACH
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_those_of_a_chat(upstream: str, stream: bool) -> None:
    async with upstream_at(upstream) as s, openai_client(s, max_retries=0) as client:
        for body, words in (
            ({"model": "auto", "input": 7}, "input"),
            ({"model": "auto", "input": [{"role": 7}]}, r"input\[0\].role"),
            ({"model": "auto"}, "messages"),
            ({"model": "nothing", "input": "hi"}, "nothing"),
        ):
            with pytest.raises(openai.APIStatusError, match=words):
                await (chunks(client, body) if stream else whole(client, body))  # type: ignore[arg-type]
        s.sim.fault("m", Fault(FaultKind.SERVER_ERROR))
        with pytest.raises(openai.InternalServerError):
            await (chunks(client, AGENT) if stream else whole(client, AGENT))  # type: ignore[arg-type]
        s.sim.fault("m", Fault(FaultKind.CUT, after=3))
        if stream:
            with pytest.raises(openai.APIError):
                await chunks(client, AGENT | {"tools": [], "input": "tell a story"})


async def test_it_fails_over_between_formats() -> None:
    models = [SimModel("a"), SimModel("b", dialect=Dialect.ANTHROPIC)]
    changes = {"a": {"formats": ("Responses",)}}
    async with stand(models[:1], models[1:], changes=changes) as s, openai_client(s) as client:
        s.sim.fault("a", Fault(FaultKind.SERVER_ERROR))
        assert (await whole(client, AGENT)).choices[0].message.tool_calls
        assert (await chunks(client, AGENT))[-1].usage is not None
        assert s.last["backend"] == "b"


async def test_a_large_body_is_read_again_for_another_attempt() -> None:
    models = [SimModel("a"), SimModel("b")]
    changes = {"b": {"formats": ("Responses",)}}
    async with stand(models[:1], models[1:], changes=changes) as s, openai_client(s) as client:
        s.sim.fault("a", Fault(FaultKind.SERVER_ERROR))
        assert (await whole(client, AGENT | {"instructions": "word " * 20_000})).choices[0].message.tool_calls
        assert len(s.sim.requests("b")[-1].json()["instructions"]) >= 100_000
