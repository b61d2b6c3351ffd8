"""An OpenAI caller's request for an Anthropic model."""

from __future__ import annotations

import base64

import pytest

from support import translate
from weir_router.dialects.anthropic.write import DEFAULT_MAX_TOKENS, JSON_INSTRUCTION
from weir_router.dialects.axes import Format
from weir_router.dialects.neutral.efforts import EFFORT_BUDGETS
from weir_router.dialects.wire.fit import MIN_THINKING_BUDGET
from weir_router.errors import BadRequest

WEATHER = {"name": "weather", "description": "Tells it", "parameters": {"type": "object", "properties": {"at": {}}}}
TOOLS = [{"type": "function", "function": WEATHER}]
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"at": "Rome"}'}}
ASKED = [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
ANSWERED = [*ASKED, {"role": "tool", "tool_call_id": "c1", "content": "Sunny"}]


def test_every_system_prompt_moves_into_the_system_field(openai_ask, kit):
    roles = ("system", "user", "developer")
    out = kit.translated(openai_ask(messages=[{"role": role, "content": f"I am {role}"} for role in roles]))
    assert out["system"] == "I am system\n\nI am developer"
    assert out["messages"] == [{"role": "user", "content": "I am user"}]


def test_a_system_prompt_of_parts_becomes_text(openai_ask, kit):
    parts = [{"type": "text", "text": "Be brief"}, {"type": "text", "text": "Be kind"}]
    hello = {"role": "user", "content": "Hello"}
    assert kit.translated(openai_ask(messages=[{"role": "system", "content": parts}, hello]))["system"] == (
        "Be brief\n\nBe kind"
    )


def test_a_system_prompt_alone_becomes_the_turn_to_answer(openai_ask, kit):
    out = kit.translated(openai_ask(messages=[{"role": "system", "content": "Tell a joke"}]))
    assert out["messages"] == [{"role": "user", "content": "Tell a joke"}]
    assert "system" not in out


def test_consecutive_turns_of_one_role_become_one(openai_ask, kit):
    out = kit.translated(openai_ask(messages=[{"role": "user", "content": text} for text in ("a", "b")]))
    assert out["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]


@pytest.mark.parametrize("content", ["", "  \n", None, [], [{"type": "text", "text": ""}]])
def test_empty_turns_are_left_out_since_anthropic_refuses_them(openai_ask, kit, content):
    messages = [{"role": "assistant", "content": content}, {"role": "user", "content": "Hello"}]
    assert kit.translated(openai_ask(messages=messages))["messages"] == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": ""}], None, "Hello", [1]])
def test_a_conversation_without_content_is_a_bad_request(openai_ask, messages):
    with pytest.raises(BadRequest, match="messages"):
        translate.request(openai_ask(messages=messages), Format.ANTHROPIC_MESSAGES)


def test_a_user_turn_goes_before_a_greeting_of_the_assistant(openai_ask, kit):
    greeting, answer = {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Hi"}
    opening = {"role": "user", "content": "."}
    assert kit.translated(openai_ask(messages=[greeting, answer]))["messages"] == [opening, greeting, answer]
    assert kit.translated(openai_ask(messages=[greeting]))["messages"] == [opening, greeting]


def test_the_assistants_last_turn_stays_as_prefill_without_its_trailing_space(openai_ask, kit):
    messages = [{"role": "user", "content": "Name one"}, {"role": "assistant", "content": "It is "}]
    assert kit.translated(openai_ask(messages=messages))["messages"][-1] == {"role": "assistant", "content": "It is"}


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://x/y.png", {"type": "url", "url": "https://x/y.png"}),
        ("data:image/png;base64,AAAA", {"type": "base64", "media_type": "image/png", "data": "AAAA"}),
        ("DATA:image/JPEG;x=1;base64,AAAA", {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}),
    ],
)
def test_images_become_blocks_with_a_source(openai_ask, kit, url, source):
    content = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}]
    out = kit.translated(openai_ask(messages=[{"role": "user", "content": content}]))
    assert out["messages"][0]["content"] == [{"type": "image", "source": source}]


def test_a_pdf_file_becomes_a_document(openai_ask, kit):
    file = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}
    out = kit.translated(openai_ask(messages=[{"role": "user", "content": [{"type": "file", "file": file}]}]))
    source = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    assert out["messages"][0]["content"] == [{"type": "document", "source": source, "title": "a.pdf"}]


def test_a_text_file_becomes_a_plain_text_document(openai_ask, kit):
    data = "data:text/markdown;base64," + base64.b64encode("# Tëxt".encode()).decode()
    out = kit.translated(
        openai_ask(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_data": data}}]}])
    )
    source = {"type": "text", "media_type": "text/plain", "data": "# Tëxt"}
    assert out["messages"][0]["content"] == [{"type": "document", "source": source}]


def test_functions_become_tools_with_an_input_schema(openai_ask, kit):
    out = kit.translated(openai_ask(tools=[{"type": "function", "function": {**WEATHER, "strict": True}}]))
    schema = {**WEATHER["parameters"], "additionalProperties": False}
    tool = {"name": "weather", "description": "Tells it", "input_schema": schema, "strict": True}
    assert out["tools"] == [tool]
    assert "tool_choice" not in out


def test_a_function_without_parameters_takes_an_empty_object(openai_ask, kit):
    out = kit.translated(openai_ask(tools=[{"type": "function", "function": {"name": "now"}}]))
    assert out["tools"][0]["input_schema"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
def test_tool_choice_keeps_its_meaning(openai_ask, kit, choice, expected):
    assert kit.translated(openai_ask(tools=TOOLS, tool_choice=choice))["tool_choice"] == expected


@pytest.mark.parametrize(("choice", "kind"), [(None, "auto"), ("auto", "auto"), ("required", "any")])
def test_refusing_parallel_calls_goes_into_the_tool_choice(openai_ask, kit, choice, kind):
    out = kit.translated(openai_ask(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False))
    assert out["tool_choice"] == {"type": kind, "disable_parallel_tool_use": True}


def test_no_tools_means_no_tool_choice(openai_ask, kit):
    out = kit.translated(openai_ask(tool_choice="none", parallel_tool_calls=False))
    assert "tool_choice" not in out
    assert "tools" not in out


def test_allowed_tools_leaves_only_those(openai_ask, kit):
    other = {"type": "function", "function": {"name": "other"}}
    allowed = {"mode": "required", "tools": [other]}
    out = kit.translated(
        openai_ask(tools=[*TOOLS, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    )
    assert [tool["name"] for tool in out["tools"]] == ["other"]
    assert out["tool_choice"] == {"type": "any"}


def test_tool_calls_and_results_become_blocks_of_two_turns(openai_ask, kit):
    call = {**CALL, "id": "c2", "function": {"name": "weather", "arguments": ""}}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "Looking", "tool_calls": [CALL, call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "user", "content": "And?"},
    ]
    assert kit.translated(openai_ask(messages=messages, tools=TOOLS))["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Looking"},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"at": "Rome"}},
                {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "Sunny"},
                {"type": "tool_result", "tool_use_id": "c2"},
                {"type": "text", "text": "And?"},
            ],
        },
    ]


def test_a_tool_result_keeps_its_images(openai_ask, kit):
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "https://x/y"}}]
    messages = [*ASKED, {"role": "tool", "tool_call_id": "c1", "content": parts}]
    result = kit.translated(openai_ask(messages=messages, tools=TOOLS))["messages"][-1]["content"][0]
    assert [block["type"] for block in result["content"]] == ["text", "image"]


def test_ids_that_anthropic_refuses_are_rewritten_alike_in_call_and_result(openai_ask, kit):
    call = {**CALL, "id": "functions.weather:0"}
    messages = [
        *ASKED[:1],
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "functions.weather:0", "content": "Sunny"},
    ]
    turns = kit.translated(openai_ask(messages=messages))["messages"]
    assert turns[1]["content"][0]["id"] == turns[2]["content"][0]["tool_use_id"] == "functions_weather_0"


def test_tools_of_the_history_are_named_but_may_not_be_used(openai_ask, kit):
    out = kit.translated(openai_ask(messages=ANSWERED))
    assert [tool["name"] for tool in out["tools"]] == ["weather"]
    assert out["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"path": "a.py", "text": "def', {"arguments": '{"path": "a.py", "text": "def'}),
        ("[1]", {"arguments": [1]}),
        ('"x"', {"arguments": "x"}),
        ("null", {}),
        ("", {}),
    ],
)
def test_arguments_that_are_no_json_object_are_wrapped(openai_ask, kit, arguments, expected):
    """A call that was cut off stays in the history, and every later turn repeats it."""
    call = {**CALL, "function": {"name": "weather", "arguments": arguments}}
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}]
    block = kit.translated(openai_ask(messages=messages))["messages"][1]["content"][0]
    assert block["input"] == expected


def test_earlier_reasoning_is_left_out_for_want_of_a_signature(openai_ask, kit):
    turn = {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"}
    assert kit.translated(openai_ask(messages=[*ASKED[:1], turn]))["messages"][1]["content"] == "4"


def test_an_earlier_refusal_stays_as_text(openai_ask, kit):
    turns = [{"role": "assistant", "refusal": "No."}, {"role": "user", "content": "Why?"}]
    out = kit.translated(openai_ask(messages=[*ASKED[:1], *turns]))
    assert out["messages"][1] == {"role": "assistant", "content": "No."}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, DEFAULT_MAX_TOKENS),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"max_tokens": 7, "max_completion_tokens": 8}, 8),
    ],
)
def test_max_tokens_is_always_there(openai_ask, kit, body, expected):
    assert kit.translated(openai_ask(**body))["max_tokens"] == expected


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"temperature": 0.3, "top_p": 0.5}, {"temperature": 0.3, "top_p": 0.5}),
        ({"temperature": 1.7, "top_p": 1}, {}),
        ({"temperature": 1}, {}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"user": "u", "safety_identifier": "s"}, {"metadata": {"user_id": "s"}}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"service_tier": "flex"}, {}),
        ({"seed": 1, "logit_bias": {}, "presence_penalty": 1, "store": True, "verbosity": "low"}, {}),
        ({"n": 1, "logprobs": False, "modalities": ["text"], "unknown": {"x": 1}}, {}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
    ],
)
def test_parameters_translate_by_the_table(openai_ask, kit, asked, given):
    out = kit.translated(openai_ask(**asked))
    assert {key: out[key] for key in out if key not in ("model", "messages", "max_tokens")} == given


@pytest.mark.parametrize("effort", EFFORT_BUDGETS)
def test_effort_becomes_a_thinking_budget_with_room_for_the_answer(openai_ask, kit, effort):
    out = kit.translated(openai_ask(reasoning_effort=effort, temperature=0.2, top_p=0.5))
    budget = out["thinking"]["budget_tokens"]
    assert budget == EFFORT_BUDGETS[effort] >= MIN_THINKING_BUDGET
    assert out["max_tokens"] - budget == DEFAULT_MAX_TOKENS
    assert not {"temperature", "top_p"} & set(out)


def test_the_callers_limit_leaves_half_for_the_answer(openai_ask, kit):
    out = kit.translated(openai_ask(reasoning_effort="high", max_completion_tokens=4000))
    assert out["max_tokens"] == 4000
    assert out["thinking"]["budget_tokens"] == 2000


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": 2 * MIN_THINKING_BUDGET - 1},
        {"tools": TOOLS, "tool_choice": "required"},
        {"messages": ANSWERED, "tools": TOOLS},
        {"messages": [*ASKED[:1], {"role": "assistant", "content": "It"}]},
    ],
    ids=["small limit", "forced tool", "amid tool calls", "prefill"],
)
def test_no_thinking_where_anthropic_would_refuse_it(openai_ask, kit, body):
    assert "thinking" not in kit.translated(openai_ask(reasoning_effort="high", **body))


def test_a_json_schema_becomes_structured_output_with_closed_objects(openai_ask, kit):
    inner = {"type": "object", "properties": {"type": {"enum": [{"type": "object"}]}}}
    schema = {"type": "object", "properties": {"a": {"anyOf": [inner, {"type": "null"}]}}}
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    out = kit.translated(openai_ask(response_format=shape))["output_config"]["format"]
    assert out["schema"]["additionalProperties"] is False
    closed_inner = {**inner, "additionalProperties": False}
    assert out["schema"]["properties"]["a"]["anyOf"][0] == closed_inner
    assert "additionalProperties" not in schema


def test_json_mode_becomes_an_instruction(openai_ask, kit):
    out = kit.translated(openai_ask(response_format={"type": "json_object"}))
    assert out["system"] == JSON_INSTRUCTION


USER_PART = lambda part: {"messages": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"functions": [WEATHER]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"tools": [{"type": "smell", "smell": {"name": "x"}}]}, "tools[0].type"),
        ({"stop": ["\n"]}, "stop"),
        (USER_PART({"type": "input_audio", "input_audio": {}}), "messages[0].content[0].type"),
        (USER_PART({"type": "file", "file": {"file_id": "f"}}), "messages[0].content[0].file.file_id"),
        (
            USER_PART({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}),
            "messages[0].content[0].image_url.url",
        ),
        (
            USER_PART({"type": "file", "file": {"file_data": "data:application/zip;base64,AA"}}),
            "messages[0].content[0].file.file_data",
        ),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant", "audio": {"id": "x"}}]}, "messages[0].audio"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "assistant", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "smell"}]}]}, "messages[0].tool_calls[0].type"),
        ({"tool_choice": {"type": "smell", "smell": {"name": "x"}}}, "tool_choice.type"),
    ],
)
def test_what_an_anthropic_model_cannot_do_is_refused_by_name(openai_ask, body, param):
    ask = openai_ask(**body)
    with pytest.raises(BadRequest) as raised:
        translate.request(ask, Format.ANTHROPIC_MESSAGES)
    assert raised.value.param == param
    assert "; " in raised.value.message, "says what to do"
    assert translate.untranslatable(ask, Format.ANTHROPIC_MESSAGES) == raised.value.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stop": [1]}, "stop"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": TOOLS, "tool_choice": "always"}, "tool_choice"),
        ({"tools": TOOLS, "parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"messages": [{"role": "narrator"}]}, "messages[0].role"),
        (USER_PART({"type": "image_url", "image_url": {"url": "data:oops"}}), "messages[0].content[0].image_url.url"),
        (
            USER_PART({"type": "file", "file": {"file_data": "data:text/plain;base64,!"}}),
            "messages[0].content[0].file.file_data",
        ),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(openai_ask, body, param):
    with pytest.raises(BadRequest) as raised:
        translate.request(openai_ask(**body), Format.ANTHROPIC_MESSAGES)
    assert raised.value.param == param


def test_a_request_that_can_be_translated_is_not_untranslatable(openai_ask):
    assert translate.untranslatable(openai_ask(), Format.ANTHROPIC_MESSAGES) is None


def test_nothing_is_untranslatable_into_its_own_dialect(openai_ask):
    assert translate.untranslatable(openai_ask(n=2), Format.OPENAI_CHAT) is None


def test_translation_leaves_the_callers_body_as_it_was(openai_ask):
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}}}
    body = {"messages": ANSWERED, "tools": TOOLS, "response_format": shape, "reasoning_effort": "low"}
    ask, before = openai_ask(**body), repr(openai_ask(**body).body)
    translate.request(ask, Format.ANTHROPIC_MESSAGES)
    assert repr(ask.body) == before


def test_a_schema_nested_without_end_is_a_bad_request(openai_ask):
    schema: dict[str, object] = {}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(BadRequest, match="nested"):
        translate.request(openai_ask(response_format=shape), Format.ANTHROPIC_MESSAGES)
