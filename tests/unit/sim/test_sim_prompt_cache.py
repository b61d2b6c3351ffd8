"""Prompt caches of simulated models: whose they are, what they hold, and for how long."""

from __future__ import annotations

from typing import Any

import aiohttp

from weir_cli.sim import SimModel, Simulator
from weir_cli.sim.prompt_cache import KEPT_SECONDS, PromptCache
from weir_router.contract import Dialect

LONG = "word " * 2_000  # 2,500 tokens: 19 steps of 128 and a rest


def turns(*texts: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]}


def test_a_prompt_is_cached_from_its_second_time_on_in_whole_steps() -> None:
    cache = PromptCache()
    assert [cache.read("a", turns(LONG), 0.0) for _ in range(2)] == [0, 19 * 128]
    assert cache.read("a", turns(LONG, "Yes.", "And now?"), 0.0) == 19 * 128


def test_only_the_same_beginning_counts() -> None:
    cache = PromptCache()
    cache.read("a", turns(LONG), 0.0)
    assert cache.read("a", turns("x" + LONG), 0.0) == 0
    assert cache.read("a", turns(LONG[:8_000] + "other" * 500), 0.0) == 15 * 128


def test_a_short_beginning_is_not_cached() -> None:
    cache = PromptCache()
    assert [cache.read("a", turns("x" * 4_080), 0.0) for _ in range(2)] == [0, 0]
    assert [cache.read("a", turns("x" * 4_100), 0.0) for _ in range(2)] == [0, 1_024]


def test_each_owner_has_a_cache_of_its_own() -> None:
    cache = PromptCache()
    cache.read("a", turns(LONG), 0.0)
    assert cache.read("b", turns(LONG), 0.0) == 0


def test_it_forgets_after_five_minutes_without_use() -> None:
    cache = PromptCache()
    times = [0.0, KEPT_SECONDS, 2 * KEPT_SECONDS, 3 * KEPT_SECONDS + 1]
    assert [cache.read("a", turns(LONG), at) > 0 for at in times] == [False, True, True, False]


def test_marks_that_clients_move_change_nothing() -> None:
    cache = PromptCache()
    marked = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
    cache.read("a", {"messages": [{"role": "user", "content": [marked]}]}, 0.0)
    plain = {"type": "text", "text": LONG}
    assert cache.read("a", {"messages": [{"role": "user", "content": [plain]}]}, 0.0) == 19 * 128


async def usage(sim: Simulator, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}
    if path == "/v1/chat/completions":
        del headers["anthropic-version"]
    async with aiohttp.ClientSession() as session, session.post(sim.url + path, json=body, headers=headers) as answer:
        whole = await answer.json()
        assert answer.status == 200, whole
        used: dict[str, Any] = whole["usage"]
        return used


async def test_the_usage_of_a_model_with_a_cache_says_what_was_read() -> None:
    claude = SimModel("c", dialect=Dialect.ANTHROPIC, prompt_cache=True)
    now = 0.0
    async with Simulator([SimModel("a", prompt_cache=True), SimModel("b"), claude], now=lambda: now) as sim:

        async def openai(model: str, key: str = "k") -> int:
            used = await usage(sim, "/v1/chat/completions", key, {"model": model, **turns(LONG)})
            return int(used["prompt_tokens_details"]["cached_tokens"])

        assert [await openai("a"), await openai("a"), await openai("a", "other")] == [0, 2_432, 0]
        assert [await openai("b"), await openai("b")] == [0, 0]
        now = KEPT_SECONDS + 1
        assert await openai("a") == 0

        async def anthropic(**part: Any) -> int:
            messages = [{"role": "user", "content": [{"type": "text", "text": LONG, **part}]}]
            used = await usage(sim, "/v1/messages", "k", {"model": "c", "max_tokens": 9, "messages": messages})
            assert used["input_tokens"] > 0
            return int(used["cache_read_input_tokens"])

        assert [await anthropic(), await anthropic()] == [0, 0]
        mark = {"cache_control": {"type": "ephemeral"}}
        assert [await anthropic(**mark), await anthropic(**mark)] == [0, 2_432]
