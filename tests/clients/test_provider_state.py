"""Clients that leave the conversation at the provider work on a backend of the Responses API, through sealed ids."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from clients import script
from clients.stage import RESPONSES, jobs, stage, work
from clients.test_agents import TURNS

CLIENTS = ("openai-stored", "langchain-stored", "pydantic-ai-stored", "agents-sdk-stored", "ai-sdk-stored")


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_agent_that_refers_to_earlier_answers_calls_each_tool_once(client: str, tmp_path: Path) -> None:
    async with stage(tmp_path, partial(script.turn, turns=TURNS)) as s:
        done = await work(client, jobs(s, RESPONSES, TURNS))
    expected = [list(call) for call in script.all_calls(TURNS)]
    assert s.faults == []
    assert done == [{"calls": expected, "text": script.FINAL, "error": None}] * 4
    referring = [it for it in s.requests if "previous_response_id" in it.body or "item_reference" in str(it.body)]
    assert len(referring) > 2 * TURNS
