"""Agents on real clients work through a router: on a model of either format, plain and streamed, with thought or none.

The models refuse what the providers refuse, and notice each call or result that has changed on its way.
`WEIR_CLIENT_TURNS=20` makes the runs longer: `make full` does.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from clients import script
from clients.stage import ADAPTIVE, ANTHROPIC, OPENAI, RESPONSES, jobs, stage, work

TURNS = int(os.environ.get("WEIR_CLIENT_TURNS", "3"))

CLIENTS = (
    "openai",
    "openai-responses",
    "agents-sdk",
    "agents-sdk-chat",
    "anthropic",
    "langchain-openai",
    "langchain-responses",
    "langchain-anthropic",
    "pydantic-ai-openai",
    "pydantic-ai-responses",
    "pydantic-ai-anthropic",
    "openai-node",
    "openai-responses-node",
    "anthropic-node",
    "ai-sdk-openai",
    "ai-sdk-responses",
    "ai-sdk-openai-compatible",
    "ai-sdk-anthropic",
)


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, ADAPTIVE, RESPONSES])
@pytest.mark.parametrize("client", CLIENTS)
async def test_an_agent_calls_each_tool_once_and_ends(client: str, model: str, tmp_path: Path) -> None:
    async with stage(tmp_path, partial(script.turn, turns=TURNS)) as s:
        done = await work(client, jobs(s, model, TURNS))
    expected = [list(call) for call in script.all_calls(TURNS)]
    assert s.faults == []
    assert done == [{"calls": expected, "text": script.FINAL, "error": None}] * 4
