"""Signatures of Anthropic-compatible servers carry their realm to the caller, and go back to that server only."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.pairings import pairing_at
from weir_router.contract import Backend, Dialect, Traits
from weir_router.dialects.axes import Format
from weir_router.dialects.neutral.target import realm_of
from weir_router.dialects.registry import host_of, record_of
from weir_router.dialects.wire import sse

anthropic = record_of(Format.ANTHROPIC_MESSAGES)
PAIRING = pairing_at(Format.ANTHROPIC_MESSAGES, Dialect.ANTHROPIC)
PLATFORMS = host_of(Dialect.ANTHROPIC).platforms
TEXT = {"type": "text", "text": "Hello"}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "x"}


def at(host: str, **more: Any) -> Backend:
    return Backend(name="b", provider=Dialect.ANTHROPIC, base_url=f"https://{host}", model="m", **more)


def thought(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "Hm.", "signature": signature}


def redacted(data: str) -> dict[str, Any]:
    return {"type": "redacted_thinking", "data": data}


def ask_of(*turns: Any, **more: Any) -> Any:
    messages = [{"role": "user", "content": "Hi"}, *turns]
    return anthropic.read(json.dumps({"model": "auto", "max_tokens": 9, "messages": messages, **more}).encode(), {})


def sent(ask: Any, backend: Backend) -> tuple[dict[str, Any], tuple[str, ...]]:
    outgoing = anthropic.prepare(ask, backend, PAIRING, None, stream=False)
    return json.loads(outgoing.body), outgoing.dropped


ONE, OTHER = at("one.example"), at("other.example")
REALM = realm_of(ONE, PLATFORMS)


def test_a_realm_is_a_server_and_its_model_and_claudes_platforms_are_none():
    assert len({realm_of(it, PLATFORMS) for it in (ONE, OTHER, at("one.example:8000"))}) == 3
    replicas = [at(host, endpoint=host) for host in ("10.0.0.1:80", "10.0.0.2:80")]
    assert len({realm_of(it, PLATFORMS) for it in replicas}) == 1
    for host in (
        "api.anthropic.com",
        "bedrock-mantle.eu-west-1.api.aws/anthropic",
        "r.services.ai.azure.com/anthropic",
    ):
        assert realm_of(at(host), PLATFORMS) == ""


def events(signature: str) -> list[dict[str, Any]]:
    deltas = [{"type": "thinking_delta", "thinking": "signature"}, {"type": "signature_delta", "signature": signature}]
    return [
        {"type": "content_block_start", "index": 0, "content_block": thought("")},
        *[{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": redacted(signature)},
    ]


def relayed(backend: Backend, signature: str) -> list[Any]:
    renderer = anthropic.renderer(ask_of(stream=True), PAIRING, backend)
    stream = b"".join(
        b"event: %b\ndata: %b\n\n" % (it["type"].encode(), json.dumps(it).encode()) for it in events(signature)
    )
    found, reader = b"", anthropic.reader()
    for event in sse.Splitter().feed(stream):
        payload = sse.decode(event)
        found += renderer.feed(event, payload, reader.read(payload or {}))
    return [sse.decode(event) for event in sse.Splitter().feed(found)]


def test_a_relayed_signature_is_marked():
    assert relayed(ONE, "c2ln") == events(f"w1.{REALM}.c2ln")
    assert relayed(at("api.anthropic.com"), "c2ln") == events("c2ln")


def test_a_whole_answer_is_marked_and_one_without_a_signature_stays_as_it_is():
    for blocks, marked in (([thought("c2ln"), TEXT], [thought(f"w1.{REALM}.c2ln"), TEXT]), ([TEXT], [TEXT])):
        answer = {"id": "m", "type": "message", "content": blocks, "stop_reason": "end_turn"}
        raw = json.dumps(answer).encode()
        shown = anthropic.render_whole(ask_of(), PAIRING, ONE, raw, answer)
        assert json.loads(shown)["content"] == marked
        assert (shown is raw) is (blocks == marked)
        assert anthropic.render_whole(ask_of(), PAIRING, at("api.anthropic.com"), raw, answer) is raw


@pytest.mark.parametrize(
    ("backend", "blocks", "expected", "dropped"),
    [
        (ONE, [thought(f"w1.{REALM}.c2ln"), TEXT], [thought("c2ln"), TEXT], ()),
        (OTHER, [thought(f"w1.{REALM}.c2ln"), TEXT], [TEXT], ("reasoning",)),
        (at("api.anthropic.com"), [thought(f"w1.{REALM}.c2ln"), TEXT], [TEXT], ("reasoning",)),
        (at("api.anthropic.com"), [thought("c2ln"), TEXT], [thought("c2ln"), TEXT], ()),
        (
            ONE,
            [{"type": "redacted_thinking", "data": f"w1.{REALM}.ZGF0"}, TEXT],
            [{"type": "redacted_thinking", "data": "ZGF0"}, TEXT],
            (),
        ),
        (ONE, [thought(f"w1.{REALM}."), TEXT], [TEXT], ("reasoning",)),
    ],
)
def test_a_signature_goes_back_to_its_own_server_only(backend, blocks, expected, dropped):
    ask = ask_of({"role": "assistant", "content": blocks}, {"role": "user", "content": "And?"})
    fields, lost = sent(ask, backend)
    assert (fields["messages"][1]["content"], lost) == (expected, dropped)


def test_without_the_thought_of_the_calls_that_are_answered_there_is_no_budget_for_more():
    loop = [{"role": "assistant", "content": [thought(f"w1.{REALM}.c2ln"), USE]}, {"role": "user", "content": [RESULT]}]
    budget = {"type": "enabled", "budget_tokens": 1024}
    fields, lost = sent(ask_of(*loop, thinking=budget), OTHER)
    assert ("thinking" in fields, lost) == (False, ("reasoning", "thinking"))
    assert "thinking" in sent(ask_of(*loop, thinking=budget), ONE)[0]
    assert "thinking" in sent(ask_of(*loop, thinking={"type": "adaptive"}), OTHER)[0]
    asked = ask_of(*loop, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}, thinking=budget)
    assert "thinking" in sent(asked, OTHER)[0]


@pytest.mark.parametrize("more", [{}, {"reasoning_effort": "high"}, {"reasoning_effort": "none"}])
def test_tools_that_exclude_reasoning_are_sent_without(more):
    openai = record_of(Format.OPENAI_CHAT)
    pairing = pairing_at(Format.OPENAI_CHAT, Dialect.OPENAI)
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}], **more}
    ask = openai.read(json.dumps(body).encode(), {})
    apart = Traits(tools_without_reasoning=True, efforts=("none", "low"))
    for traits, effort in ((apart, "none"), (Traits(), more.get("reasoning_effort"))):
        backend = Backend(name="b", provider=Dialect.OPENAI, base_url="https://x/v1", model="m", traits=traits)
        outgoing = openai.prepare(ask, backend, pairing, None, stream=False)
        assert json.loads(outgoing.body).get("reasoning_effort") == effort
        assert outgoing.dropped == (("reasoning_effort",) if effort != more.get("reasoning_effort", effort) else ())
