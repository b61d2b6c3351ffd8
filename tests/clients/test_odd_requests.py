"""Odd requests that applications really send, which a strict model of the other format takes after translation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from clients.script import Turn
from clients.stage import ADAPTIVE, ANTHROPIC, OPENAI, stage

BODIES: Any = yaml.safe_load(Path(__file__).with_name("odd_requests.yaml").read_text())
"""Bodies in each format, by their names."""


@pytest.mark.parametrize(
    ("path", "bodies", "model"),
    [
        ("/v1/chat/completions", BODIES["openai"], ANTHROPIC),
        ("/v1/chat/completions", BODIES["openai"], ADAPTIVE),
        ("/v1/messages", BODIES["anthropic"], OPENAI),
    ],
)
async def test_odd_requests_are_taken(path: str, bodies: dict[str, Any], model: str, tmp_path: Path) -> None:
    wrong = {}
    headers = {"anthropic-version": "2023-06-01"}
    async with (
        stage(tmp_path, lambda _: Turn("", "Fine.", ()), history=False) as s,
        aiohttp.ClientSession(headers=headers) as session,
    ):
        for name, body in bodies.items():
            limit = {"max_tokens": 4000} if path == "/v1/messages" else {}
            async with session.post(s.url + path, json={"model": model, **limit, **body}) as answer:
                said = await answer.text()
            if answer.status != 200 or s.faults:
                wrong[name] = (answer.status, said, *s.faults)
                s.faults.clear()
    assert wrong == {}
