"""Raw HTTP callers in both dialects, streamed and plain, and an open-loop load of them; used by `tests/faults`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from support.stand import KEY, Stand
from weir_router.contract import Dialect

SHAPES = [(Dialect.OPENAI, False), (Dialect.OPENAI, True), (Dialect.ANTHROPIC, False), (Dialect.ANTHROPIC, True)]
"""Shapes of requests with which every fault is tried: (dialect, stream)."""


@dataclass
class Answer:
    """The answer that one caller got."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    started: float = 0.0  # monotonic
    seconds: float = 0.0
    torn: bool = False  # HTTP itself broke off
    dialect: Dialect = Dialect.OPENAI
    stream: bool = False

    @property
    def events(self) -> list[Any]:
        """The payloads of a stream, in order; `[DONE]` as itself."""
        datas = [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]
        return [data if data == "[DONE]" else json.loads(data) for data in datas]

    @property
    def error(self) -> dict[str, Any] | None:
        """The error, from an HTTP answer or from the last event of a stream."""
        if self.status != 200:
            return json.loads(self.body)["error"]  # type: ignore[no-any-return]
        last = self.events[-1] if self.stream and self.events else None
        return last.get("error") if isinstance(last, dict) else None

    @property
    def text(self) -> str:
        """The answer's text."""
        if self.dialect is Dialect.OPENAI:
            if not self.stream:
                return json.loads(self.body)["choices"][0]["message"]["content"]  # type: ignore[no-any-return]
            choices = [c for e in self.events if isinstance(e, dict) for c in e.get("choices", ())]
            return "".join(choice["delta"].get("content") or "" for choice in choices)
        if not self.stream:
            return "".join(block["text"] for block in json.loads(self.body)["content"])
        return "".join(e["delta"].get("text", "") for e in self.events if e["type"] == "content_block_delta")

    @property
    def ended(self) -> bool:
        """Whether it has a stop reason and, streamed, the dialect's own end."""
        if self.status != 200 or self.torn or self.error is not None:
            return False
        if not self.stream:
            answer = json.loads(self.body)
            return bool(answer["stop_reason"] if "stop_reason" in answer else answer["choices"][0]["finish_reason"])
        if self.dialect is Dialect.ANTHROPIC:
            return bool(self.events) and self.events[-1]["type"] == "message_stop"
        finished = any(c.get("finish_reason") for e in self.events[:-1] for c in e.get("choices", ()))
        return finished and self.events[-1] == "[DONE]"


def request_for(
    dialect: Dialect, *, stream: bool, prompt: str = "Say hello.", **more: Any
) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Path, body and headers of a request."""
    body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": prompt}], **more}
    if dialect is Dialect.OPENAI:
        return "/v1/chat/completions", body, {"authorization": f"Bearer {KEY}"}
    return "/v1/messages", {"max_tokens": 100, **body}, {"x-api-key": KEY, "anthropic-version": "2023-06-01"}


async def ask(
    session: aiohttp.ClientSession, s: Stand, dialect: Dialect = Dialect.OPENAI, *, stream: bool = False, **more: Any
) -> Answer:
    """Sends one request, and reads the answer to its last byte."""
    path, body, headers = request_for(dialect, stream=stream, **more)
    answer = Answer(started=time.monotonic(), dialect=dialect, stream=stream)
    try:
        async with session.post(s.url + path, json=body, headers=headers) as response:
            answer.status = response.status
            answer.headers = {name.lower(): value for name, value in response.headers.items()}
            async for chunk in response.content.iter_any():
                answer.body += chunk
    except aiohttp.ClientError:
        answer.torn = True
    answer.seconds = time.monotonic() - answer.started
    return answer


async def one(s: Stand, dialect: Dialect = Dialect.OPENAI, *, stream: bool = False, **more: Any) -> Answer:
    """`ask` with a session of its own."""
    async with aiohttp.ClientSession() as session:
        return await ask(session, s, dialect, stream=stream, **more)


async def load(
    s: Stand, rate: float, seconds: float, *, stop: Callable[[], bool] = lambda: False, shapes: Any = SHAPES
) -> list[Answer]:
    """Runs an open loop: requests start on time even if earlier ones have not ended. Ends early once `stop` holds."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        started = time.monotonic()
        tasks: list[asyncio.Task[Answer]] = []
        while (now := time.monotonic() - started) < seconds and not stop():
            if len(tasks) <= now * rate:
                dialect, stream = shapes[len(tasks) % len(shapes)]
                tasks.append(group.create_task(ask(session, s, dialect, stream=stream)))
            else:
                await asyncio.sleep(len(tasks) / rate - now)
    return [task.result() for task in tasks]


async def shapes_at_once(s: Stand) -> list[Answer]:
    """Sends one request of each shape at the same time, so that none finds a breaker opened by another."""
    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*(ask(session, s, dialect, stream=stream) for dialect, stream in SHAPES))


async def line_of(s: Stand, answer: Answer) -> dict[str, Any]:
    """The request log's line about an answer; it is written after the answer was sent."""
    async with asyncio.timeout(2):
        while True:
            line: dict[str, Any]
            for line in reversed(s.log.lines):
                if line["id"] == answer.headers["x-weir-request-id"]:
                    return line
            await asyncio.sleep(0.001)


async def trail_of(s: Stand, answer: Answer) -> list[tuple[str, str]]:
    """The attempts of an answer: (backend, outcome)."""
    return [(attempt["backend"], attempt["outcome"]) for attempt in (await line_of(s, answer)).get("attempts", ())]


async def settled(s: Stand) -> None:
    """Waits until nothing is pending. Raises `TimeoutError` if something leaked."""
    async with asyncio.timeout(3):
        while any(view.pending for view in s.router.board.view().values()) or in_flight(s):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def becomes(true: Callable[[], bool]) -> None:
    """Waits until this holds, for what happens beside the requests. Raises `TimeoutError` if it does not."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def in_flight(s: Stand) -> float:
    """The gauge of requests being served."""
    value: float | None = s.router.metrics.registry.get_sample_value("weir_requests_in_flight")
    assert value is not None
    return value
