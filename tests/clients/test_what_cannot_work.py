"""Requests of clients that cannot work on a model of another format: the error says the setting that works."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clients import script
from clients.script import Turn
from clients.stage import ANTHROPIC, OPENAI, RESPONSES, jobs, stage, work


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
async def test_the_ai_sdk_that_refers_to_stored_items_hears_what_to_set(model: str, tmp_path: Path) -> None:
    """The SDK sends the model's earlier words as `item_reference` if `store` is unset."""
    async with stage(tmp_path, partial(script.turn, turns=3)) as s:
        done = await work("ai-sdk-stored", jobs(s, model, 3)[::2])
    for outcome in done:
        assert "store: false" in outcome["error"], outcome


HI = [{"role": "user", "content": "Hi"}]
REFUSED: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("/v1/responses", OPENAI, {"input": HI, "tools": [{"type": "web_search"}]}, 400, "web_search"),
    (
        "/v1/responses",
        OPENAI,
        {"input": HI, "tools": [{"type": "file_search", "vector_store_ids": ["v"]}]},
        400,
        "file_search",
    ),
    (
        "/v1/responses",
        ANTHROPIC,
        {"input": HI, "tools": [{"type": "mcp", "server_label": "s", "server_url": "https://s"}]},
        400,
        "mcp",
    ),
    (
        "/v1/responses",
        ANTHROPIC,
        {"input": HI, "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        400,
        "code_interpreter",
    ),
    ("/v1/responses", ANTHROPIC, {"input": HI, "previous_response_id": "resp_1"}, 400, "input"),
    ("/v1/responses", OPENAI, {"input": HI, "conversation": "conv_1"}, 400, "input"),
    ("/v1/chat/completions", ANTHROPIC, {"messages": HI, "n": 2}, 400, "leave n out"),
    ("/v1/chat/completions", ANTHROPIC, {"messages": HI, "logprobs": True}, 400, "logprobs"),
    (
        "/v1/messages",
        OPENAI,
        {"messages": HI, "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        400,
        "web_search",
    ),
    (
        "/v1/messages",
        RESPONSES,
        {"messages": HI, "mcp_servers": [{"type": "url", "url": "https://s", "name": "s"}]},
        400,
        "mcp_servers",
    ),
    ("/v1/messages/batches", OPENAI, {"requests": []}, 404, "batches"),
    ("/v1/files", OPENAI, {}, 404, "files"),
    ("/v1/vector_stores", OPENAI, {}, 404, "vector"),
]
"""Requests that pages of docs/clients name: path, model, body, status and a word of the error."""


async def test_the_rows_of_the_pages_that_say_what_does_not_work_are_true(tmp_path: Path) -> None:
    found = []
    async with (
        stage(tmp_path, lambda _: Turn("", "Fine.", ()), history=False) as s,
        aiohttp.ClientSession(s.url) as session,
    ):
        for path, model, body, _, _ in REFUSED:
            limit = {"max_tokens": 100} if path == "/v1/messages" else {}
            async with session.post(path, json={"model": model, **limit, **body}) as answer:
                found.append((answer.status, (await answer.json())["error"]["message"]))
    wrong = [
        (row, said) for row, said in zip(REFUSED, found, strict=True) if row[3] != said[0] or row[4] not in said[1]
    ]
    assert wrong == []
    assert s.requests == []
