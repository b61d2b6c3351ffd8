"""Cached input tokens of agents behind a router with several backends, against those of one backend directly.

    python -m bench.sessions [--conversations 24] [--turns 20] [--backends 3]

Simulated models with prompt caches answer conversations that all go on at the same time, each in the form of an agent:
a system prompt, a question, and then tools and their results. Both formats are tried. Figures are in tokens and the
same on every machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import aiohttp

from weir_cli.sim import SimModel, Simulator
from weir_router.app import Router
from weir_router.contract import (
    Backend,
    CallerRule,
    CompiledConfig,
    Dialect,
    Policy,
    Price,
    Route,
    Secrets,
    Selection,
    Tier,
    TierRef,
)
from weir_router.contract.secrets import CallerKey
from weir_router.identify.keys import fingerprint

CONVERSATIONS, TURNS, BACKENDS = 24, 20, 3
"""Conversations at the same time, turns of each, and backends: two per tool call and one question in four."""

SYSTEM = "You are an agent that works on the code of a large repository, with care. " * 60
"""About 1,100 tokens: no more than the least that providers cache, so the history is what counts."""

TTFT = 0.05
"""Seconds to the first content: long beside the noise of a busy machine, which would look like sick backends."""

KEY = "weir_bench"
VERSION: dict[Dialect, dict[str, str]] = {Dialect.OPENAI: {}, Dialect.ANTHROPIC: {"anthropic-version": "2023-06-01"}}
PATHS = {Dialect.OPENAI: "/v1/chat/completions", Dialect.ANTHROPIC: "/v1/messages"}


class Cached(NamedTuple):
    """Input tokens of all requests, and those of them that came from a prompt cache."""

    tokens: int
    cached: int


async def direct(dialect: Dialect, conversations: int, turns: int) -> Cached:
    """All conversations with one backend, without a router."""
    async with Simulator(_models(dialect, 1)) as sim:
        return await _run(sim.url, dialect, "m0", conversations, turns)


async def routed(dialect: Dialect, conversations: int, turns: int, backends: int, selection: Selection) -> Cached:
    """The same through a router with several backends."""
    async with (
        Simulator(_models(dialect, backends)) as sim,
        Router(port=0, admin_port=0, rng=random.Random(1), grace=1.0) as router,
    ):
        config, secrets = _config(sim, dialect, backends, selection)
        router.store.apply(config, secrets)
        return await _run(router.url, dialect, "auto", conversations, turns)


def _models(dialect: Dialect, count: int) -> list[SimModel]:
    return [SimModel(f"m{number}", dialect=dialect, prompt_cache=True, ttft=TTFT) for number in range(count)]


def _config(sim: Simulator, dialect: Dialect, count: int, selection: Selection) -> tuple[CompiledConfig, Secrets]:
    base = sim.url + ("/v1" if dialect is Dialect.OPENAI else "")
    backends = [
        Backend(name=f"m{n}", provider=dialect, base_url=base, model=f"m{n}", price=Price(1.0, 2.0))
        for n in range(count)
    ]
    tier = Tier(namespace="llm", name="t", selection=selection, backends=tuple(backends))
    policy = Policy(
        namespace="team",
        name="p",
        models=("auto",),
        callers=(CallerRule(namespaces=frozenset({"team"})),),
        routes=(Route(name="all", tiers=(TierRef(tier="llm/t"),)),),
    )
    secrets = Secrets(caller_keys={fingerprint(KEY): CallerKey(namespace="team", name="bench")})
    return CompiledConfig(revision=1, tiers={"llm/t": tier}, policies=(policy,)), secrets


async def _run(url: str, dialect: Dialect, model: str, conversations: int, turns: int) -> Cached:
    async with aiohttp.ClientSession() as session:
        one = partial(_conversation, session, url + PATHS[dialect], dialect, model, turns=turns)
        found = await asyncio.gather(*(one(number) for number in range(conversations)))
    return Cached(sum(it.tokens for it in found), sum(it.cached for it in found))


async def _conversation(
    session: aiohttp.ClientSession, url: str, dialect: Dialect, model: str, number: int, turns: int
) -> Cached:
    """One agent's run. Its history grows by a call and a result, or by an answer and a question, with each turn."""
    words = random.Random(number)
    history: list[dict[str, Any]] = []
    tokens = cached = 0
    said: dict[str, Any] = {"role": "user", "content": f"Task {number}: {_prose(words, 80)}"}
    for turn in range(turns):
        history.append(said)
        headers = {"authorization": f"Bearer {KEY}", **VERSION[dialect]}
        async with session.post(url, json=_body(dialect, model, history), headers=headers) as answer:
            whole = await answer.json()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status}: {whole}")
        used = _used(whole["usage"])
        tokens, cached = tokens + used.tokens, cached + used.cached
        asks = turn % 4 == 3
        history.append(_assistant(dialect, turn, asks))
        said = _result(dialect, turn, _prose(words, 120), asks)
    return Cached(tokens, cached)


def _prose(words: random.Random, count: int) -> str:
    return " ".join(words.choices(("river", "gate", "error", "line", "test", "module", "weir", "field"), k=count))


def _body(dialect: Dialect, model: str, history: list[dict[str, Any]]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}}
    if dialect is Dialect.OPENAI:
        tools = [{"type": "function", "function": {"name": "read", "parameters": parameters}}]
        return {"model": model, "messages": [{"role": "system", "content": SYSTEM}, *history], "tools": tools}
    system = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]
    tools = [{"name": "read", "input_schema": parameters}]
    return {"model": model, "max_tokens": 256, "system": system, "messages": history, "tools": tools}


def _assistant(dialect: Dialect, turn: int, asks: bool) -> dict[str, Any]:
    if asks:
        return {"role": "assistant", "content": "That is done. What comes next?"}
    if dialect is Dialect.OPENAI:
        call = {"id": f"call_{turn}", "type": "function", "function": {"name": "read", "arguments": '{"path": "a"}'}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    return {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": f"toolu_{turn}", "name": "read", "input": {"path": "a"}}],
    }


def _result(dialect: Dialect, turn: int, text: str, asks: bool) -> dict[str, Any]:
    if asks:
        return {"role": "user", "content": text}
    if dialect is Dialect.OPENAI:
        return {"role": "tool", "tool_call_id": f"call_{turn}", "content": text}
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"toolu_{turn}", "content": text}]}


def _used(usage: Mapping[str, Any]) -> Cached:
    if "prompt_tokens" in usage:
        return Cached(usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"])
    read = usage["cache_read_input_tokens"]
    return Cached(usage["input_tokens"] + read + usage["cache_creation_input_tokens"], read)


async def _measure(conversations: int, turns: int, backends: int) -> None:
    print(f"{conversations} conversations of {turns} turns, {backends} backends; input tokens from prompt caches")
    for dialect in Dialect:
        alone = await direct(dialect, conversations, turns)
        print(f"{dialect.value}: one backend directly {alone.cached:,} of {alone.tokens:,}")
        for selection in Selection:
            found = await routed(dialect, conversations, turns, backends, selection)
            share = found.cached / alone.cached
            print(f"    through Weir, {selection.value}: {found.cached:,} of {found.tokens:,}, {share:.1%} of that")


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.sessions")
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--backends", type=int, default=BACKENDS)
    options = parser.parse_args()
    asyncio.run(_measure(options.conversations, options.turns, options.backends))


if __name__ == "__main__":
    main()
