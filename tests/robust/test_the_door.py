"""Checks of a request before its body is decoded, over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import io
import tracemalloc
from typing import Any

import aiohttp
import msgspec
import pytest

from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel
from weir_router.clock import ManualClock
from weir_router.contract import MAX_BODY_BYTES, Limit, Policy

NO_MESSAGES = b'{"model":"auto"}'
"""A body whose fault is found only by decoding it."""


async def ask(it: Stand, body: bytes, **headers: str) -> tuple[int, Any]:
    """Status, and the error's code and message."""
    sent = {"authorization": f"Bearer {KEY}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with (
        aiohttp.ClientSession(it.url) as session,
        session.post("/v1/chat/completions", data=io.BytesIO(body), headers=sent) as response,
    ):
        error = msgspec.json.decode(await response.read()).get("error", {})
        return response.status, (error.get("code"), error.get("message"))


def bomb(size: int) -> bytes:
    """`size` bytes of JSON that become thirty times as many in memory when they are decoded."""
    return b'{"model":"auto","messages":[{"role":"user","content":"Hi"}],"x":[' + b"{}," * (size // 3) + b"1]}"


@pytest.mark.parametrize(
    ("body", "policy", "status", "code"),
    [
        (NO_MESSAGES, {}, 400, "invalid_request"),
        (b'{"model":"other"}', {}, 404, "model_not_found"),
        (NO_MESSAGES, {"not_ready": "route all has no tier"}, 503, "policy_not_ready"),
        (NO_MESSAGES + b" " * 100, {"max_request_bytes": 100}, 413, "request_too_large"),
        (NO_MESSAGES, {"limits": Limit(key="team", requests_per_minute=0)}, 429, "rate_limited"),
        (NO_MESSAGES, {"limits": Limit(key="team", in_flight=0)}, 429, "rate_limited"),
        (b"{", {"limits": Limit(key="team", requests_per_minute=0)}, 400, "invalid_request"),
    ],
)
async def test_the_door_is_passed_before_the_body_is_decoded(
    body: bytes, policy: dict[str, Any], status: int, code: str
) -> None:
    async with stand([SimModel("m")], clock=ManualClock(), **policy) as it:
        found, error = await ask(it, body)
        assert (found, error[0]) == (status, code)
        assert await ask(it, gzip.compress(body), content_encoding="gzip") == (found, error)


async def test_a_body_is_decoded_only_when_there_is_room() -> None:
    slow = SimModel("m", ttft=60.0)
    async with stand([slow], max_in_flight=1) as it:
        good = b'{"model":"auto","messages":[{"role":"user","content":"Hi"}]}'
        first = asyncio.create_task(ask(it, good))
        while not it.router.room.taken:  # noqa: ASYNC110 - nobody else needs an event for it
            await asyncio.sleep(0)
        second = asyncio.create_task(ask(it, NO_MESSAGES))
        while not len(it.router.room.queue):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        first.cancel()
        assert (await second)[0] == 400


@pytest.mark.parametrize("packed", [False, True])
async def test_request_bytes_bound_what_a_body_costs(packed: bool) -> None:
    size = 3_000_000
    body, headers = bomb(size), {}
    async with stand([SimModel("m")], max_request_bytes=1024) as it:
        await ask(it, NO_MESSAGES)
        if packed:
            body, headers = gzip.compress(body), {"content_encoding": "gzip"}
        tracemalloc.start()
        try:
            status, (code, _) = await ask(it, body, **headers)
            assert tracemalloc.get_traced_memory()[1] < (size // 2 if packed else size * 6)
        finally:
            tracemalloc.stop()
        assert (status, code) == (413, "request_too_large")


async def test_a_caller_without_a_policy_unpacks_little() -> None:
    async with stand([SimModel("m")], callers=()) as it:
        assert (await ask(it, gzip.compress(NO_MESSAGES), content_encoding="gzip"))[0] == 404
        status, (code, message) = await ask(it, gzip.compress(bomb(100_000)), content_encoding="gzip")
        assert (status, code) == (413, "request_too_large")
        assert "65536 bytes unpacked" in message


async def test_of_many_models_some_are_listed() -> None:
    models = tuple(f"model-{number:03}" for number in range(64))
    async with stand([SimModel("m")], models=models) as it:
        status, (_, message) = await ask(it, b'{"model":"other","messages":[]}')
        assert status == 404
        assert "model-000, model-001," in message
        assert message.endswith("model-019 and 44 more, see GET /v1/models.")


def with_image(size: int) -> bytes:
    """A request of `size` bytes, nearly all of them an image."""
    head = b'{"model":"auto","messages":[{"role":"user","content":[{"type":"image_url","image_url":'
    head += b'{"url":"data:image/png;base64,'
    tail = b'"}}]}]}'
    return head + b"A" * (size - len(head) - len(tail)) + tail


@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_a_body_above_the_default_is_read_where_its_policy_accepts_it(coding: str) -> None:
    size = MAX_BODY_BYTES + 2 * 1024 * 1024
    body = with_image(size)
    sent = gzip.compress(body, 1) if coding else body
    headers = {"content_encoding": coding} if coding else {}
    async with stand([SimModel("m")], memory=1 << 30) as it:
        assert (await ask(it, sent, **headers))[0] == 413  # by default
        (policy,) = it.config.policies
        it.apply(msgspec.structs.replace(it.config, revision=2, policies=(wide(policy, size),)))
        assert (await ask(it, sent, **headers))[0] == 200
        (got,) = it.sim.requests("m")
        assert len(got.body) > MAX_BODY_BYTES
        it.apply(msgspec.structs.replace(it.config, revision=3, policies=(wide(policy, size - 1),)))
        assert (await ask(it, sent, **headers))[0] == 413


async def test_a_policy_that_says_nothing_keeps_the_default_beside_one_that_accepts_more() -> None:
    async with stand([SimModel("m")], memory=1 << 30) as it:
        (policy,) = it.config.policies
        other = msgspec.structs.replace(wide(policy, 2 * MAX_BODY_BYTES), name="other", models=("other",))
        it.apply(msgspec.structs.replace(it.config, revision=2, policies=(policy, other)))
        status, (code, message) = await ask(it, with_image(MAX_BODY_BYTES + 1))
        assert (status, code) == (413, "request_too_large")
        assert f"accepts {MAX_BODY_BYTES}" in message


async def test_the_memory_bounds_what_a_policy_accepts() -> None:
    async with stand([SimModel("m")], memory=64 << 20, max_request_bytes=4 * MAX_BODY_BYTES) as it:
        status, (code, message) = await ask(it, with_image(MAX_BODY_BYTES))
        assert (status, code) == (413, "request_too_large")
        assert "--memory" in message


def wide(policy: Policy, size: int) -> Policy:
    """The policy, accepting requests of `size` bytes."""
    return msgspec.structs.replace(policy, max_request_bytes=size)
