"""The load: an open loop of callers, and what each of them got. Used by `run`.

Requests start on time whether or not earlier ones have ended; a slow gateway is not spared. Callers do not retry.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

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
    """Address and credentials of the gateway, and the API that callers use."""

    url: str  # with the path, e.g. "http://127.0.0.1:8080/v1/responses"
    headers: Mapping[str, str] = {}
    model: str = "auto"
    api: str = "chat"


class Piece(NamedTuple):
    """The content of one event."""

    text: str = ""
    thought: bool = False  # a token of reasoning came
    finished: bool = False
    failed: bool = False


class Api(NamedTuple):
    """One API as its callers use it."""

    path: str
    body: Callable[[str], dict[str, Any]]  # of a prompt
    event: Callable[[dict[str, Any]], Piece]
    whole: Callable[[dict[str, Any]], Piece]
    streams: bool = True


def _chat_event(event: dict[str, Any]) -> Piece:
    choices = event.get("choices") or ()
    deltas = [choice.get("delta") or {} for choice in choices]
    return Piece(
        "".join([delta.get("content") or "" for delta in deltas]),
        any(delta.get("reasoning_content") for delta in deltas),
        any(choice.get("finish_reason") for choice in choices),
        "error" in event,
    )


def _chat_whole(answer: dict[str, Any]) -> Piece:
    choice = answer["choices"][0]
    return Piece(choice["message"]["content"] or "", finished=bool(choice.get("finish_reason")))


def _responses_event(event: dict[str, Any]) -> Piece:
    kind = event["type"]
    return Piece(
        event["delta"] if kind == "response.output_text.delta" else "",
        kind == "response.reasoning_summary_text.delta",
        kind == "response.completed",
        kind in ("response.failed", "error"),
    )


def _responses_whole(answer: dict[str, Any]) -> Piece:
    parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    return Piece("".join([part["text"] for part in parts]), finished=answer["status"] == "completed")


def _embeddings_whole(answer: dict[str, Any]) -> Piece:
    return Piece(EMBEDDED if len(answer["data"]) == 1 and answer["data"][0]["embedding"] else "", finished=True)


EMBEDDED = "a vector"
"""Stands for the text of an answer that is a vector."""

APIS = {
    "chat": Api("/v1/chat/completions", lambda it: {"messages": _turn(it)}, _chat_event, _chat_whole),
    "responses": Api("/v1/responses", lambda it: {"input": _turn(it)}, _responses_event, _responses_whole),
    "embeddings": Api("/v1/embeddings", lambda it: {"input": it}, _chat_event, _embeddings_whole, streams=False),
}
"""The APIs of rows, by name."""


def _turn(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


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
            call = Call(loop.time(), streamed=number % PLAIN_EVERY > 0 and APIS[service.api].streams)
            calls.append(call)
            group.create_task(_ask(session, service, call, _PROMPTS[number % len(_PROMPTS)], answer))
    return calls


async def _forget(work: Awaitable[None]) -> None:
    await work


async def _ask(session: aiohttp.ClientSession, service: Service, call: Call, prompt: str, answer: str) -> None:
    api = APIS[service.api]
    body = {"model": service.model, **({"stream": call.streamed} if api.streams else {}), **api.body(prompt)}
    now = asyncio.get_running_loop().time
    try:
        async with session.post(service.url, json=body, headers=dict(service.headers)) as response:
            call.status = response.status
            if response.status != 200:
                await response.read()
            elif call.streamed:
                call.got = await _stream(response, call, api, answer)
            else:
                call.got = _plain(await response.read(), api, answer)
                call.content = now() if call.got is Got.ANSWER and not api.streams else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        call.got = Got.ERROR if call.content is None else Got.BROKEN
    call.ended = now()


async def _stream(response: aiohttp.ClientResponse, call: Call, api: Api, answer: str) -> Got:
    text, finished, failed = "", False, False
    now = asyncio.get_running_loop().time
    last = 0.0
    async for line in response.content:
        if not line.startswith(b"data:") or line.startswith(b"data: [DONE]"):
            continue
        piece = api.event(json.loads(line[5:]))
        failed, finished = failed or piece.failed, finished or piece.finished
        text += piece.text
        if piece.text or piece.thought:
            at = now()
            if call.content is None:
                call.content = at
            else:
                call.gap = max(call.gap, at - last)
            last = at
    if failed:
        return Got.ERROR if call.content is None else Got.BROKEN
    return Got.ANSWER if finished and text == answer else Got.TRUNCATED


def _plain(body: bytes, api: Api, answer: str) -> Got:
    payload = json.loads(body)
    if payload.get("error"):
        return Got.TRUNCATED  # an error that says 200
    piece = api.whole(payload)
    return Got.ANSWER if piece.finished and piece.text == (answer if api.streams else EMBEDDED) else Got.TRUNCATED
