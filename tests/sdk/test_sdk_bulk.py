"""Large and concurrent requests: a megabyte of Unicode both ways, and 64 requests at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sdk import clients
from support.stand import stand
from weir_cli.sim import SimModel
from weir_router.contract import Dialect, Transport

MEGABYTE = 'żółw🐢\x00\u200d𝕎eir"\\∀x∈ℝ:⌈x⌉\u2028\n' * 22_000
"""Text of a million bytes of UTF-8: characters of two to four bytes, control characters, Unicode line separators."""

assert len(MEGABYTE.encode()) > 1_000_000


@pytest.mark.parametrize("transport", Transport)
@pytest.mark.parametrize("upstream", Dialect)
async def test_a_megabyte_of_unicode_comes_back_unharmed(upstream: Dialect, transport: Transport) -> None:
    echo = SimModel("m", upstream, answer="{prompt}", context_tokens=10_000_000)
    asked: Any = [{"role": "user", "content": MEGABYTE}]
    changes = {"m": {"transport": transport}}
    async with (
        stand([echo], changes=changes) as s,
        clients.openai_client(s) as o,
        clients.anthropic_client(s) as a,
    ):
        plain = await o.chat.completions.create(model="auto", messages=asked, max_tokens=10_000_000)
        message = await a.messages.create(model="auto", messages=asked, max_tokens=10_000_000, timeout=60)
    assert plain.choices[0].message.content == MEGABYTE
    assert message.content[0].type == "text"
    assert message.content[0].text == MEGABYTE


@pytest.mark.parametrize("upstream", Dialect)
async def test_much_unicode_streams(upstream: Dialect) -> None:
    echo = SimModel("m", upstream, answer="{prompt}", context_tokens=10_000_000)
    text = MEGABYTE[: len(MEGABYTE) // 8]
    asked: Any = [{"role": "user", "content": text}]
    async with stand([echo]) as s, clients.openai_client(s) as weir:
        stream = await weir.chat.completions.create(model="auto", messages=asked, stream=True, max_tokens=10_000_000)
        got = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert got == text


async def test_64_at_once_each_get_their_own_answer() -> None:
    models = [SimModel("o", answer="{prompt}", ttft=0.05)], [SimModel("a", Dialect.ANTHROPIC, answer="{prompt}")]
    async with stand(*models) as s, clients.openai_client(s) as o, clients.anthropic_client(s) as a:

        async def one(number: int) -> str:
            asked: Any = [{"role": "user", "content": f"number {number}"}]
            if number % 3 == 0:
                stream = await o.chat.completions.create(model="auto", messages=asked, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            if number % 3 == 1:
                return str((await o.chat.completions.create(model="auto", messages=asked)).choices[0].message.content)
            block: Any = (await a.messages.create(model="auto", messages=asked, max_tokens=99)).content[0]
            return str(block.text)

        answers = await asyncio.gather(*(one(number) for number in range(64)))
        assert s.sim.stats["o"].requests == 64
    assert answers == [f"number {number}" for number in range(64)]
    assert len({line["id"] for line in s.log.lines}) == 64
