"""Requests of this format: read, understood, and written for upstreams of each format."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from support import translate
from support.pairings import FORMATS
from weir_router.contract import Capability, Traits
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.neutral.checked import Checked
from weir_router.dialects.neutral.conversation import (
    Call,
    Choice,
    Document,
    Effort,
    Grammar,
    Image,
    Result,
    Shape,
    Text,
    Thought,
    Tool,
    Turn,
)
from weir_router.dialects.neutral.opaque import Opaque
from weir_router.dialects.neutral.target import Target
from weir_router.dialects.openai_responses import request
from weir_router.dialects.openai_responses.sealed import CLAUDE, ELSEWHERE
from weir_router.dialects.openai_responses.understand import understand
from weir_router.dialects.registry import record_of
from weir_router.dialects.sealed_ids import State
from weir_router.dialects.wire.body import look_unnamed
from weir_router.errors import BadRequest

REALM = "0a1b2c3d"
PNG = "iVBORw0KGgo="
PARAMS = pydantic.TypeAdapter(ResponseCreateParamsNonStreaming)


def read(**body: Any) -> Ask:
    return request.read(msgspec.json.encode({"model": "auto", "input": "Hi", **body}), {})


def understood(**body: Any) -> Any:
    return understand(Checked({"model": "auto", "input": "Hi", **body}), "auto")


def turns(*items: Any) -> Any:
    return understood(input=list(items)).turns


def read_out(value: Any) -> Any:
    """Reads pydantic's lazy iterables to their ends, which validates them."""
    if isinstance(value, dict):
        return {key: read_out(item) for key, item in value.items()}
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return [read_out(item) for item in value]


# ---- understand ----


def test_a_text_is_one_turn_of_the_user():
    assert understood(instructions="Be brief").instructions == (Text("Be brief"),)
    assert understood().turns == (Turn("user", (Text("Hi"),)),)


def user(*parts: Any, **more: Any) -> Any:
    return {"type": "message", "role": "user", "content": list(parts), **more}


def test_messages_come_in_an_easy_and_a_full_form():
    assert turns({"role": "user", "content": "Hi"}) == turns(user({"type": "input_text", "text": "Hi"}))
    said = {"type": "output_text", "text": "Yo", "annotations": []}
    full = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [said]}
    assert turns({"role": "assistant", "content": "Yo"}) == turns(full) == (Turn("assistant", (Text("Yo"),)),)
    for role in ("system", "developer"):
        assert turns({"role": role, "content": "Rule"}) == (Turn("system", (Text("Rule"),)),)
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    assert turns(refused) == (Turn("assistant", (Text("no", refusal=True),)),)


def test_images_and_files_are_inline_or_by_url():
    data = f"data:image/png;base64,{PNG}"
    (turn,) = turns(
        user(
            {"type": "input_image", "image_url": data, "detail": "auto"},
            {"type": "input_image", "image_url": "https://x/y.png"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
            {"type": "input_file", "filename": "b.pdf", "file_data": "AAAA"},
        )
    )
    assert turn.parts == (
        Image("input[0].content[0].image_url", None, "image/png", PNG),
        Image("input[0].content[1].image_url", "https://x/y.png"),
        Document("input[0].content[2].file_data", "application/pdf", "AAAA", title="a.pdf"),
        Document("input[0].content[3].file_data", "application/pdf", "AAAA", title="b.pdf"),
    )


CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
CUSTOM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "patch", "input": "*** Begin"}
CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "ok"}]}
HI, YO = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}


def thought(text: str, blob: str | None = None) -> dict[str, Any]:
    sealed = {} if blob is None else {"encrypted_content": blob}
    return {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": text}], **sealed}


def test_the_models_items_are_one_turn_and_outputs_are_the_users():
    found = turns(HI, thought("hm"), YO, CALL, CUSTOM, OUTPUT, CUSTOM_OUTPUT, HI)
    calls = (
        Call("c1", "f", "{}", "input[3].arguments"),
        Call("c2", "patch", "*** Begin", "input[4].input", custom=True),
    )
    assert found == (
        Turn("user", (Text("Hi"),)),
        Turn("assistant", (Thought("hm"), Text("Yo"), *calls)),
        Turn("user", (Result("c1", (Text("42"),)), Result("c2", (Text("ok"),)), Text("Hi"))),
    )


def test_a_further_message_begins_a_turn_with_the_reasoning_that_led_to_it():
    found = turns(HI, thought("a"), YO, thought("b"), YO)
    assert [turn.parts for turn in found[1:]] == [(Thought("a"), Text("Yo")), (Thought("b"), Text("Yo"))]
    assert len(turns(HI, YO, CALL, YO, OUTPUT)) == 3  # calls and their outputs stay together


@pytest.mark.parametrize(
    ("blob", "opaque"),
    [
        (None, None),
        (f"w1.{REALM}.c2ln", Opaque(REALM, "c2ln")),
        (f"w1.{CLAUDE}.c2ln", Opaque("", "c2ln")),
        ("gAAAA", Opaque(ELSEWHERE, "gAAAA")),
    ],
)
def test_encrypted_reasoning_is_of_the_realm_that_made_it(blob, opaque):
    assert turns(HI, thought("hm", blob), YO)[1].parts[0] == Thought("hm", opaque)


def test_reasoning_without_words_stands_for_the_whole_thought():
    item = {"type": "reasoning", "summary": [], "encrypted_content": f"w1.{REALM}.x"}
    assert turns(HI, item, YO)[1].parts[0] == Thought("", Opaque(REALM, "x", redacted=True))


def test_tools_are_functions_and_custom_tools():
    form = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    found = understood(
        tools=[
            {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
            {"type": "function", "name": "g", "parameters": None, "strict": None},
            {"type": "custom", "name": "patch", "format": form},
            {"type": "custom", "name": "say", "format": {"type": "text"}},
        ],
        parallel_tool_calls=False,
    )
    assert found.tools == (
        Tool("f", "d", {"type": "object"}, True),
        Tool("g", None, None, False),
        Tool("patch", None, None, False, custom=True, grammar=Grammar("lark", "start: x")),
        Tool("say", None, None, False, custom=True),
    )
    assert [extra.name for extra in found.extras] == ["grammar"]
    assert found.parallel is False


FUNCTION = {"type": "function", "name": "f", "parameters": {}, "strict": False}


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ("auto", Choice("auto")),
        ("required", Choice("any")),
        ("none", Choice("none")),
        ({"type": "function", "name": "f"}, Choice("named", "f")),
        ({"type": "custom", "name": "f"}, Choice("named", "f")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            Choice("any", None, ("f",)),
        ),
    ],
)
def test_a_choice_among_tools(given, choice):
    assert understood(tools=[FUNCTION], tool_choice=given).choice == choice
    assert understood(tool_choice=given).choice is None


def test_options_have_their_neutral_fields():
    schema = {"type": "object"}
    found = understood(
        text={"format": {"type": "json_schema", "name": "n", "schema": schema}, "verbosity": "low"},
        reasoning={"effort": "high", "summary": "auto"},
        max_output_tokens=100,
        temperature=0.5,
        top_p=0.9,
        safety_identifier="s",
        user="u",
        service_tier="default",
    )
    assert (found.shape, found.effort, found.max_output) == (Shape(schema), Effort("high"), 100)
    assert (found.temperature, found.top_p, found.user, found.tier) == (0.5, 0.9, "s", "standard")
    assert [(extra.name, extra.value) for extra in found.extras] == [("verbosity", "low")]
    assert understood(text={"format": {"type": "json_object"}}).shape == Shape(None)


# ---- what cannot be carried ----

STATE = {
    "previous_response_id": "resp_1",
    "conversation": "conv_1",
    "prompt": {"id": "pmpt_1"},
    "background": True,
}


@pytest.mark.parametrize("to", [Format.OPENAI_CHAT, Format.ANTHROPIC_MESSAGES])
@pytest.mark.parametrize(
    ("body", "param", "do"),
    [
        *[({name: value}, name, "") for name, value in STATE.items()],
        ({"input": [HI, {"type": "item_reference", "id": "msg_1"}]}, "input[1]", "store: false"),
        ({"input": [HI, {"id": "msg_1"}]}, "input[1]", "store: false"),
        ({"input": [user({"type": "input_image", "file_id": "f"})]}, "input[0].content[0].file_id", "image_url"),
        ({"input": [user({"type": "input_file", "file_id": "f"})]}, "input[0].content[0].file_id", "file_data"),
        ({"input": [user({"type": "input_file", "file_url": "u"})]}, "input[0].content[0].file_url", "base64"),
        ({"input": [user({"type": "input_audio", "data": "x"})]}, "input[0].content[0].type", "send text"),
        ({"input": [HI, {"type": "local_shell_call", "call_id": "c"}]}, "input[1].type", "functions"),
        ({"input": [HI, {"type": "compaction", "encrypted_content": "x"}]}, "input[1].type", "functions"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "function"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice.type", "function"),
        ({"moderation": {"model": "m"}}, "moderation", "") ,
        ({"top_logprobs": 3}, "top_logprobs", ""),
        ({"text": {"format": {"type": "smell"}}}, "text.format.type", ""),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", ""),
        ({"reasoning": {"summary": "song"}}, "reasoning.summary", ""),
        ({"max_output_tokens": 0}, "max_output_tokens", ""),
        ({"tool_choice": "perhaps", "tools": [FUNCTION]}, "tool_choice", ""),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role", ""),
        ({"input": [{**CALL, "name": None}]}, "input[0].name", ""),
        ({"input": [{**CUSTOM, "input": 1}]}, "input[0].input", ""),
        ({"input": [{"role": "system", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type", ""),
        ({"input": [{"role": "assistant", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type", ""),
    ],
)  # fmt: skip
def test_what_another_format_cannot_say_is_refused_with_its_place(to, body, param, do):
    if to is Format.OPENAI_CHAT and param == "moderation":
        return  # chat completions have it
    ask = Ask(Format.OPENAI_RESPONSES, "auto", False, {"model": "auto", "input": "Hi", **body}, {}, read().prompt)
    with pytest.raises(BadRequest) as raised:
        translate.request(ask, to)
    assert raised.value.param == param
    assert do in raised.value.message


@pytest.mark.parametrize("to", [Format.OPENAI_CHAT, Format.ANTHROPIC_MESSAGES])
def test_what_only_tunes_is_dropped_and_named(to):
    ask = read(
        input=[{"type": "web_search_call", "id": "ws"}, user({"type": "input_text", "text": "Hi"}, phase="commentary")],
        include=["reasoning.encrypted_content", "web_search_call.results"],
        truncation="auto",
        context_management=[{"type": "compaction"}],
        max_tool_calls=3,
        prompt_cache_retention="24h",
        service_tier="flex",
        reasoning={"mode": "pro"},
        tools=[{**FUNCTION, "defer_loading": True}],
    )
    dropped: list[str] = []
    translate.request(ask, to, dropped=dropped)
    assert set(dropped) == {
        *("server_tools", "phase", "include", "truncation", "context_management", "max_tool_calls", "service_tier"),
        *("prompt_cache_retention", "mode", "defer_loading"),
    }


def test_a_whole_conversation_becomes_chat_completions_and_messages():
    ask = read(
        instructions="Be brief",
        input=[HI, thought("hm", f"w1.{CLAUDE}.c2ln"), YO, CALL, CUSTOM, OUTPUT, CUSTOM_OUTPUT],
        tools=[FUNCTION, {"type": "custom", "name": "patch"}],
        max_output_tokens=99,
    )
    chat = translate.request(ask, Format.OPENAI_CHAT)
    assert [message["role"] for message in chat["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert [call["function"]["name"] for call in chat["messages"][2]["tool_calls"]] == ["f", "patch"]
    messages = translate.request(ask, Format.ANTHROPIC_MESSAGES)
    blocks = messages["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use", "tool_use"]
    assert blocks[0]["signature"] == "c2ln"
    assert (messages["system"], messages["max_tokens"]) == ("Be brief", 99)


# ---- write ----


def chat_ask(**body: Any) -> Ask:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], **body}
    return Ask(Format.OPENAI_CHAT, "auto", True, body, {}, read().prompt)


def written(ask: Ask, target: Target | None = None, dropped: list[str] | None = None) -> Any:
    made = translate.request(ask, Format.OPENAI_RESPONSES, target or Target(REALM), dropped)
    read_out(PARAMS.validate_python({**made, "input": validated(made["input"])}))
    return made


def validated(items: Any) -> Any:
    """The items with what the SDK's types demand and the API does not: ids of reasoning and of the model's messages."""
    more = {"reasoning": {"id": "rs_1"}, "message": {"id": "msg_1", "status": "completed"}}
    shown = []
    for item in items:
        its_own = item["type"] == "reasoning" or item.get("role") == "assistant"
        if its_own and isinstance(item.get("content"), list):
            parts = [{**part, "annotations": []} if part["type"] == "output_text" else part for part in item["content"]]
            item = {**item, "content": parts}
        shown.append({**item, **more[item["type"]]} if its_own and not isinstance(item.get("content"), str) else item)
    return shown


def test_a_chat_conversation_is_written_as_items():
    url = f"data:image/png;base64,{PNG}"
    image = {"type": "image_url", "image_url": {"url": url}}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    custom = {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    made = written(
        chat_ask(
            messages=[
                {"role": "system", "content": "Be brief"},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "a"}, image],
                },
                {"role": "assistant", "content": "Yo", "refusal": "no", "tool_calls": [call, custom]},
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
                {"role": "tool", "tool_call_id": "c2", "content": "ok"},
            ],
            tools=[
                {"type": "function", "function": {"name": "f"}},
                {"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}},
            ],
            tool_choice={"type": "custom", "custom": {"name": "patch"}},
            max_tokens=5,
            response_format={"type": "json_object"},
            metadata={"a": "b"},
            prompt_cache_key="k",
            verbosity="low",
        )
    )
    assert [item.get("role") or item["type"] for item in made["input"]] == [
        *("developer", "user", "assistant", "function_call", "custom_tool_call", "function_call_output"),
        "custom_tool_call_output",
    ]
    assert made["store"] is False
    assert made["tool_choice"] == {"type": "custom", "name": "patch"}
    assert made["tools"][0]["strict"] is False
    assert made["max_output_tokens"] == 16
    assert made["text"] == {"format": {"type": "json_object"}, "verbosity": "low"}
    assert (made["metadata"], made["prompt_cache_key"]) == ({"a": "b"}, "k")
    assert "include" not in made


def test_reasoning_is_asked_for_with_its_state():
    made = written(chat_ask(reasoning_effort="xhigh"))
    assert made["reasoning"] == {"effort": "high", "summary": "auto"}
    assert made["include"] == ["reasoning.encrypted_content"]
    known = Target(REALM, Traits(efforts=("none", "low", "xhigh")))
    assert written(chat_ask(reasoning_effort="xhigh"), known)["reasoning"]["effort"] == "xhigh"
    assert written(chat_ask(), known)["include"] == ["reasoning.encrypted_content"]
    without = written(chat_ask(reasoning_effort="none"), known)
    assert (without["reasoning"], "include" in without) == ({"effort": "none"}, False)


def signed(signature: str) -> Ask:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": signature},
        {"type": "redacted_thinking", "data": signature},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
    ]
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42", "is_error": True}]},
    ]
    body = {"model": "auto", "max_tokens": 99, "messages": messages}
    return Ask(Format.ANTHROPIC_MESSAGES, "auto", True, body, {}, read().prompt)


def test_reasoning_goes_back_to_its_realm_only():
    made = written(signed(f"w1.{REALM}.gAAAA"))
    assert made["input"][1:3] == [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gAAAA"},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"},
    ]
    assert made["input"][-1]["output"] == "Error: 42"
    for other in ("w1.ffffffff.gAAAA", "of-claude"):
        dropped: list[str] = []
        made = written(signed(other), dropped=dropped)
        assert [item["type"] for item in made["input"]] == ["message", "function_call", "function_call_output"]
        assert dropped == ["reasoning", "reasoning"]


def test_reasoning_in_plain_text_goes_back_as_content():
    made = written(signed(f"w1.{REALM}.reasoning_text"))
    assert made["input"][1]["content"] == [{"type": "reasoning_text", "text": "hm"}]


def test_reasoning_that_led_to_nothing_is_left_out():
    detail = {"type": "reasoning.text", "text": "hm", "signature": f"w1.{REALM}.x"}
    said = {"role": "assistant", "content": "", "reasoning_details": [detail]}
    dropped: list[str] = []
    made = written(chat_ask(messages=[said, {"role": "user", "content": "Hi"}]), dropped=dropped)
    assert [item["type"] for item in made["input"]] == ["message"]
    assert dropped == ["reasoning"]


# ---- read ----


def test_a_request_is_measured():
    ask = read(
        instructions="Be brief",
        input=[
            user({"type": "input_text", "text": "Look"}, {"type": "input_image", "image_url": "u"}),
            user({"type": "input_file", "file_data": "d"}),
            CALL,
            OUTPUT,
        ],
        tools=[FUNCTION],
        text={"format": {"type": "json_schema", "name": "n", "schema": {}}},
        reasoning={"effort": "high"},
        max_output_tokens=9,
        stream=True,
    )
    prompt = ask.prompt
    assert [(turn.role, turn.text) for turn in prompt.turns] == [
        *(("system", "Be brief"), ("user", "Look"), ("user", ""), ("assistant", "{}"), ("tool", "42")),
    ]
    assert (prompt.images, prompt.documents, prompt.tool_results, prompt.tools) == (1, 1, 1, 1)
    assert (prompt.max_output, ask.stream) == (9, True)
    assert prompt.needs == {
        *(Capability.TOOLS, Capability.VISION, Capability.DOCUMENTS, Capability.JSON_SCHEMA, Capability.REASONING)
    }


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"input": [{"id": 7}]}, "input[0].id"),
        ({"model": 7}, "model"),
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"conversation": {"id": "c"}}, "conversation"),
        ({"background": "yes"}, "background"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_request_that_cannot_be_served_says_why(body, param):
    with pytest.raises(BadRequest) as raised:
        read(**body)
    assert raised.value.param == param


def test_what_a_request_uses_and_leaves_is_read():
    assert read().state == State()
    assert not read(store=False).state.stores
    assert read(previous_response_id="resp_1", input=None).state.previous == "resp_1"
    assert read(background=True).state.background
    assert not read(background=True).streamable
    given = [{"type": "item_reference", "id": "a"}, {"id": "b"}, {"type": "image_generation_call", "id": "c"}, HI]
    given.append({"type": "image_generation_call", "id": "d", "result": "iVBO"})
    references = (("input[0].id", "a"), ("input[1].id", "b"), ("input[2].id", "c"))
    assert read(input=given).state.references == references


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        (b'{"store": false, "input": "x"}', False),
        (b'{"store": true}', True),
        (b"{}", True),
        (b"[", True),
        (b'{"store": false, "previous_response_id": null}', True),
        (b'{"store": false, "input": [{"type": "item_reference"}]}', True),
        (b'{"store": false, "background": false}', True),
        (b'{"store": false, "input": [{"type": "reasoning", "id": "rs_w1"}]}', True),
    ],
)
def test_a_sidecar_sees_what_may_need_state(body, needs):
    assert request.needs_state(body) is needs


def test_the_model_may_be_left_out():
    body = b'{"input":"Hi","stream":true}'
    found = look_unnamed(body)
    assert (found.model, found.stream, request.read(body, {}).model) == ("", True, "")
    for wrong in (b'{"model":7}', b'{"model":""}', b"[", b"[]"):
        with pytest.raises(BadRequest):
            look_unnamed(wrong)


# ---- anything at all ----

KEYS = [
    "type", "role", "content", "text", "input", "output", "call_id", "id", "name", "arguments", "summary", "tools",
    "encrypted_content", "image_url", "file_data", "filename", "file_id", "instructions", "tool_choice", "reasoning",
    "effort", "format", "schema", "strict", "parameters", "syntax", "definition", "stream", "model", "metadata",
    "max_output_tokens", "include", "store", "refusal", "phase", "detail", "annotations", "mode", "verbosity",
]  # fmt: skip
VALUES = [
    "message", "user", "assistant", "system", "developer", "input_text", "output_text", "refusal", "input_image",
    "input_file", "reasoning", "function_call", "function_call_output", "custom_tool_call",
    "custom_tool_call_output", "function", "custom", "grammar", "lark", "auto", "required",
    "allowed_tools", "json_schema",
    "data:image/png;base64,A", "item_reference", "web_search_call", "high", "w1.00000000.x",
    "call__w1_0a1b2c3d_YQ", "\ud800",
]  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
anything = st.recursive(
    scalars | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)
any_item = st.dictionaries(st.sampled_from(KEYS), anything, max_size=7)
any_body = st.builds(
    lambda body, items: {**body, "input": items},
    st.dictionaries(st.sampled_from(KEYS), anything, max_size=6),
    st.lists(any_item, max_size=4) | anything,
)


@settings(max_examples=400, deadline=None)
@given(any_body)
def test_any_body_gives_a_request_or_says_why_not(body: Any) -> None:
    raw = json.dumps(body).encode()
    before = json.dumps(body)
    with contextlib.suppress(BadRequest):
        ask = request.read(raw, {})
        for to in FORMATS:
            with contextlib.suppress(BadRequest):
                made = record_of(to).write(understand(Checked(ask.body), ask.model), Target(REALM))
                assert made.get("messages") or made.get("input")
    assert json.dumps(body) == before
