"""Real clients for embeddings work through a router, and get the vectors that the upstream itself gives them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from clients import installed
from clients.embed import CLIENTS
from support.stand import KEY, stand
from weir_cli.sim import SimModel
from weir_router.contract import Route, TierRef, When

MODEL = "text-embedding-3-small"
ROUTE = Route(name="vectors", tiers=(TierRef(tier="llm/t0"),), when=When(operations=frozenset({"Embeddings"})))


async def vectors(client: str, url: str, model: str) -> list[list[float]]:
    python, *_ = installed.python()
    job = json.dumps({"url": url, "key": KEY, "model": model})
    program = str(Path(__file__).with_name("embed.py"))
    process = await asyncio.create_subprocess_exec(
        python, program, client, job, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    found: list[Any] = json.loads(out)
    return found


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_vectors_are_those_of_the_upstream(client: str) -> None:
    changes = {MODEL: {"endpoints": ("Embeddings",)}}
    async with stand([SimModel(MODEL, dimensions=64)], changes=changes, routes=(ROUTE,)) as s:
        direct = await vectors(client, s.sim.url, MODEL)
        routed = await vectors(client, s.url, "auto")
        assert routed == direct
        assert [len(it) for it in routed] == [64, 64, 64]
        assert {line["outcome"] for line in s.log.lines} == {"ok"}
