"""The load: an open loop of callers, and what each of them got. Used by `run`.

Requests start on time whether or not earlier ones have ended; a slow gateway is not spared. Callers do not retry.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

import aiohttp
import msgspec

GIVE_UP = 150.0  # seconds after which a caller that has heard nothing goes away
PLAIN_EVERY = 4  # each fourth caller asks for a plain answer

_PROMPTS = ("What is the capital of Portugal?", "Name three rivers.", "Say hello.", "What is 7 times 8?")


class Got(StrEnum):
    """Result of one call."""

    ANSWER = "answer"
    ERROR = "error"  # before any content: a status, or an error event
    BROKEN = "broken"  # after content: an error event, or HTTP itself broke off
    TRUNCATED = "truncated"  # ended like a success, and was none


class Call(msgspec.Struct):
    """One caller's story; times in seconds of the loop's clock."""

    started: float
    streamed: bool
    got: Got = Got.ERROR
    ended: float = 0.0
    content: float | None = None  # when the first came
    gap: float = 0.0  # longest between two contents
    status: int = 0


class Service(msgspec.Struct, frozen=True):
    """Address and credentials of the gateway."""

    url: str
    headers: Mapping[str, str] = {}
    model: str = "auto"


async def load(
    service: Service, answer: str, rate: float, seconds: float, begun: Callable[[float], Awaitable[None]]
) -> list[Call]:
    """Callers at `rate` a second for `seconds`, each to its end. `begun` is awaited with the moment of the first."""
    loop = asyncio.get_running_loop()
    calls: list[Call] = []
    timeout = aiohttp.ClientTimeout(total=GIVE_UP)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):
        start = loop.time()
        group.create_task(_forget(begun(start)))
        for number in range(int(rate * seconds)):
            if (wait := start + number / rate - loop.time()) > 0:
                await asyncio.sleep(wait)
            call = Call(loop.time(), streamed=number % PLAIN_EVERY > 0)
            calls.append(call)
            group.create_task(_ask(session, service, call, _PROMPTS[number % len(_PROMPTS)], answer))
    return calls


async def _forget(work: Awaitable[None]) -> None:
    await work


async def _ask(session: aiohttp.ClientSession, service: Service, call: Call, prompt: str, answer: str) -> None:
    body = {"model": service.model, "stream": call.streamed, "messages": [{"role": "user", "content": prompt}]}
    now = asyncio.get_running_loop().time
    try:
        async with session.post(service.url, json=body, headers=dict(service.headers)) as response:
            call.status = response.status
            if response.status != 200:
                await response.read()
            elif call.streamed:
                call.got = await _stream(response, call, answer)
            else:
                call.got = _plain(await response.read(), answer)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        call.got = Got.ERROR if call.content is None else Got.BROKEN
    call.ended = now()


async def _stream(response: aiohttp.ClientResponse, call: Call, answer: str) -> Got:
    text, finished, failed = "", False, False
    now = asyncio.get_running_loop().time
    last = 0.0
    async for line in response.content:
        if not line.startswith(b"data:") or line.startswith(b"data: [DONE]"):
            continue
        event = json.loads(line[5:])
        failed = failed or "error" in event
        for choice in event.get("choices") or ():
            finished = finished or bool(choice.get("finish_reason"))
            if piece := (choice.get("delta") or {}).get("content"):
                text += piece
                at = now()
                if call.content is None:
                    call.content = at
                else:
                    call.gap = max(call.gap, at - last)
                last = at
    if failed:
        return Got.ERROR if call.content is None else Got.BROKEN
    return Got.ANSWER if finished and text == answer else Got.TRUNCATED


def _plain(body: bytes, answer: str) -> Got:
    payload = json.loads(body)
    if "error" in payload:
        return Got.TRUNCATED  # an error that says 200
    choice = payload["choices"][0]
    whole = bool(choice.get("finish_reason")) and choice["message"]["content"] == answer
    return Got.ANSWER if whole else Got.TRUNCATED
