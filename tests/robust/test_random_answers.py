"""Random answers of upstreams, in every format: the caller gets an answer in its own, or an error of the upstream."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import logging
import random
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from robust.fuzz import seeds
from robust.mutations import broken, broken_text
from support.callers import Answer, ask, settled
from support.servers import listening, one_request
from support.stand import backend, config_for, stand
from weir_cli.sim import SimModel
from weir_router.contract import BreakerKnobs, Dialect, Failover, Timeouts
from weir_router.dialects.wire.sse import loads

QUICK = Timeouts(connect=2.0, ttft=1.0, idle=1.0)
NEVER = BreakerKnobs(consecutive_failures=10**9, minimum_requests=10**9)
"""Bounds of a breaker that no test reaches, so that each answer is read."""

FUNCTION = {"name": "f", "arguments": '{"a": 1}'}
CALL = {"id": "c", "type": "function", "function": FUNCTION}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
MESSAGE = {"role": "assistant", "content": "Hello", "tool_calls": [CALL]}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "tool_calls"}
OPENAI = {"id": "x", "object": "chat.completion", "model": "m", "choices": [CHOICE], "usage": USAGE}


def delta(finish: str | None = None, **content: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": content, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


OPENAI_STREAM = [
    delta(role="assistant", content=""),
    delta(content="Hel"),
    delta(content="lo"),
    delta(tool_calls=[{"index": 0, **CALL}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]),
    delta("tool_calls"),
    {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [], "usage": USAGE},
]
SPENT = {"input_tokens": 1, "output_tokens": 2}
TOOL = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
ANTHROPIC = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use", "stop_sequence": None,
    "content": [{"type": "thinking", "thinking": "Hm", "signature": "s"}, {"type": "text", "text": "Hello"}, TOOL],
    "usage": SPENT,
}  # fmt: skip
ANTHROPIC_STREAM = [
    {"type": "message_start", "message": {**ANTHROPIC, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {**TOOL, "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
ERROR = {"type": "error", "error": {"type": "invalid_request_error", "code": "bad", "param": "x", "message": "no"}}
WHOLE = {Dialect.OPENAI: OPENAI, Dialect.ANTHROPIC: ANTHROPIC}
STREAM = {Dialect.OPENAI: OPENAI_STREAM, Dialect.ANTHROPIC: ANTHROPIC_STREAM}
HEADERS = [
    "",
    "retry-after: 1",
    "retry-after: x",
    "content-type: text/html",
    "content-encoding: gzip",
    "x-request-id: \xff",
]


def encoded(value: Any) -> str:
    return json.dumps(value)


def content(provider: Dialect, rng: random.Random, *, stream: bool) -> tuple[str, bytes]:
    """Content type and body of an answer that is broken in something, or not at all."""
    if not stream:
        value = broken(WHOLE[provider], rng) if rng.random() < 0.8 else WHOLE[provider]
        text = encoded(value)
        return "application/json", broken_text(text, rng) if rng.random() < 0.2 else text.encode()
    events: list[Any] = copy.deepcopy(STREAM[provider])
    for _ in range(rng.choice((0, 1, 1, 2))):
        at = rng.randrange(len(events))
        change: Callable[[], None] = rng.choice(
            (
                lambda at=at: events.__setitem__(at, broken(events[at], rng)),
                lambda at=at: events.__setitem__(at, broken(events[at], rng)),
                lambda at=at: events.insert(at, events[rng.randrange(len(events))]),
                lambda at=at: events.insert(at, ERROR),
                lambda: rng.shuffle(events),
                lambda at=at: events.__delitem__(slice(at, at + 1 if len(events) > 1 else at)),
            )
        )
        change()
    named = provider is Dialect.ANTHROPIC
    text = "".join(
        (f"event: {it.get('type') if isinstance(it, dict) else it}\n" if named else "") + f"data: {encoded(it)}\n\n"
        for it in events
    )
    text += "data: [DONE]\n\n" if not named and rng.random() < 0.8 else ""
    return "text/event-stream", broken_text(text, rng) if rng.random() < 0.2 else text.encode()


def wire(provider: Dialect, rng: random.Random, *, stream: bool) -> bytes:
    """A whole HTTP answer."""
    if rng.random() < 0.9:
        status, (kind, body) = 200, content(provider, rng, stream=stream if rng.random() < 0.95 else not stream)
    else:
        status, kind = rng.choice((400, 401, 403, 404, 413, 422, 429, 500, 503, 529)), "application/json"
        body = encoded(broken(ERROR, rng)).encode()
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "connection: close"]
    lines += [rng.choice(HEADERS)] if rng.random() < 0.2 else []
    framing = rng.random()
    if framing < 0.3:
        lines.append(f"content-length: {len(body) + rng.choice((0, 0, 0, 0, 1, -1, 10**6))}")
    elif framing < 0.6:
        lines.append("transfer-encoding: chunked")
        body = b"".join(b"%x\r\n%c\r\n" % (1, it) for it in body[:50]) + b"%x\r\n%b\r\n0\r\n\r\n" % (
            len(body[50:]),
            body[50:],
        )
    data = ("\r\n".join(it for it in lines if it) + "\r\n\r\n").encode("latin-1") + body
    return broken_text(data.decode("latin-1"), rng) if rng.random() < 0.05 else data


async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers as the seed in the prompt says."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head, body = await one_request(reader)
        fields = json.loads(body)
        prompt = fields["messages"][-1]["content"]
        text = prompt if isinstance(prompt, str) else prompt[0]["text"]
        seed = int(text) if text.isdecimal() else 0  # a request of the router's own
        provider = Dialect.ANTHROPIC if head.startswith(b"post /v1/messages") else Dialect.OPENAI
        writer.write(wire(provider, random.Random(seed), stream=bool(fields.get("stream"))))
        await writer.drain()


def check(seed: int, dialect: Dialect, answer: Answer) -> None:
    context = f"seed {seed}, {dialect}: {answer.status} {answer.body[:1500]!r}"
    assert answer.status, context
    assert b"internal_error" not in answer.body, context
    assert b"Traceback" not in answer.body, context
    if answer.status != 200:
        error = answer.error
        assert error is not None, context
        assert isinstance(error["message"], str), context
        assert error["message"], context
    elif answer.stream:  # of its own format it is passed on as it came, with what no reader of events understands
        assert not answer.torn, context
    else:
        assert isinstance(loads(answer.body), dict), context


@pytest.mark.parametrize("provider", [Dialect.OPENAI, Dialect.ANTHROPIC])
@pytest.mark.parametrize("stream", [False, True])
async def test_random_answers_reach_the_caller_as_answers_or_errors(
    provider: Dialect, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = SimModel("m", dialect=provider)
    async with listening(upstream) as port, stand([model]) as s, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}" + ("/v1" if provider is Dialect.OPENAI else "")
        place = backend(s.sim, model, base_url=url, timeouts=QUICK, breaker=NEVER)
        s.apply(config_for([[place]], failover=Failover(attempts=1)))
        for batch in seeds(10):
            asked = [(seed, (Dialect.OPENAI, Dialect.ANTHROPIC)[seed % 2]) for seed in batch]
            answers = await asyncio.gather(
                *(ask(session, s, dialect, stream=stream, prompt=str(seed)) for seed, dialect in asked)
            )
            for (seed, dialect), answer in zip(asked, answers, strict=True):
                check(seed, dialect, answer)
        await settled(s)
        assert s.router.memory.held == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
