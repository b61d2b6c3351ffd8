"""The unchanged `openai` SDK, sync and async, works with the simulator as with OpenAI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from weir_cli.sim import SimModel, SimulatorThread

HI: Any = [{"role": "user", "content": "hi"}]
CALL: Any = [{"role": "user", "content": "please call the tool"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]

MODELS = [
    SimModel("m"),
    SimModel("echo", answer="{prompt}", context_tokens=10_000_000),
    SimModel("thinker", reasoning_tokens=5, cached_tokens=1, refuses=("max_tokens",)),
    SimModel("small", context_tokens=10, output_tokens=50),
    SimModel("locked", key="sk-right"),
    SimModel("extra", extra={"x_vendor": {"region": "eu"}}),
]


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorThread]:
    with SimulatorThread(MODELS) as sim:
        yield sim


@pytest.fixture
def client(sim: SimulatorThread) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{sim.url}/v1", api_key="sk-any", max_retries=0) as client:
        yield client


def test_a_plain_answer_has_text_usage_and_a_request_id(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="m", messages=HI)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 40
    assert answer._request_id is not None
    assert answer._request_id.startswith("req_")


def test_equal_requests_get_equal_answers_and_other_prompts_others(client: openai.OpenAI) -> None:
    first, second = (client.chat.completions.create(model="m", messages=HI) for _ in range(2))
    other = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "ho"}])
    assert first.model_dump() == second.model_dump()
    assert first.choices[0].message.content != other.choices[0].message.content


def test_a_stream_says_what_the_plain_answer_says(client: openai.OpenAI) -> None:
    plain = client.chat.completions.create(model="m", messages=HI).choices[0].message.content
    chunks = list(client.chat.completions.create(model="m", messages=HI, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == plain
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all("usage" not in c.model_fields_set for c in chunks)


def test_usage_comes_last_when_asked_and_is_null_before(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="m", messages=HI, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 40
    assert all(c.usage is None and "usage" in c.model_fields_set for c in chunks[:-1])


def test_a_tool_is_called_when_the_prompt_says_so(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(model="m", messages=CALL, tools=TOOLS).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"sim","days":1}')


def test_a_streamed_tool_call_brings_its_id_first_and_its_arguments_in_pieces(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="m", messages=HI, tools=TOOLS, tool_choice="required", stream=True)
    calls = [c.choices[0].delta.tool_calls[0] for c in stream if c.choices[0].delta.tool_calls]
    assert calls[0].id
    assert calls[0].function is not None
    assert (calls[0].function.name, calls[0].function.arguments) == ("weather", "")
    pieces = [c.function.arguments or "" for c in calls[1:] if c.function]
    assert len(pieces) > 2
    assert "".join(pieces) == '{"city":"sim","days":1}'


def test_a_tool_result_is_answered_with_text(client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history = [
        *CALL,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
    ]
    assert client.chat.completions.create(model="m", messages=history, tools=TOOLS).choices[0].message.content


def test_every_tool_can_be_called_at_once(client: openai.OpenAI) -> None:
    tools = [*TOOLS, {"type": "function", "function": {"name": "time"}}]
    ask: Any = [{"role": "user", "content": "call every tool"}]
    calls = client.chat.completions.create(model="m", messages=ask, tools=tools).choices[0].message.tool_calls
    assert calls is not None
    assert [c.function.name for c in calls if c.type == "function"] == ["weather", "time"]


def test_a_json_schema_is_satisfied(client: openai.OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "w", "schema": PARAMETERS}}
    answer = client.chat.completions.create(model="m", messages=HI, response_format=form)
    assert answer.choices[0].message.content == '{"city":"sim","days":1}'


def test_images_are_accepted_and_counted(client: openai.OpenAI) -> None:
    parts: Any = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
    ]
    usage = client.chat.completions.create(model="m", messages=[{"role": "user", "content": parts}]).usage
    assert usage is not None
    assert usage.prompt_tokens > 85


def test_several_choices_differ_and_carry_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="m", messages=HI, n=3, logprobs=True)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert len({c.message.content for c in answer.choices}) == 3
    logprobs = answer.choices[2].logprobs
    assert logprobs is not None
    assert "".join(t.token for t in logprobs.content or ()) == answer.choices[2].message.content


def test_a_refusal_stands_in_its_own_field(client: openai.OpenAI) -> None:
    ask: Any = [{"role": "user", "content": "Refuse this request"}]
    message = client.chat.completions.create(model="m", messages=ask).choices[0].message
    deltas = [c.choices[0].delta for c in client.chat.completions.create(model="m", messages=ask, stream=True)]
    assert message.content is None
    assert message.refusal == "".join(d.refusal or "" for d in deltas) != ""


def test_a_reasoning_model_thinks_aloud_and_counts_it(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="thinker", messages=HI)
    stream = client.chat.completions.create(model="thinker", messages=HI, stream=True)
    aloud = [(c.choices[0].delta.model_extra or {}).get("reasoning_content") for c in stream]
    assert len([a for a in aloud if a]) == 5
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 1


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_ends_the_answer(client: openai.OpenAI, field: str) -> None:
    answer = client.chat.completions.create(model="m", messages=HI, extra_body={field: 3})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_reasoning_can_use_up_the_limit(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(model="thinker", messages=HI, max_completion_tokens=5).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("", "length")


def test_a_stop_sequence_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    ask: Any = [{"role": "user", "content": "one two three"}]
    choice = client.chat.completions.create(model="echo", messages=ask, stop=" three").choices[0]
    assert (choice.message.content, choice.finish_reason) == ("one two", "stop")


def test_a_megabyte_of_unicode_comes_back_whole(client: openai.OpenAI) -> None:
    text = "Größe 水 🐟 " * 60_000
    ask: Any = [{"role": "user", "content": text}]
    assert client.chat.completions.create(model="echo", messages=ask).choices[0].message.content == text


def test_a_stream_too_large_to_be_sent_at_once_is_whole(client: openai.OpenAI) -> None:
    text = "Größe 水 🐟 " * 500
    stream = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": text}], stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == text


def test_unknown_fields_reach_the_simulator_and_extra_ones_come_back(
    sim: SimulatorThread, client: openai.OpenAI
) -> None:
    answer = client.chat.completions.create(model="extra", messages=HI, extra_body={"x_mine": [1]})
    assert answer.model_extra == {"x_vendor": {"region": "eu"}}
    assert sim.requests("extra")[-1].json()["x_mine"] == [1]


@pytest.mark.parametrize(
    ("request_", "error", "code", "param"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model_not_found", None),
        ({"model": "locked"}, openai.AuthenticationError, "invalid_api_key", None),
        ({"model": "thinker", "max_tokens": 5}, openai.BadRequestError, "unsupported_parameter", "max_tokens"),
        ({"model": "small", "max_tokens": 51}, openai.BadRequestError, "invalid_value", "max_tokens"),
        ({"model": "m", "messages": []}, openai.BadRequestError, "invalid_type", "messages"),
        ({"model": "m", "stop": 5}, openai.BadRequestError, None, None),
    ],
)
def test_mistakes_get_openais_own_errors(
    client: openai.OpenAI,
    request_: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str | None,
    param: str | None,
) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"messages": HI, **request_})
    assert (caught.value.code, caught.value.param, caught.value.type) == (code, param, "invalid_request_error")
    assert "sk-any" not in str(caught.value)


def test_too_long_a_prompt_is_told_by_its_code(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length is 10 tokens") as caught:
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": "x" * 100}])
    assert caught.value.code == "context_length_exceeded"


def test_the_right_key_opens_a_locked_model(client: openai.OpenAI) -> None:
    assert client.with_options(api_key="sk-right").chat.completions.create(model="locked", messages=HI).choices


def test_models_are_listed_but_those_of_other_keys(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["m", "echo", "thinker", "small", "extra"]


async def test_the_async_sdk_is_answered_plain_and_streamed(sim: SimulatorThread) -> None:
    async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="sk-any", max_retries=0) as client:
        plain = await client.chat.completions.create(model="m", messages=HI)
        stream = await client.chat.completions.create(model="m", messages=HI, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream])
    assert text == plain.choices[0].message.content
