"""The unchanged `anthropic` SDK, sync and async, works with the simulator as with Anthropic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from weir_cli.sim import SimModel, SimulatorThread
from weir_router.contract import Dialect

HI: Any = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS: Any = [{"name": "weather", "input_schema": SCHEMA}]


def model(name: str, **fields: Any) -> SimModel:
    return SimModel(name, dialect=Dialect.ANTHROPIC, **fields)


MODELS = [
    model("m"),
    model("cached", cached_tokens=10, cache_write_tokens=5),
    model("small", context_tokens=10, output_tokens=50, refuses=("top_k",)),
    model("locked", key="sk-right"),
]


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorThread]:
    with SimulatorThread(MODELS) as sim:
        yield sim


@pytest.fixture
def client(sim: SimulatorThread) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=sim.url, api_key="sk-any", max_retries=0) as client:
        yield client


def test_a_plain_answer_has_text_stop_reason_usage_and_a_request_id(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model="m", max_tokens=100, messages=HI)
    assert message.content[0].type == "text"
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == 40
    assert message._request_id is not None
    assert message._request_id.startswith("req_")


def test_a_stream_gathers_to_the_plain_answer(client: anthropic.Anthropic) -> None:
    plain = client.messages.create(model="m", max_tokens=100, messages=HI)
    with client.messages.stream(model="m", max_tokens=100, messages=HI) as stream:
        gathered = stream.get_final_message()
    assert gathered.content[0].type == "text"
    assert plain.content[0].type == "text"
    assert gathered.content[0].text == plain.content[0].text
    assert (gathered.stop_reason, gathered.usage.output_tokens) == (plain.stop_reason, plain.usage.output_tokens)


def test_a_stream_has_every_event_in_its_place(client: anthropic.Anthropic) -> None:
    events = [e.type for e in client.messages.create(model="m", max_tokens=2, messages=HI, stream=True)]
    block = ["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"]
    assert events == ["message_start", *block, "message_delta", "message_stop"]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_a_forced_tool_is_called(client: anthropic.Anthropic, choice: Any) -> None:
    message = client.messages.create(model="m", max_tokens=100, messages=HI, tools=TOOLS, tool_choice=choice)
    assert message.stop_reason == "tool_use"
    assert message.content[0].type == "tool_use"
    assert (message.content[0].name, message.content[0].input) == ("weather", {"city": "sim", "days": 1})


def test_a_streamed_tool_call_brings_its_input_in_pieces(client: anthropic.Anthropic) -> None:
    ask: Any = [{"role": "user", "content": "call the tool"}]
    with client.messages.stream(model="m", max_tokens=100, messages=ask, tools=TOOLS) as stream:
        pieces = [e.partial_json for e in stream if e.type == "input_json"]
        message = stream.get_final_message()
    assert len(pieces) > 2
    assert message.content[0].type == "tool_use"
    assert message.content[0].input == {"city": "sim", "days": 1}


def test_a_tool_result_is_answered_with_text(client: anthropic.Anthropic) -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sun"}
    history: Any = [
        {"role": "user", "content": "call the tool"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result, {"type": "text", "text": "call the tool"}]},
    ]
    assert client.messages.create(model="m", max_tokens=100, messages=history, tools=TOOLS).stop_reason == "end_turn"


def test_thinking_comes_first_when_asked_and_signed(client: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 50}
    with client.messages.stream(model="m", max_tokens=100, messages=HI, thinking=thinking) as stream:
        message = stream.get_final_message()
    assert [b.type for b in message.content] == ["thinking", "text"]
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking
    assert message.content[0].signature
    assert message.usage.output_tokens == 52


def test_cached_tokens_are_counted_beside_the_input(client: anthropic.Anthropic) -> None:
    system: Any = [{"type": "text", "text": "x" * 400, "cache_control": {"type": "ephemeral"}}]
    usage = client.messages.create(model="cached", max_tokens=9, messages=HI, system=system).usage
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (10, 5)
    assert usage.input_tokens >= 400 / 4 - 15


def test_images_are_accepted_and_counted(client: anthropic.Anthropic) -> None:
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    message = client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": [image]}])
    assert message.usage.input_tokens >= 85


def test_a_structured_answer_satisfies_its_schema(client: anthropic.Anthropic) -> None:
    config: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    block = client.messages.create(model="m", max_tokens=99, messages=HI, output_config=config).content[0]
    assert block.type == "text"
    assert block.text == '{"city":"sim","days":1}'


@pytest.mark.parametrize(
    ("prompt", "limit", "stop", "reason"),
    [("refuse this request", 99, [], "refusal"), ("hi", 3, [], "max_tokens"), ("hi", 99, [" "], "stop_sequence")],
)
def test_stop_reasons_are_anthropics(
    client: anthropic.Anthropic, prompt: str, limit: int, stop: list[str], reason: str
) -> None:
    ask: Any = [{"role": "user", "content": prompt}]
    message = client.messages.create(model="m", max_tokens=limit, messages=ask, stop_sequences=stop)
    assert message.stop_reason == reason


@pytest.mark.parametrize(
    ("request_", "error", "kind"),
    [
        ({"model": "nobody"}, anthropic.NotFoundError, "not_found_error"),
        ({"model": "locked"}, anthropic.AuthenticationError, "authentication_error"),
        ({"model": "small", "extra_body": {"top_k": 5}}, anthropic.BadRequestError, "invalid_request_error"),
        ({"model": "small", "max_tokens": 51}, anthropic.BadRequestError, "invalid_request_error"),
        ({"model": "m", "messages": []}, anthropic.BadRequestError, "invalid_request_error"),
    ],
)
def test_mistakes_get_anthropics_own_errors(
    client: anthropic.Anthropic, request_: dict[str, Any], error: type[anthropic.APIStatusError], kind: str
) -> None:
    with pytest.raises(error) as caught:
        client.messages.create(**{"messages": HI, "max_tokens": 9, **request_})
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"] == caught.value.request_id


def test_too_long_a_prompt_is_told_in_anthropics_words(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long: 25 tokens > 10 maximum"):
        client.messages.create(model="small", max_tokens=9, messages=[{"role": "user", "content": "x" * 100}])


def test_the_right_key_opens_a_locked_model(client: anthropic.Anthropic) -> None:
    right = client.with_options(api_key="sk-right")
    assert right.messages.create(model="locked", max_tokens=9, messages=HI).content


def test_models_are_listed_but_those_of_other_keys(client: anthropic.Anthropic) -> None:
    assert [m.id for m in client.models.list()] == ["m", "cached", "small"]


async def test_the_async_sdk_is_answered_plain_and_streamed(sim: SimulatorThread) -> None:
    async with anthropic.AsyncAnthropic(base_url=sim.url, api_key="sk-any", max_retries=0) as client:
        plain = await client.messages.create(model="m", max_tokens=100, messages=HI)
        async with client.messages.stream(model="m", max_tokens=100, messages=HI) as stream:
            text = "".join([t async for t in stream.text_stream])
    assert plain.content[0].type == "text"
    assert plain.content[0].text == text
