"""A plain caller gets what the same server answers without a stream, for any shape of its stream."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from support.callers import ask, line_of, one, request_for, trail_of
from support.server_shapes import SHAPES
from support.servers import listening, one_request
from support.stand import stand
from weir_cli.sim import SimModel
from weir_router.contract import Dialect, Failover, Transport

USAGE = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
TOP = {"id": "c1", "created": 1, "model": "m"}
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("get_weather", "get_time", "f")]
HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {}\r\nconnection: close\r\n\r\n"


def plain(shape):
    message = {"role": "assistant", **shape.message}
    choice = {"index": 0, "message": message, "finish_reason": shape.finish or "stop"}
    return {"object": "chat.completion", **TOP, "choices": [choice]} | ({"usage": USAGE} if shape.usage else {})


def chunks(shape):
    for delta in [{"role": "assistant"}, *shape.deltas]:
        yield {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": shape.finish}]}
    if shape.usage:
        yield {"choices": [], "usage": USAGE}


def streamed(shape):
    events = [{"object": "chat.completion.chunk", **TOP, **chunk} for chunk in chunks(shape)]
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


@contextlib.asynccontextmanager
async def serving(shape):
    """A server of this shape: its base URL, and whether each request was for a stream."""
    asked = []

    async def talk(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            _, body = await one_request(reader)
            asked.append(json.loads(body).get("stream", False))
            media_type = shape.media_type if asked[-1] else "application/json"
            said = streamed(shape) if asked[-1] else json.dumps(plain(shape))
            writer.write((HEAD.format(media_type) + said).encode())
            await writer.drain()

    async with listening(talk) as port:
        yield f"http://127.0.0.1:{port}/v1", asked


async def direct(url):
    _, body, _ = request_for(Dialect.OPENAI, stream=False)
    async with aiohttp.ClientSession() as session, session.post(f"{url}/chat/completions", json=body) as response:
        return json.loads(await response.read())


def called(blocks):
    return [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]


def calls_of(message):
    for call in message.get("tool_calls", ()):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        yield name, arguments if isinstance(arguments, dict) else json.loads(arguments)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_a_plain_answer_is_the_servers_own(shape):
    async with serving(shape) as (url, asked), stand([SimModel("a")], changes={"a": {"base_url": url}}) as s:
        answer = await one(s)
        assert json.loads(answer.body) == await direct(url)
        assert asked == [True, *([False] if shape.again else []), False]
        assert answer.headers["x-weir-attempts"] == str(len(asked) - 1)
        assert await trail_of(s, answer) == [*([("a", "lossy")] if shape.again else []), ("a", "ok")]
        del asked[:]
        await one(s)
        assert asked == [not shape.again]  # what was learned is remembered


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_an_anthropic_caller_gets_the_same_calls_plain_and_streamed(shape):
    async with serving(shape) as (url, _), stand([SimModel("a")], changes={"a": {"base_url": url}}) as s:
        wanted = list(calls_of(shape.message))
        tools = [{"name": it["function"]["name"], "input_schema": {"type": "object"}} for it in TOOLS]
        whole = json.loads((await one(s, Dialect.ANTHROPIC, tools=tools)).body)
        assert called(whole["content"]) == wanted
        if shape.again:
            return
        answer = await one(s, Dialect.ANTHROPIC, stream=True, tools=tools)
        assert answer.ended
        blocks = {}
        for event in answer.events:
            if event["type"] == "content_block_start":
                blocks[event["index"]] = {"pieces": "", **event["content_block"]}
            elif event["type"] == "content_block_delta":
                blocks[event["index"]]["pieces"] += event["delta"].get("partial_json", "")
        got = [(it["name"], json.loads(it["pieces"])) for it in blocks.values() if it["type"] == "tool_use"]
        assert sorted(got, key=str) == sorted(wanted, key=str)
        thoughts = [block["thinking"] for block in whole["content"] if block["type"] == "thinking"]
        assert bool(thoughts) == any(block["type"] == "thinking" for block in blocks.values())


async def test_both_tries_are_billed():
    shape = SHAPES["no finish reason"]
    async with serving(shape) as (url, _), stand([SimModel("a")], changes={"a": {"base_url": url}}) as s:
        line = await line_of(s, await one(s))
        once = (USAGE["prompt_tokens"] * 1.0 + USAGE["completion_tokens"] * 2.0) / 1e6
        assert line["dollars"] == pytest.approx(2 * once)


@pytest.mark.parametrize("attempts", [1, 3])
async def test_asking_as_asked_is_no_try_of_its_own(attempts):
    async with (
        serving(SHAPES["a call without a name"]) as (url, _),
        stand([SimModel("a")], changes={"a": {"base_url": url}}, failover=Failover(attempts=attempts)) as s,
    ):
        assert (await one(s)).status == 200


async def test_a_backend_that_is_asked_as_asked_gives_the_same():
    shape = SHAPES["calls that nothing tells apart"]
    async with (
        serving(shape) as (url, asked),
        stand([SimModel("a")], changes={"a": {"base_url": url, "transport": Transport.AS_ASKED}}) as s,
    ):
        async with aiohttp.ClientSession() as session:
            answer = await ask(session, s)
        assert json.loads(answer.body) == plain(shape)
        assert asked == [False]
