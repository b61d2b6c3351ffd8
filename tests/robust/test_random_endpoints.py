"""Thousands of broken requests to the endpoints beside conversations: 200 or a 4xx, and no bug of Weir."""

from __future__ import annotations

import asyncio
import io
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from robust.fuzz import seeds
from robust.mutations import broken, broken_text, odd
from robust.test_random_bodies import ANTHROPIC, RESPONSES, encode, error_in
from support.stand import KEY, Stand, backend, config_for, stand
from weir_cli.sim import SimModel
from weir_router.contract import Dialect, Endpoint, Operation, Route, TierRef, When

PER_BATCH = 40
AT_ONCE = 16
TYPES = ("application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=", "")

JSON: dict[str, list[dict[str, Any]]] = {
    "/v1/embeddings": [
        {"model": "auto", "input": ["one", "two"], "dimensions": 8, "encoding_format": "base64"},
        {"model": "auto", "input": [[1, 2], [3]]},
    ],
    "/v1/completions": [{"model": "auto", "prompt": "Hi", "stream": True}, {"model": "auto", "prompt": ["a", "b"]}],
    "/v1/moderations": [{"model": "auto", "input": [{"type": "text", "text": "Hi"}]}],
    "/v1/images/generations": [{"model": "auto", "prompt": "A dam", "n": 2, "size": "auto"}],
    "/v1/audio/speech": [{"model": "auto", "input": "Hi", "voice": "alloy", "response_format": "wav"}],
    "/v1/rerank": [{"model": "auto", "query": "a dam", "documents": ["a", {"text": "b"}], "top_n": 1}],
    "/v1/responses/input_tokens": RESPONSES,
    "/v1/messages/count_tokens": [{k: v for k, v in it.items() if k != "max_tokens"} for it in ANTHROPIC],
}
GOOD = [path for path in JSON if path != "/v1/embeddings"]
FORMS = ("/v1/images/edits", "/v1/images/variations", "/v1/audio/transcriptions", "/v1/audio/translations")
BOUNDARY = "----weir7"


@pytest.fixture
async def gateway() -> AsyncIterator[Stand]:
    """A stand whose model takes every operation."""
    async with stand([SimModel("sim")]) as it:
        every = tuple(endpoint.value for endpoint in Endpoint)
        model = backend(it.sim, it.sim.models[0], endpoints=every, formats=("Chat", "Responses"))
        tiers = (TierRef(tier="llm/t0"),)
        beyond = frozenset(Operation) - {Operation.CHAT, Operation.RESPONSES}
        routes = (Route(name="beyond", tiers=tiers, when=When(operations=beyond)), Route(name="talk", tiers=tiers))
        it.apply(config_for([[model]], routes=routes))
        yield it


def form_of(path: str, rng: random.Random) -> tuple[str, bytes]:
    """Content type and bytes of a form, broken at random."""
    field = "image" if "images" in path else "file"
    parts = [
        (f'name="{field}"; filename="a.wav"', rng.randbytes(rng.choice((0, 10, 3_000)))),
        ('name="model"', b"auto"),
        ('name="prompt"', b"a dam"),
        ('name="stream"', rng.choice((b"true", b"false"))),
    ]
    rng.shuffle(parts)
    if rng.random() < 0.3:
        parts.append(rng.choice(parts))
    if rng.random() < 0.3:
        parts.pop(rng.randrange(len(parts)))
    mark = b"--" + BOUNDARY.encode()
    body = b"".join(
        b"%b\r\ncontent-disposition: form-data; %b\r\n\r\n%b\r\n" % (mark, told.encode(), data) for told, data in parts
    )
    body += mark + b"--\r\n"
    for _ in range(rng.choice((0, 0, 1, 3))):
        at = rng.randrange(len(body))
        hole = rng.choice((0, 1, 8, 200))
        body = body[:at] + rng.choice((b"", b"\r\n", b'"', mark, mark + b"--", b"\x00", b"name=")) + body[at + hole :]
    kind = f"multipart/form-data; boundary={rng.choice((BOUNDARY, BOUNDARY, BOUNDARY, 'other', '', 'x' * 300))}"
    return (kind if rng.random() < 0.9 else rng.choice(TYPES)), body


def json_of(path: str, rng: random.Random) -> tuple[str, bytes]:
    """Content type and bytes of a body of JSON, broken at random."""
    valid, kind = rng.choice(JSON[path]), rng.random()
    content = TYPES[0] if rng.random() < 0.9 else rng.choice(TYPES)
    if kind < 0.75:
        changed = broken(valid, rng)
        if isinstance(changed, dict) and rng.random() < 0.9:
            changed["model"] = "auto"
        return content, encode(changed)
    if kind < 0.9:
        return content, broken_text(encode(valid).decode(), rng)
    return content, encode(odd(rng)) if kind < 0.95 else rng.randbytes(rng.choice((0, 1, 10, 1_000)))


async def check(session: aiohttp.ClientSession, seed: int) -> None:
    rng = random.Random(seed)
    path = rng.choice((*JSON, *FORMS))
    content, body = form_of(path, rng) if path in FORMS else json_of(path, rng)
    headers = {"authorization": f"Bearer {KEY}", "content-type": content}
    async with session.post(path, data=io.BytesIO(body), headers=headers) as response:
        status, answer = response.status, await response.read()
    told = f"seed {seed}: {path} ({content}): {status} {answer[:500]!r} for {body[:2_000]!r}"
    assert status == 200 or 400 <= status < 500, told
    if status != 200:
        dialect = Dialect.ANTHROPIC if "messages" in path else Dialect.OPENAI
        assert error_in(dialect, answer).get("code") != "internal_error", told


async def check_good(session: aiohttp.ClientSession, path: str) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    async with session.post(path, json=JSON[path][0], headers=headers) as response:
        assert response.status == 200, await response.read()


async def test_random_broken_requests_are_4xx_and_good_ones_are_served(
    gateway: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    gate, found = asyncio.Semaphore(AT_ONCE), list[str]()

    async def one(session: aiohttp.ClientSession, seed: int) -> None:
        async with gate:
            try:
                async with asyncio.timeout(30):
                    await check(session, seed)
            except (AssertionError, aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, KeyError) as error:
                found.append(f"seed {seed}: {type(error).__name__}: {error}")

    async with aiohttp.ClientSession(gateway.url) as session:
        for number, batch in enumerate(seeds(PER_BATCH)):
            await asyncio.gather(*(one(session, seed) for seed in batch))
            await check_good(session, GOOD[number % len(GOOD)])
    assert not found, "\n\n".join(found[:20]) + f"\n{len(found)} in all"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
