"""A request of Anthropic's own format fits the Claude model that gets it, by what the catalogue says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.pairings import pairing_at
from weir_router.contract import Backend, Capability, Dialect, Thinking, Traits
from weir_router.dialects.axes import Format
from weir_router.dialects.registry import record_of

NEW = Traits(thinking=Thinking.ADAPTIVE, efforts=("low", "medium", "high", "max"), no_prefill=True)
OLD = Traits(thinking=Thinking.BUDGET, one_sampling=True)
BUDGET = {"type": "enabled", "budget_tokens": 10_000}


def sent(
    format: Format, traits: Traits, capabilities: Any = None, **body: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    provider = Dialect.ANTHROPIC if format is Format.ANTHROPIC_MESSAGES else Dialect.OPENAI
    base = {"model": "auto", "max_tokens": 9_000, "messages": [{"role": "user", "content": "Hi"}]}
    record = record_of(format)
    ask = record.read(json.dumps({**base, **body}).encode(), {})
    model: Any = {"model": "m", "traits": traits, "capabilities": capabilities}
    backend = Backend(name="b", provider=provider, base_url="https://api.anthropic.com", **model)
    outgoing = record.prepare(ask, backend, pairing_at(format, provider), None, stream=False)
    return json.loads(outgoing.body), outgoing.dropped


def claude(traits: Traits, **body: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    return sent(Format.ANTHROPIC_MESSAGES, traits, **body)


def test_a_budget_becomes_an_effort_for_models_that_think_as_they_see_fit():
    fields, dropped = claude(NEW, thinking=BUDGET)
    assert (fields["thinking"]["type"], fields["output_config"], dropped) == (
        "adaptive",
        {"effort": "medium"},
        ("budget_tokens",),
    )
    assert claude(NEW, thinking=BUDGET, output_config={"effort": "max"})[0]["output_config"] == {"effort": "max"}
    assert "thinking" not in claude(NEW, thinking={"type": "disabled"})[0]
    adaptive = {"type": "adaptive"}
    assert claude(NEW, thinking=adaptive) == ({**claude(NEW)[0], "thinking": adaptive}, ())


def test_adaptive_thinking_becomes_a_budget_for_models_that_know_nothing_else():
    fields, dropped = claude(OLD, thinking={"type": "adaptive"}, output_config={"effort": "low"})
    assert (fields["thinking"], dropped) == ({"type": "enabled", "budget_tokens": 2048}, ("effort",))
    assert "output_config" not in fields
    assert claude(OLD, thinking={"type": "adaptive"})[0]["thinking"]["budget_tokens"] == 4_500
    fields, dropped = claude(OLD, thinking={"type": "adaptive"}, max_tokens=100)
    assert ("thinking" in fields, dropped) == (False, ("thinking",))


def test_a_prefill_and_a_pair_are_for_models_that_take_them():
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "The"}]
    fields, dropped = claude(NEW, messages=turns)
    assert ([turn["role"] for turn in fields["messages"]], dropped) == (["user", "assistant", "user"], ("prefill",))
    assert claude(OLD, messages=turns)[0]["messages"] == turns
    fields, dropped = claude(OLD, temperature=0.5, top_p=0.5)
    assert (fields["temperature"], "top_p" in fields, dropped) == (0.5, False, ("top_p",))


def test_an_unknown_model_gets_the_request_as_it_was():
    odd = {"thinking": BUDGET, "temperature": 0.5, "top_p": 0.5, "messages": [{"role": "assistant", "content": "x"}]}
    fields, dropped = claude(Traits(), **odd)
    assert ({name: fields[name] for name in odd}, dropped) == (odd, ())


@pytest.mark.parametrize(("asked", "known"), [("minimal", "low"), ("max", "xhigh"), ("low", "low"), ("none", "none")])
def test_an_openai_model_gets_an_effort_that_it_knows(asked, known):
    traits = Traits(efforts=("low", "medium", "high", "xhigh"))
    assert sent(Format.OPENAI_CHAT, traits, reasoning_effort=asked)[0]["reasoning_effort"] == known
    assert sent(Format.OPENAI_CHAT, Traits(), reasoning_effort=asked)[0]["reasoning_effort"] == asked


NO_THOUGHT = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA})


def test_a_model_without_thought_is_not_asked_for_it():
    fields, dropped = sent(Format.OPENAI_CHAT, Traits(), NO_THOUGHT, reasoning_effort="high")
    assert ("reasoning_effort" in fields, dropped) == (False, ("reasoning_effort",))
    shape = {"type": "json_schema", "schema": {"type": "object"}}
    asked = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high", "format": shape}}
    fields, dropped = sent(Format.ANTHROPIC_MESSAGES, Traits(), NO_THOUGHT, **asked)
    assert ("thinking" in fields, fields["output_config"], dropped) == (
        False,
        {"format": shape},
        ("thinking", "effort"),
    )
    fields, dropped = sent(
        Format.ANTHROPIC_MESSAGES, Traits(), NO_THOUGHT, thinking=BUDGET, output_config={"effort": "low"}
    )
    assert ("output_config" in fields, set(dropped)) == (False, {"thinking", "effort"})
    thinker = frozenset({Capability.REASONING})
    assert sent(Format.OPENAI_CHAT, Traits(), thinker, reasoning_effort="high")[1] == ()
