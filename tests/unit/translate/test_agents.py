"""Conversations of agents: many turns with tools, on models that refuse what others take."""

from __future__ import annotations

import json
import re

import pytest
from msgspec.structs import replace

from support import translate
from weir_router.contract import Recall, Thinking, Traits
from weir_router.dialects.axes import Format
from weir_router.dialects.neutral.opaque import MAX_BLOB, tagged_id, untagged_id
from weir_router.dialects.neutral.target import Target
from weir_router.dialects.wire.outgoing import header_of, shown
from weir_router.estimate.prompt import Prompt, Turn

REALM, OTHER = "0a1b2c3d", "99999999"
LONG = "mcp__plugin_example-channel-strategist_example-analytics__get_video_enhanced_transcript"
ADAPTIVE = Traits(thinking=Thinking.ADAPTIVE, efforts=("low", "medium", "high", "max"), no_prefill=True)


def to_openai(ask, target=None, dropped=None):
    return translate.request(ask, Format.OPENAI_CHAT, target or Target(), dropped)


def to_anthropic(ask, target=None, dropped=None):
    return translate.request(ask, Format.ANTHROPIC_MESSAGES, target or Target(), dropped)


def user(*blocks):
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def use(call="call_a", name="date", **arguments):
    return {"type": "tool_use", "id": call, "name": name, "input": arguments}


def result(call="call_a", text="Monday"):
    return {"type": "tool_result", "tool_use_id": call, "content": text}


def call(identity, name="date", arguments="{}"):
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


# ---- names ----


def test_a_long_name_is_shortened_everywhere_and_the_same_in_every_turn(anthropic_ask):
    ask = anthropic_ask(
        tools=[{"name": LONG, "input_schema": {"type": "object"}}],
        tool_choice={"type": "tool", "name": LONG},
        messages=[user({"type": "text", "text": "Go"}), assistant(use(name=LONG)), user(result())],
    )
    out = to_openai(ask)
    short = out["tools"][0]["function"]["name"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", short)
    assert out["messages"][1]["tool_calls"][0]["function"]["name"] == short
    assert out["tool_choice"]["function"]["name"] == short
    later = anthropic_ask(tools=[{"name": name, "input_schema": {}} for name in ("a", LONG, LONG[:-1] + "x")])
    names = [tool["function"]["name"] for tool in to_openai(later)["tools"]]
    assert names[1] == short
    assert len(set(names)) == 3


def test_a_short_form_never_meets_another_tools_name(openai_ask):
    tools = lambda *names: [{"type": "function", "function": {"name": name}} for name in names]
    (first,) = to_anthropic(openai_ask(tools=tools(LONG)))["tools"]
    out = to_anthropic(openai_ask(tools=tools(LONG, first["name"], "get.weather", "get weather")))["tools"]
    assert len({tool["name"] for tool in out}) == 4
    assert out[1]["name"] == first["name"]


@pytest.mark.parametrize("name", [LONG, "get.weather"])
def test_the_caller_gets_the_whole_name_back(anthropic_ask, kit, name):
    ask = anthropic_ask(tools=[{"name": name, "input_schema": {}}])
    short = to_openai(ask)["tools"][0]["function"]["name"]
    message = {"role": "assistant", "content": None, "tool_calls": [call("c", short)]}
    whole = {"id": "x", "model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    out = translate.response(whole, Format.ANTHROPIC_MESSAGES, ask)
    assert out["content"][0]["name"] == name
    delta = {"tool_calls": [{"index": 0, **call("c", short)}]}
    chunks = [{"id": "x", "choices": [{"delta": delta}]}, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}]
    assert kit.read_by_anthropic(kit.rendered(ask, [*chunks, None]))["content"][0]["name"] == name


# ---- ids ----


def test_ids_that_come_again_become_unique_with_their_results(openai_ask, kit):
    turn = [
        {"role": "assistant", "content": None, "tool_calls": [call("call_0"), call("call_0", "time")]},
        {"role": "tool", "tool_call_id": "call_0", "content": "Monday"},
        {"role": "tool", "tool_call_id": "call_0", "content": "noon"},
    ]
    messages = kit.translated(openai_ask(messages=[{"role": "user", "content": "x"}, *turn, *turn]))["messages"]
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    made = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert len(set(made)) == 4
    answered = [(block["tool_use_id"], block["content"]) for block in blocks if block["type"] == "tool_result"]
    assert answered == list(zip(made, ["Monday", "noon"] * 2, strict=True))


@pytest.mark.parametrize("identity", ["x" * 300, "functions.date:0", ""])
def test_an_id_fits_every_format(anthropic_ask, identity):
    ask = anthropic_ask(
        messages=[user({"type": "text", "text": "x"}), assistant(use(identity)), user(result(identity))]
    )
    _, turn, answer = to_openai(ask)["messages"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", turn["tool_calls"][0]["id"])
    assert answer["tool_call_id"] == turn["tool_calls"][0]["id"]


# ---- thought ----


def thinking(signature):
    return {"type": "thinking", "thinking": "I need the date.", "signature": signature}


def loop(signature, identity="call_a"):
    """A conversation amid a tool loop, whose thought has this signature."""
    return [
        user({"type": "text", "text": "Which day is it?"}),
        assistant(thinking(signature), use(identity)),
        user(result(identity)),
    ]


@pytest.mark.parametrize(
    ("signature", "target", "expected"),
    [
        (f"w1.{REALM}.", Target(REALM), "I need the date."),
        (f"w1.{OTHER}.", Target(REALM), None),
        ("claudes-own", Target(REALM), None),
        ("claudes-own", Target(), None),
        ("claudes-own", Target(REALM, Traits(recall=Recall.TEXT)), "I need the date."),
        ("", Target(REALM, Traits(recall=Recall.TEXT)), "I need the date."),
    ],
)
def test_thought_goes_back_to_its_own_model_and_to_those_that_demand_it(anthropic_ask, signature, target, expected):
    dropped = []
    out = to_openai(anthropic_ask(messages=loop(signature)), target, dropped)
    assert out["messages"][1].get("reasoning_content") == expected
    assert dropped == ([] if expected else ["reasoning"])


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thought_comes_back_under_the_name_that_its_server_uses(anthropic_ask, kit, name):
    ask = anthropic_ask(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
    message = {"role": "assistant", "content": None, name: "Hm.", "tool_calls": [call("c")]}
    whole = {"id": "x", "model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    content = translate.response(whole, Format.ANTHROPIC_MESSAGES, ask, realm=REALM)["content"]
    delta = {name: "Hm.", "tool_calls": [{"index": 0, **call("c")}]}
    chunks = [{"id": "x", "choices": [{"delta": delta}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, None]
    assert kit.read_by_anthropic(kit.rendered(ask, chunks, realm=REALM))["content"] == content
    asked = anthropic_ask(messages=[user({"type": "text", "text": "x"}), assistant(*content), user(result("c"))])
    turn = to_openai(asked, Target(REALM))["messages"][1]
    assert {key: turn.get(key) for key in ("reasoning", "reasoning_content")} == {
        "reasoning": None,
        "reasoning_content": None,
        name: "Hm.",
    }
    demanding = to_openai(asked, Target(OTHER, Traits(recall=Recall.TEXT)))["messages"][1]
    assert demanding["reasoning_content"] == "Hm."


def test_a_model_that_demands_thought_gets_a_placeholder_for_that_of_another(anthropic_ask):
    asked = anthropic_ask(messages=[user({"type": "text", "text": "x"}), assistant(use()), user(result())])
    out = to_openai(asked, Target(REALM, Traits(recall=Recall.TEXT)))
    assert out["messages"][1]["reasoning_content"] == " "


def test_a_signature_of_gemini_travels_in_the_calls_id(anthropic_ask, kit):
    ask = anthropic_ask()
    signed = {**call("call_a"), "extra_content": {"google": {"thought_signature": "c2ln+/="}}}
    message = {"role": "assistant", "tool_calls": [signed, call("call_b")]}
    whole = {"id": "x", "model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    blocks = translate.response(whole, Format.ANTHROPIC_MESSAGES, ask, realm=REALM)["content"]
    ids = [block["id"] for block in blocks]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", identity) for identity in ids)
    delta = {"tool_calls": [{"index": at, **it} for at, it in enumerate(message["tool_calls"])]}
    chunks = [{"id": "x", "choices": [{"delta": delta}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, None]
    streamed = kit.read_by_anthropic(kit.rendered(ask, chunks, realm=REALM))
    assert [block["id"] for block in streamed["content"]] == ids
    asked = anthropic_ask(
        messages=[user({"type": "text", "text": "x"}), assistant(*blocks), user(*[result(it) for it in ids])]
    )
    _, turn, *answers = to_openai(asked, Target(REALM))["messages"]
    assert turn["tool_calls"] == [signed, call("call_b")]
    assert [it["tool_call_id"] for it in answers] == ["call_a", "call_b"]
    dropped = []
    _, turn, *answers = to_openai(asked, Target(OTHER), dropped)["messages"]
    assert (turn["tool_calls"], dropped) == ([call("call_a"), call("call_b")], ["reasoning"])
    gemini = Target(OTHER, Traits(recall=Recall.SIGNATURE))
    _, turn, *_ = to_openai(asked, gemini)["messages"]
    stand_in = {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert turn["tool_calls"] == [{**call("call_a"), "extra_content": stand_in}, call("call_b")]


def test_a_signature_that_is_too_long_for_an_id_is_left_out():
    assert tagged_id("call_a", REALM, "x" * (MAX_BLOB + 1)) == "call_a"
    assert untagged_id("call_a__w1_zzz") == ("call_a__w1_zzz", None)
    assert untagged_id(f"a__w1_{REALM}_{'x' * 5}") == (f"a__w1_{REALM}_xxxxx", None)


def test_thought_of_claude_comes_back_from_an_openai_client_that_keeps_it(openai_ask, kit):
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ"},
        {"type": "tool_use", "id": "call_a", "name": "date", "input": {}},
    ]
    answer = {"id": "msg", "model": "claude", "content": content, "stop_reason": "tool_use", "usage": {}}
    message = translate.response(answer, Format.OPENAI_CHAT, openai_ask())["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm."
    asked = openai_ask(
        reasoning_effort="high",
        messages=[
            {"role": "user", "content": "x"},
            message,
            {"role": "tool", "tool_call_id": "call_a", "content": "y"},
        ],
        tools=[{"type": "function", "function": {"name": "date"}}],
    )
    out = to_anthropic(asked)
    assert out["messages"][1]["content"] == content
    assert out["thinking"]["type"] == "enabled"  # amid tool calls, since the thought is there
    dropped = []
    out = to_anthropic(asked, Target(REALM), dropped)
    assert out["messages"][1]["content"] == content[2:]
    assert set(dropped) == {"reasoning", "reasoning_effort"}
    assert "thinking" not in out


def test_adaptive_models_get_the_effort_by_its_name(openai_ask):
    ask = lambda **more: openai_ask(**{"reasoning_effort": "high", **more})
    out = to_anthropic(ask(temperature=0.5), Target("", ADAPTIVE), dropped := [])
    assert (out["thinking"]["type"], out["output_config"]) == ("adaptive", {"effort": "high"})
    assert (dropped, "temperature" in out) == (["temperature"], False)
    assert to_anthropic(ask(reasoning_effort="minimal"), Target("", ADAPTIVE))["output_config"] == {"effort": "low"}
    assert to_anthropic(ask(reasoning_effort="xhigh"), Target("", ADAPTIVE))["output_config"] == {"effort": "max"}
    assert "thinking" not in to_anthropic(ask(reasoning_effort="none"), Target("", ADAPTIVE))
    amid = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call("c")]},
        {"role": "tool", "tool_call_id": "c", "content": "y"},
    ]
    assert to_anthropic(ask(messages=amid), Target("", ADAPTIVE))["thinking"]["type"] == "adaptive"
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    config = to_anthropic(ask(response_format=schema), Target("", ADAPTIVE))["output_config"]
    assert config.keys() == {"format", "effort"}


def test_openai_models_get_the_effort_that_they_know(anthropic_ask):
    known = Target("", Traits(efforts=("none", "low", "medium", "high", "xhigh")))
    ask = lambda effort: anthropic_ask(output_config={"effort": effort})
    assert to_openai(ask("max"), known)["reasoning_effort"] == "xhigh"
    assert to_openai(ask("max"))["reasoning_effort"] == "high"
    off = anthropic_ask(thinking={"type": "disabled"})
    assert to_openai(off, known)["reasoning_effort"] == "none"
    assert "reasoning_effort" not in to_openai(off)


# ---- limits of models ----


def test_a_prefill_becomes_a_users_turn_for_models_that_refuse_it(openai_ask):
    ask = openai_ask(messages=[{"role": "user", "content": "x"}, {"role": "assistant", "content": "The answer is "}])
    dropped = []
    turns = to_anthropic(ask, Target("", ADAPTIVE), dropped)["messages"]
    assert ([turn["role"] for turn in turns], dropped) == (["user", "assistant", "user"], ["prefill"])
    assert [turn["role"] for turn in to_anthropic(ask)["messages"]] == ["user", "assistant"]


def test_the_default_limit_of_an_answer_is_the_models_own(openai_ask):
    assert to_anthropic(openai_ask(), Target(output_tokens=64_000))["max_tokens"] == 64_000
    assert to_anthropic(openai_ask())["max_tokens"] == 8192
    out = to_anthropic(openai_ask(reasoning_effort="high"), Target(output_tokens=20_000))
    assert (out["max_tokens"], out["thinking"]["budget_tokens"]) == (20_000, 10_000)


def test_models_that_take_one_of_the_pair_get_the_temperature(openai_ask):
    dropped = []
    out = to_anthropic(openai_ask(temperature=0.7, top_p=0.9), Target("", Traits(one_sampling=True)), dropped)
    assert (out["temperature"], "top_p" in out, dropped) == (0.7, False, ["top_p"])
    assert to_anthropic(openai_ask(top_p=0.9), Target("", Traits(one_sampling=True)))["top_p"] == 0.9


def test_a_users_id_that_is_too_long_becomes_its_hash(anthropic_ask, openai_ask):
    long = "user_" + "f" * 300
    short = to_openai(anthropic_ask(metadata={"user_id": long}))["user"]
    assert re.fullmatch(r"[0-9a-f]{64}", short)
    assert to_anthropic(openai_ask(user=long))["metadata"] == {"user_id": short}
    assert to_openai(anthropic_ask(metadata={"user_id": "u"}))["user"] == "u"


def test_an_image_has_the_type_that_it_shows(openai_ask, anthropic_ask):
    shown = lambda url: to_anthropic(
        openai_ask(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    )["messages"][0]["content"][0]["source"]["media_type"]
    assert shown("data:image/jpeg;base64,iVBORw0KGgoAAAA") == "image/png"
    assert shown("data:image/jpg;base64,AAAA") == "image/jpeg"
    assert shown("data:application/octet-stream;base64,UklGRAAA") == "image/webp"


# ---- caches ----


def marks(out):
    found = [*out.get("tools", ()), *(out["system"] if isinstance(out.get("system"), list) else ())]
    found += [block for turn in out["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    return [block["cache_control"] for block in found if "cache_control" in block]


def test_marks_for_the_cache_reach_claude(openai_ask, kit):
    mark, hour = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    out = kit.translated(
        openai_ask(
            tools=[{"type": "function", "function": {"name": "f"}, "cache_control": hour}],
            messages=[
                {"role": "system", "content": [{"type": "text", "text": "long", "cache_control": mark}]},
                {"role": "user", "content": "Hello", "cache_control": mark},
                {"role": "assistant", "content": None, "tool_calls": [call("c")]},
                {"role": "tool", "tool_call_id": "c", "content": "x", "cache_control": mark},
            ],
        )
    )
    assert marks(out) == [hour, mark, mark, mark]


def test_only_as_many_marks_as_claude_takes(openai_ask):
    mark = {"cache_control": {"type": "ephemeral"}}
    parts = [{"type": "text", "text": str(number), **mark} for number in range(6)]
    dropped = []
    out = to_anthropic(openai_ask(messages=[{"role": "user", "content": parts}]), Target(), dropped)
    assert ["cache_control" in block for block in out["messages"][0]["content"]] == [False] * 2 + [True] * 4
    assert dropped == ["cache_control"] * 2


# ---- Anthropic's own tools ----


def test_what_is_left_of_anthropics_own_tools_is_text(anthropic_ask):
    found = {"type": "web_search_result", "title": "Weirs", "url": "https://w", "encrypted_content": "x"}
    ask = anthropic_ask(
        tools=[
            {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
            {"name": "f", "input_schema": {}, "defer_loading": True},
        ],
        messages=[
            user({"type": "text", "text": "x"}),
            assistant(
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                {"type": "web_search_tool_result", "tool_use_id": "s", "content": [found]},
                use("c", "f"),
            ),
            user({**result("c"), "content": [{"type": "tool_reference", "tool_name": "f"}]}),
        ],
    )
    dropped = []
    out = to_openai(ask, Target(), dropped)
    assert out["messages"][1]["content"] == "Weirs\nhttps://w"
    assert out["messages"][2]["content"] == "f"
    assert [tool["function"]["name"] for tool in out["tools"]] == ["f"]
    assert set(dropped) == {"server_tools", "tool_search", "defer_loading"}


def test_what_is_dropped_is_named_as_the_caller_calls_it(openai_ask, anthropic_ask):
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "high"}}
    messages = [{"role": "user", "name": "ann", "content": [image]}]
    dropped = []
    to_anthropic(
        openai_ask(seed=7, logit_bias={"1": 2}, brand_new=1, service_tier="flex", messages=messages), None, dropped
    )
    assert set(dropped) == {"seed", "logit_bias", "brand_new", "service_tier", "name", "detail"}
    dropped = []
    to_openai(anthropic_ask(top_k=3, brand_new=1, cache_control={"type": "ephemeral"}), None, dropped)
    assert set(dropped) == {"top_k", "brand_new", "cache_control"}


def test_the_header_of_dropped_fields_is_bounded_and_holds_no_odd_characters():
    assert header_of(shown(["seed", "seed", "a b\r\nset-cookie: x", "", "y" * 999])) == (
        f"seed, abset-cookiex, unnamed, {'y' * 64}"
    )
    long = header_of(shown(f"field_{number}" for number in range(999)))
    assert 490 < len(long) <= 512
    assert re.fullmatch(r"(field_\d+, )+\.\.\.", long)


# ---- schemas ----


def test_a_schema_for_structured_output_of_claude_has_only_what_it_takes(openai_ask):
    pet = {"type": ["object", "null"], "properties": {"name": {"type": "string", "maxLength": 20}}}
    schema = {
        "type": "object",
        "properties": {
            "default": {
                "type": "object",
                "properties": {"enum": {"type": "integer", "minimum": 0, "description": "Age"}},
            },
            "tags": {"type": "array", "items": {"type": "string", "format": "email"}, "minItems": 2},
            "pet": {"oneOf": [pet, {"$ref": "#/$defs/pet"}]},
        },
        "$defs": {"pet": pet},
        "required": ["tags"],
        "additionalProperties": True,
    }
    asked = openai_ask(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}})
    out = to_anthropic(asked)["output_config"]["format"]["schema"]
    closed_pet = {
        "type": ["object", "null"],
        "properties": {"name": {"type": "string", "description": "{maxLength: 20}"}},
        "additionalProperties": False,
    }
    age = {"type": "integer", "description": "Age\n\n{minimum: 0}"}
    assert out == {
        "type": "object",
        "properties": {
            "default": {"type": "object", "properties": {"enum": age}, "additionalProperties": False},
            "tags": {
                "type": "array",
                "items": {"type": "string", "format": "email"},
                "description": "{minItems: 2}",
            },
            "pet": {"anyOf": [closed_pet, {"$ref": "#/$defs/pet"}]},
        },
        "$defs": {"pet": closed_pet},
        "required": ["tags"],
        "additionalProperties": False,
    }
    assert json.loads(json.dumps(schema)) == schema


def test_alternatives_at_the_top_of_a_tools_schema_become_one_object(openai_ask):
    parameters = {
        "anyOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]},
        ]
    }
    (tool,) = to_anthropic(
        openai_ask(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    )["tools"]
    properties = {"a": {"type": "string"}, "b": {"type": "string"}}
    assert tool["input_schema"] == {"type": "object", "properties": properties}


def test_a_tools_schema_has_what_openai_demands(anthropic_ask):
    schema = {"type": "object", "properties": {"items": {"type": "array"}, "inner": {"type": "object"}}}
    (tool,) = to_openai(anthropic_ask(tools=[{"name": "f", "input_schema": schema}]))["tools"]
    inner = {"items": {"type": "array", "items": {}}, "inner": {"type": "object", "properties": {}}}
    assert tool["function"]["parameters"] == {"type": "object", "properties": inner}


# ---- answers ----


def test_arguments_that_come_as_an_object_are_not_lost(anthropic_ask, kit):
    given = call("c", "delete_file", {"path": "a.txt"})
    whole = {"id": "x", "choices": [{"message": {"tool_calls": [given]}, "finish_reason": "tool_calls"}]}
    assert translate.response(whole, Format.ANTHROPIC_MESSAGES, anthropic_ask())["content"][0]["input"] == {
        "path": "a.txt"
    }
    delta = {"tool_calls": [{"index": 0, **given}]}
    chunks = [{"id": "x", "choices": [{"delta": delta}]}, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}]
    streamed = kit.read_by_anthropic(kit.rendered(anthropic_ask(), [*chunks, None]))
    assert streamed["content"][0]["input"] == {"path": "a.txt"}


def test_the_start_of_a_stream_estimates_the_prompt(kit, anthropic_ask):
    ask = replace(anthropic_ask(), prompt=Prompt((Turn("user", "word " * 400),)))
    chunks = [{"id": "x", "choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}]
    start, *_, end, _ = kit.sent(kit.rendered(ask, [*chunks, {"choices": [], "usage": {"prompt_tokens": 555}}, None]))
    assert start["message"]["usage"]["input_tokens"] > 300
    assert end["usage"]["input_tokens"] == 555
