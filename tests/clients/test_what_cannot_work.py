"""Requests of clients that cannot work on a model of another format: the error says the setting that works."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from clients import script
from clients.stage import ANTHROPIC, OPENAI, jobs, stage, work


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
async def test_the_ai_sdk_that_refers_to_stored_items_hears_what_to_set(model: str, tmp_path: Path) -> None:
    """The SDK sends the model's earlier words as `item_reference` if `store` is unset."""
    async with stage(tmp_path, partial(script.turn, turns=3)) as s:
        done = await work("ai-sdk-stored", jobs(s, model, 3)[::2])
    for outcome in done:
        assert "store: false" in outcome["error"], outcome
