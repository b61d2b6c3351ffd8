"""An Anthropic caller's request for an OpenAI model."""

from __future__ import annotations

import pytest

from support import translate
from weir_router.dialects.axes import Format
from weir_router.errors import BadRequest

WEATHER = {"name": "weather", "description": "Tells it", "input_schema": {"type": "object", "properties": {"at": {}}}}
USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"at": "Rome"}}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def text(value, **more):
    return {"type": "text", "text": value, **more}


@pytest.mark.parametrize("system", ["Be brief\n\nBe kind", [text("Be brief", cache_control={}), text("Be kind")]])
def test_the_system_prompt_becomes_the_first_message(anthropic_ask, kit, system):
    out = kit.translated(anthropic_ask(system=system))
    assert out["messages"][0] == {"role": "system", "content": "Be brief\n\nBe kind"}


def test_a_system_turn_keeps_its_place(anthropic_ask, kit):
    turns = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}, {"role": "user", "content": "c"}]
    assert kit.translated(anthropic_ask(messages=turns))["messages"] == turns


def test_text_blocks_become_parts_without_cache_control(anthropic_ask, kit):
    out = kit.translated(anthropic_ask(messages=[user(text("a", cache_control={"type": "ephemeral"}), text("b"))]))
    assert out["messages"] == [user(text("a"), text("b"))]


def test_a_single_text_block_becomes_a_string(anthropic_ask, kit):
    assert kit.translated(anthropic_ask(messages=[user(text("a"))]))["messages"][0]["content"] == "a"


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ({"type": "url", "url": "https://x/y.png"}, "https://x/y.png"),
        ({"type": "base64", "media_type": "image/png", "data": "AAAA"}, "data:image/png;base64,AAAA"),
    ],
)
def test_images_become_urls(anthropic_ask, kit, source, url):
    out = kit.translated(anthropic_ask(messages=[user({"type": "image", "source": source})]))
    assert out["messages"][0]["content"] == [{"type": "image_url", "image_url": {"url": url}}]


def test_a_pdf_becomes_a_file_with_a_name(anthropic_ask, kit):
    blocks = [{"type": "document", "source": PDF, "title": "a.pdf"}, {"type": "document", "source": PDF}]
    parts = kit.translated(anthropic_ask(messages=[user(*blocks)]))["messages"][0]["content"]
    assert [part["file"]["filename"] for part in parts] == ["a.pdf", "document.pdf"]
    assert parts[0]["file"]["file_data"] == "data:application/pdf;base64,AAAA"


def test_documents_of_text_become_text_under_their_title(anthropic_ask, kit):
    plain = {"type": "text", "media_type": "text/plain", "data": "body"}
    image = {"type": "image", "source": {"type": "url", "url": "https://x/y"}}
    blocks = [
        {"type": "document", "source": plain, "title": "T", "context": "C"},
        {"type": "document", "source": {"type": "content", "content": [text("inner"), image]}},
        {"type": "search_result", "title": "S", "source": "https://s", "content": [text("found")]},
    ]
    parts = kit.translated(anthropic_ask(messages=[user(*blocks)]))["messages"][0]["content"]
    assert [part.get("text") for part in parts] == ["T\nC", "body", "inner", None, "S (https://s)\nfound"]


def test_tools_become_functions(anthropic_ask, kit):
    tool = {**WEATHER, "type": "custom", "strict": True, "cache_control": {"type": "ephemeral"}}
    function = {
        "name": "weather",
        "description": "Tells it",
        "parameters": WEATHER["input_schema"],
        "strict": True,
    }
    assert kit.translated(anthropic_ask(tools=[tool]))["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tool_choice_keeps_its_meaning(anthropic_ask, kit, choice, expected):
    out = kit.translated(anthropic_ask(tools=[WEATHER], tool_choice=choice))
    assert out["tool_choice"] == expected
    assert "parallel_tool_calls" not in out


def test_refusing_parallel_use_becomes_its_own_parameter(anthropic_ask, kit):
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert kit.translated(anthropic_ask(tools=[WEATHER], tool_choice=choice))["parallel_tool_calls"] is False


def test_a_tool_choice_without_tools_is_left_out(anthropic_ask, kit):
    assert "tool_choice" not in kit.translated(anthropic_ask(tool_choice={"type": "none"}))


def test_tool_use_becomes_calls_and_thinking_is_left_out(anthropic_ask, kit):
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    turn = {"role": "assistant", "content": [thought, text("Look"), text("ing"), USE]}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "Sunny"}
    out = kit.translated(anthropic_ask(messages=[user(text("?")), turn, user(result)], tools=[WEATHER]))
    call = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"at":"Rome"}'}}
    assert out["messages"][1:] == [
        {"role": "assistant", "content": "Looking", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "Sunny"},
    ]


def test_results_come_before_the_rest_of_their_turn(anthropic_ask, kit):
    results = [{"type": "tool_result", "tool_use_id": name, "content": name} for name in ("t1", "t2")]
    messages = kit.translated(anthropic_ask(messages=[user(results[0], text("And?"), results[1])]))["messages"]
    assert [message["role"] for message in messages] == ["tool", "tool", "user"]
    assert messages[2]["content"] == "And?"


@pytest.mark.parametrize(("content", "expected"), [("no net", "Error: no net"), (None, "Error: ")])
def test_a_failed_result_says_so(anthropic_ask, kit, content, expected):
    result = {"type": "tool_result", "tool_use_id": "t1", "is_error": True}
    block = result if content is None else {**result, "content": content}
    assert kit.translated(anthropic_ask(messages=[user(block)]))["messages"][0]["content"] == expected


def test_an_image_of_a_result_follows_in_a_user_message(anthropic_ask, kit):
    image = {"type": "image", "source": {"type": "url", "url": "https://x/y"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [text("See"), image]}
    tool, follow = kit.translated(anthropic_ask(messages=[user(result)]))["messages"]
    assert tool["content"] == "See"
    assert [part["type"] for part in follow["content"]] == ["text", "image_url"]
    assert "t1" in follow["content"][0]["text"]


def test_prefill_stays_the_last_message(anthropic_ask, kit):
    turns = [{"role": "user", "content": "Name one"}, {"role": "assistant", "content": "It is"}]
    assert kit.translated(anthropic_ask(messages=turns))["messages"] == turns


def test_an_empty_turn_stays_empty(anthropic_ask, kit):
    assert kit.translated(anthropic_ask(messages=[user()]))["messages"] == [{"role": "user", "content": ""}]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, {"max_tokens": 100}),
        ({"temperature": 0.4, "top_p": 0.9, "top_k": 5}, {"temperature": 0.4, "top_p": 0.9}),
        ({"stop_sequences": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"cache_control": {"type": "ephemeral"}, "speed": "fast", "unknown": 1, "container": None}, {}),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, {}),
        ({"thinking": {"type": "adaptive"}}, {}),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}, {"reasoning_effort": "medium"}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 60000}}, {"reasoning_effort": "high"}),
    ],
)
def test_parameters_translate_by_the_table(anthropic_ask, kit, asked, given):
    out = kit.translated(anthropic_ask(**asked))
    assert {key: out[key] for key in out if key not in ("model", "messages")} == {"max_tokens": 100, **given}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
        ({"type": "object", "properties": 1, "additionalProperties": False}, False),
        ({"anyOf": [{"type": "object", "properties": {}}]}, False),
        ({"type": "string", "enum": [{"type": "object"}]}, True),
    ],
)
def test_structured_output_is_strict_where_openai_takes_the_schema(anthropic_ask, kit, schema, strict):
    out = kit.translated(anthropic_ask(output_config={"format": {"type": "json_schema", "schema": schema}}))
    assert out["response_format"]["json_schema"] == {"name": "answer", "schema": schema, "strict": strict}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, "tools[0].type"),
        ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop_sequences": list("abcde")}, "stop_sequences"),
        (
            {"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [user({"type": "document", "source": {"type": "url", "url": "u"}})]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [user({"type": "document", "source": PDF, "citations": {"enabled": True}})]},
            "messages[0].content[0].citations.enabled",
        ),
        ({"messages": [user({"type": "container_upload", "file_id": "f"})]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "compaction"}]}]},
            "messages[0].content[0].type",
        ),
    ],
)
def test_what_an_openai_model_cannot_do_is_refused_by_name(anthropic_ask, body, param):
    ask = anthropic_ask(**body)
    with pytest.raises(BadRequest) as raised:
        translate.request(ask, Format.OPENAI_CHAT)
    assert raised.value.param == param
    assert translate.untranslatable(ask, Format.OPENAI_CHAT) == raised.value.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
        ({"tools": [WEATHER], "tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"messages": [user({"type": "tool_result"})]}, "messages[0].content[0].tool_use_id"),
        ({"max_tokens": 1.5}, "max_tokens"),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(anthropic_ask, body, param):
    with pytest.raises(BadRequest) as raised:
        translate.request(anthropic_ask(**body), Format.OPENAI_CHAT)
    assert raised.value.param == param
