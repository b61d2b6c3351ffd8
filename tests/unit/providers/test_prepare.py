"""Upstream requests equal the caller's byte for byte, except for fields that Weir adds, renames, drops or clamps."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.pairings import pairing_at
from weir_router.contract import Backend, BackendLimits, Dialect, Extra, Parameters
from weir_router.dialects.anthropic.host import DEFAULT_VERSION
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.base import FormatRecord, Outgoing
from weir_router.dialects.registry import record_of
from weir_router.dialects.wire.fit import fit
from weir_router.errors import BadRequest
from weir_router.estimate.prompt import Prompt, Turn

openai, anthropic = record_of(Format.OPENAI_CHAT), record_of(Format.ANTHROPIC_MESSAGES)

HELLO = b'[ {"role":"user", "content":"Hi \\u00e9"} ]'


def prepare(record: FormatRecord, ask: Ask, backend: Backend, credential: str | None, **how: bool) -> Outgoing:
    provider = Dialect.OPENAI if record is openai else Dialect.ANTHROPIC
    return record.prepare(ask, backend, pairing_at(ask.format, provider), credential, **how)


def backend(dialect: Dialect = Dialect.OPENAI, **more: Any) -> Backend:
    return Backend(name="b", provider=dialect, base_url="http://127.0.0.1/v1", model="real-model", **more)


def openai_ask(more: bytes = b"", headers: dict[str, str] | None = None) -> Ask:
    return openai.read(b'{"model":"auto","messages":%b%b}' % (HELLO, more), headers or {})


def anthropic_ask(more: bytes = b"", headers: dict[str, str] | None = None) -> Ask:
    return anthropic.read(b'{"model":"auto","max_tokens":50,"messages":%b%b}' % (HELLO, more), headers or {})


def sent(outgoing: Outgoing) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(outgoing.body)
    return fields


def test_only_the_model_is_replaced() -> None:
    outgoing = prepare(openai, openai_ask(b',"new":{"a" : 1.00}'), backend(), "sk-1", stream=False)
    assert outgoing.body == b'{"model":"real-model","messages":%b,"new":{"a" : 1.00}}' % HELLO
    assert outgoing.added == frozenset()


def test_openai_path_and_headers() -> None:
    ask = openai_ask(headers={"authorization": "Bearer weir_caller", "openai-beta": "x"})
    outgoing = prepare(openai, ask, backend(), "sk-1", stream=False)
    assert outgoing.path == "/chat/completions"
    assert outgoing.headers == {"content-type": "application/json", "authorization": "Bearer sk-1", "openai-beta": "x"}


def test_anthropic_path_and_headers() -> None:
    outgoing = prepare(anthropic, anthropic_ask(headers={"x-api-key": "weir_caller"}), backend(), "sk-1", stream=False)
    assert outgoing.path == "/v1/messages"
    assert outgoing.headers == {
        "content-type": "application/json",
        "anthropic-version": DEFAULT_VERSION,
        "x-api-key": "sk-1",
    }


def test_the_callers_anthropic_version_wins() -> None:
    ask = anthropic_ask(headers={"anthropic-version": "2099-01-01", "anthropic-beta": "b"})
    headers = prepare(anthropic, ask, backend(), None, stream=False).headers
    assert (headers["anthropic-version"], headers["anthropic-beta"]) == ("2099-01-01", "b")


@pytest.mark.parametrize("provider", [openai, anthropic])
def test_without_a_credential_none_is_sent(provider: Any) -> None:
    ask = openai_ask() if provider is openai else anthropic_ask()
    assert not prepare(provider, ask, backend(), None, stream=False).headers.keys() & {"authorization", "x-api-key"}


def test_openai_stream_for_a_plain_caller() -> None:
    outgoing = prepare(openai, openai_ask(), backend(), None, stream=True)
    assert sent(outgoing)["stream"] is True
    assert sent(outgoing)["stream_options"] == {"include_usage": True}
    assert outgoing.added == {"stream", "stream_options"}


def test_openai_stream_options_of_the_caller_stay() -> None:
    ask = openai_ask(b',"stream":true,"stream_options":{"include_obfuscation":false}')
    outgoing = prepare(openai, ask, backend(), None, stream=True)
    assert sent(outgoing)["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert outgoing.added == {"stream_options"}


def test_openai_nothing_is_added_where_the_caller_asked_for_it() -> None:
    ask = openai_ask(b',"stream":true,"stream_options":{"include_usage":true}')
    assert prepare(openai, ask, backend(), None, stream=True).added == frozenset()


ADDED = frozenset({"stream", "stream_options"})


def test_openai_as_asked_adds_nothing() -> None:
    assert sent(prepare(openai, openai_ask(), backend(), None, stream=True, without=ADDED)).keys() == {
        "model",
        "messages",
    }
    streaming = prepare(openai, openai_ask(b',"stream":true'), backend(), None, stream=True, without=ADDED)
    assert sent(streaming).keys() == {"model", "messages", "stream"}
    assert streaming.added == frozenset()


def test_openai_stream_taken_back_takes_its_options_along() -> None:
    ask = openai_ask(b',"stream":true,"stream_options":{"include_usage":true}')
    fields = sent(prepare(openai, ask, backend(), None, stream=False))
    assert fields["stream"] is False
    assert "stream_options" not in fields


def test_anthropic_stream_for_a_plain_caller() -> None:
    outgoing = prepare(anthropic, anthropic_ask(), backend(), None, stream=True)
    assert sent(outgoing)["stream"] is True
    assert outgoing.added == {"stream"}
    as_asked = prepare(anthropic, anthropic_ask(), backend(), None, stream=True, without=ADDED)
    assert "stream" not in sent(as_asked)


def test_what_the_model_refuses_is_dropped_even_where_weir_added_it() -> None:
    drops = backend(parameters=Parameters(drop=("stream_options", "new")))
    outgoing = prepare(openai, openai_ask(b',"new":1'), drops, None, stream=True)
    assert sent(outgoing).keys() == {"model", "messages", "stream"}
    assert outgoing.added == {"stream"}


def test_translated_requests_carry_the_credential_of_their_upstream() -> None:
    outgoing = prepare(
        anthropic, openai_ask(headers={"openai-beta": "x"}), backend(Dialect.ANTHROPIC), "sk-1", stream=True
    )
    assert outgoing.headers["x-api-key"] == "sk-1"
    assert "openai-beta" not in outgoing.headers
    assert (sent(outgoing)["model"], sent(outgoing)["stream"]) == ("real-model", True)


def test_translated_requests_to_openai_ask_for_usage() -> None:
    outgoing = prepare(openai, anthropic_ask(b',"stream":true'), backend(), None, stream=True)
    assert sent(outgoing)["stream_options"] == {"include_usage": True}
    assert outgoing.added == {"stream_options"}


def test_a_request_too_deep_to_be_translated_is_the_callers_fault() -> None:
    deep = b',"tools":[{"type":"function","function":{"name":"f","parameters":%b{}%b}}]' % (b'{"a":' * 800, b"}" * 800)
    with pytest.raises(BadRequest):
        at_depth(300, lambda: prepare(anthropic, openai_ask(deep), backend(Dialect.ANTHROPIC), None, stream=False))


def at_depth(frames: int, act: Callable[[], object]) -> object:
    """Runs `act` deep in the stack: a request is handled at a greater depth than it is read."""
    return act() if frames == 0 else at_depth(frames - 1, act)


PROMPT = Prompt(turns=(Turn("user", "x" * 2984),), max_output=9000)  # 750 tokens by our count, so at most a thousand


def fitted(fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    fit(fields, backend(**more), PROMPT)
    return fields


def test_a_field_is_renamed() -> None:
    renames = Parameters(rename={"max_tokens": "max_completion_tokens"})
    assert fitted({"max_tokens": 5}, parameters=renames) == {"max_completion_tokens": 5}
    assert fitted({"max_tokens": 5, "max_completion_tokens": 6}, parameters=renames) == {"max_completion_tokens": 6}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_answer_is_clamped_to_what_the_model_can_write(name: str) -> None:
    assert fitted({name: 9000}, limits=BackendLimits(output_tokens=4096)) == {name: 4096}
    assert fitted({name: 100}, limits=BackendLimits(output_tokens=4096)) == {name: 100}


def test_the_answer_is_clamped_to_what_is_left_of_the_context() -> None:
    assert fitted({"max_tokens": 9000}, limits=BackendLimits(context_tokens=8000)) == {"max_tokens": 7000}


def test_a_prompt_that_fills_the_context_is_the_upstreams_to_refuse() -> None:
    assert fitted({"max_tokens": 9000}, limits=BackendLimits(context_tokens=1000)) == {"max_tokens": 9000}


@pytest.mark.parametrize("value", [None, "9000", 9e9, True, [9000]])
def test_what_is_no_number_is_left_to_the_upstream(value: Any) -> None:
    assert fitted({"max_tokens": value}, limits=BackendLimits(output_tokens=10)) == {"max_tokens": value}


def test_the_thinking_budget_stays_below_a_clamped_answer() -> None:
    fields = {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 8000}}
    found = fitted(fields, limits=BackendLimits(output_tokens=4096))
    assert found["thinking"] == {"type": "enabled", "budget_tokens": 2048}


def test_raw_values_are_clamped_too() -> None:
    limited = backend(Dialect.ANTHROPIC, limits=BackendLimits(output_tokens=10))
    assert sent(prepare(anthropic, anthropic_ask(), limited, None, stream=False))["max_tokens"] == 10


def conversation(*blocks: dict[str, Any]) -> Ask:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": list(blocks)}]
    turns.append({"role": "user", "content": "And?"})
    return anthropic.read(json.dumps({"model": "auto", "max_tokens": 9, "messages": turns}).encode(), {})


BORROWED = {"type": "thinking", "thinking": "hm", "signature": ""}
SIGNED = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
TEXT = {"type": "text", "text": "Hello"}


def test_thinking_that_another_dialects_model_did_is_not_sent_to_anthropic() -> None:
    """A caller's SDK sends back thinking that `translate` made; Anthropic refuses thinking that it did not sign."""
    ask = conversation(BORROWED, TEXT)
    outgoing = prepare(anthropic, ask, backend(Dialect.ANTHROPIC), None, stream=True)
    assert sent(outgoing)["messages"][1]["content"] == [TEXT]
    assert ask.body["messages"][1]["content"] == [BORROWED, TEXT]


def test_a_turn_of_nothing_but_borrowed_thinking_is_left_out() -> None:
    outgoing = prepare(anthropic, conversation(BORROWED), backend(Dialect.ANTHROPIC), None, stream=True)
    assert [turn["role"] for turn in sent(outgoing)["messages"]] == ["user", "user"]


def test_signed_thinking_goes_back_to_who_signed_it() -> None:
    outgoing = prepare(anthropic, conversation(SIGNED, TEXT), backend(Dialect.ANTHROPIC), None, stream=True)
    assert sent(outgoing)["messages"][1]["content"] == [SIGNED, TEXT]


def test_headers_and_query_of_a_backend() -> None:
    extra = Extra(headers={"http-referer": "https://a.example", "openai-beta": "y"}, query="api-version=1&a=b%20c")
    ask = openai_ask(headers={"openai-beta": "x"})
    outgoing = prepare(openai, ask, backend(extra=extra), "sk-1", stream=False)
    assert outgoing.path == "/chat/completions?api-version=1&a=b%20c"
    assert outgoing.headers == {
        "content-type": "application/json",
        "authorization": "Bearer sk-1",
        "http-referer": "https://a.example",
        "openai-beta": "y",
    }
    plain = prepare(openai, ask, backend(), "sk-1", stream=False)
    assert (plain.path, plain.headers["openai-beta"]) == ("/chat/completions", "x")  # what is kept was not changed


def test_betas_of_a_backend_are_added_to_the_callers() -> None:
    extra = Extra(headers={"anthropic-beta": "context-1m"})
    for callers, sent_on in (({}, "context-1m"), ({"anthropic-beta": "tools"}, "tools,context-1m")):
        outgoing = prepare(anthropic, anthropic_ask(headers=callers), backend(extra=extra), "sk-1", stream=False)
        assert outgoing.headers["anthropic-beta"] == sent_on
        assert outgoing.path == "/v1/messages"


@pytest.mark.parametrize("record", [openai, anthropic])
@pytest.mark.parametrize(("header", "value"), [("api-key", "sk-1"), ("authorization", "Bearer sk-1")])
def test_the_key_goes_into_the_header_that_the_backend_names(record: FormatRecord, header: str, value: str) -> None:
    ask = openai_ask() if record is openai else anthropic_ask()
    dialect = Dialect.OPENAI if record is openai else Dialect.ANTHROPIC
    outgoing = prepare(record, ask, backend(dialect, extra=Extra(key_header=header)), "sk-1", stream=False)
    assert {name: it for name, it in outgoing.headers.items() if "sk-1" in it} == {header: value}
    without = prepare(record, ask, backend(dialect, extra=Extra(key_header=header)), None, stream=False)
    assert header not in without.headers


@pytest.mark.parametrize("stream", [True, False])
def test_a_default_is_for_requests_that_lack_the_field(stream: bool) -> None:
    parameters = Parameters(
        defaults={"temperature": "0.2", "stop": '["END"]', "max_tokens": "99", "seed": "7"},
        rename={"max_tokens": "max_completion_tokens"},
        drop=("seed",),
    )
    fields = sent(prepare(openai, openai_ask(), backend(parameters=parameters), None, stream=stream))
    assert (fields["temperature"], fields["stop"], fields["max_completion_tokens"]) == (0.2, ["END"], 99)
    assert not fields.keys() & {"max_tokens", "seed"}
    asked = openai_ask(b',"temperature":0,"stop":null,"max_completion_tokens":5')
    fields = sent(prepare(openai, asked, backend(parameters=parameters), None, stream=stream))
    assert (fields["temperature"], fields["stop"], fields["max_completion_tokens"]) == (0, None, 5)


def test_a_default_stays_within_the_models_limit() -> None:
    many = backend(parameters=Parameters(defaults={"max_tokens": "900"}), limits=BackendLimits(output_tokens=100))
    assert sent(prepare(openai, openai_ask(), many, None, stream=False))["max_tokens"] == 100


def test_a_default_reaches_a_translated_request() -> None:
    cool = backend(Dialect.ANTHROPIC, parameters=Parameters(defaults={"top_k": "5"}))
    assert sent(prepare(anthropic, openai_ask(), cool, None, stream=False))["top_k"] == 5
