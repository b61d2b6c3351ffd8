"""Requests of clients that cannot run in a test work on a strict model of each format, as their pages say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from clients.script import FINAL, Turn
from clients.stage import ANTHROPIC, OPENAI, RESPONSES, stage
from clients.test_pages import RUN
from weir_cli.connect.clients import Client

REPLAYED: Any = yaml.safe_load(Path(__file__).with_name("replayed.yaml").read_text())
"""Requests of each client, by its name and theirs."""


def said(stream: bool, text: str) -> str:
    """The content of an answer, which is whole."""
    if not stream:
        return str(json.loads(text)["choices"][0]["message"]["content"])
    *events, end = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert end == "[DONE]"
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    assert choices[-1]["finish_reason"] == "stop"
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_each_client_is_run_or_replayed() -> None:
    assert set(Client) - set(RUN) <= REPLAYED.keys()


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, RESPONSES])
async def test_requests_of_clients_are_answered(model: str, tmp_path: Path) -> None:
    async with (
        stage(tmp_path, lambda _: Turn("", FINAL, ()), history=False) as s,
        aiohttp.ClientSession(s.url) as session,
    ):
        for client in set(REPLAYED) - {"common"}:
            for name, request in REPLAYED[client].items():
                body = {"model": model, **request["body"]}
                async with session.post("/v1/chat/completions", json=body, headers=request["headers"]) as answer:
                    text = await answer.text()
                assert (answer.status, s.faults) == (200, []), (client, name, text)
                assert said(body["stream"], text) == FINAL, (client, name)
