"""Anthropic Messages as callers send them; test_openai_requests has the tests common to both formats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from weir_router.contract import Capability
from weir_router.dialects.anthropic import request as anthropic
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.errors import BadRequest
from weir_router.estimate.prompt import Turn

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}


def ask(headers: dict[str, str] | None = None, **fields: Any) -> Ask:
    body = {"model": "auto", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}], **fields}
    return anthropic.read(json.dumps(body).encode(), headers or {})


def user(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


def test_the_least_request() -> None:
    found = ask()
    assert (found.format, found.stream, found.include_usage, found.streamable) == (
        Format.ANTHROPIC_MESSAGES,
        False,
        True,
        True,
    )
    assert found.prompt.turns == (Turn("user", "Hello"),)
    assert found.prompt.max_output == 64


@pytest.mark.parametrize(
    "system", ["Be brief.", [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]]
)
def test_the_system_prompt_comes_first(system: Any) -> None:
    assert ask(system=system).prompt.turns == (Turn("system", "Be brief."), Turn("user", "Hello"))


def test_a_tool_result_is_a_turn_of_its_own() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "42"}, IMAGE]}
    prompt = ask(messages=user(result, {"type": "text", "text": "So?"})).prompt
    assert prompt.turns == (Turn("user", "So?"), Turn("tool", "42"))
    assert (prompt.tool_results, prompt.images) == (1, 1)


def test_a_result_without_text_beside_it_is_one_turn() -> None:
    prompt = ask(messages=user({"type": "tool_result", "tool_use_id": "t", "content": "42"})).prompt
    assert prompt.turns == (Turn("tool", "42"),)


@pytest.mark.parametrize(
    ("fields", "need"),
    [
        ({"tools": [{"name": "f", "input_schema": {}}]}, Capability.TOOLS),
        ({"messages": user(IMAGE)}, Capability.VISION),
        ({"messages": user({"type": "document", "source": {}})}, Capability.DOCUMENTS),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Capability.REASONING),
        ({"output_format": {"type": "json_schema", "schema": {}}}, Capability.JSON_SCHEMA),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, Capability.JSON_SCHEMA),
    ],
)
def test_what_a_request_needs(fields: dict[str, Any], need: Capability) -> None:
    assert ask(**fields).prompt.needs == {need}


@pytest.mark.parametrize("thinking", [{"type": "disabled"}, {"type": "adaptive"}, None])
def test_reasoning_is_needed_only_where_demanded(thinking: Any) -> None:
    assert ask(thinking=thinking).prompt.needs == frozenset()


def test_version_and_betas_are_passed_on_and_credentials_are_not() -> None:
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b", "x-api-key": "weir_x", "authorization": "x"}
    assert ask(headers).headers == {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"system": 5}, "system"),
        ({"system": ["x"]}, "system[0]"),
        ({"messages": user({"type": "tool_result", "content": 5})}, "messages[0].content[0].content"),
        ({"thinking": "enabled"}, "thinking"),
        ({"tools": "f"}, "tools"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ask(**fields)
    assert caught.value.param == param
    assert param in caught.value.message
