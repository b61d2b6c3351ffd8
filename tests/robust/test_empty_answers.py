"""An answer that ends normally with nothing in it is asked for once more elsewhere; alone it goes to the caller."""

import asyncio
import contextlib
import json

import pytest

from support.callers import SHAPES, line_of, one, settled, trail_of
from support.servers import listening, one_request
from support.stand import stand
from weir_cli.sim import SimModel
from weir_cli.sim.faults import Fault, FaultKind
from weir_router.contract import Dialect, Transport

HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {}\r\nconnection: close\r\n\r\n"
UPSTREAMS = list(Dialect)


def openai(stream, *, output=0, finish="stop", content=""):
    usage = {"prompt_tokens": 5, "completion_tokens": output, "total_tokens": 5 + output}
    top = {"id": "c1", "created": 1, "model": "m"}
    if not stream:
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
        return json.dumps({**top, "object": "chat.completion", "choices": [choice], "usage": usage})
    events = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
        {"choices": [], "usage": usage},
    ]
    return "".join(f"data: {json.dumps({**top, **event})}\n\n" for event in events) + "data: [DONE]\n\n"


def anthropic(stream, *, output=0, finish="end_turn"):
    finish = {"stop": "end_turn", "length": "max_tokens"}.get(finish, finish)
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    usage = {"input_tokens": 5, "output_tokens": output}
    if not stream:
        return json.dumps({**message, "stop_reason": finish, "stop_sequence": None, "usage": usage})
    events = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}},
        {"type": "message_delta", "delta": {"stop_reason": finish, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


@contextlib.asynccontextmanager
async def serving(dialect, **answer):
    """A server whose answers are all alike: the fields of a backend that leads there."""

    async def talk(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            _, body = await one_request(reader)
            stream = json.loads(body).get("stream", False)
            said = (openai if dialect is Dialect.OPENAI else anthropic)(stream, **answer)
            writer.write((HEAD.format("text/event-stream" if stream else "application/json") + said).encode())
            await writer.drain()

    async with listening(talk) as port:
        yield {"base_url": f"http://127.0.0.1:{port}" + ("/v1" if dialect is Dialect.OPENAI else "")}


def models(dialect):
    return [SimModel("a", dialect=dialect)], [SimModel("b", dialect=dialect, answer="from b")]


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("dialect", UPSTREAMS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_another_candidate_answers(shape, dialect, transport):
    caller, stream = shape
    async with (
        serving(dialect) as place,
        stand(*models(dialect), changes={"a": {**place, "transport": transport}}) as s,
    ):
        answer = await one(s, caller, stream=stream)
        assert answer.ended
        assert answer.text == "from b"
        assert await trail_of(s, answer) == [("a", "empty"), ("b", "ok")]
        assert answer.headers["x-weir-attempts"] == "2"
        await settled(s)


@pytest.mark.parametrize("dialect", UPSTREAMS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_without_another_it_is_passed_on(shape, dialect):
    caller, stream = shape
    async with serving(dialect) as place, stand(models(dialect)[0], changes={"a": place}) as s:
        answer = await one(s, caller, stream=stream)
        assert answer.ended
        assert await trail_of(s, answer) == [("a", "ok")]
        await settled(s)


@pytest.mark.parametrize("dialect", UPSTREAMS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_where_the_others_fail_it_is_passed_on_after_all(shape, dialect):
    caller, stream = shape
    async with serving(dialect) as place, stand(*models(dialect), changes={"a": place}) as s:
        s.sim.fault("b", Fault(FaultKind.UNAVAILABLE))
        answer = await one(s, caller, stream=stream)
        assert answer.ended
        assert answer.headers["x-weir-backend"] == "a"
        assert await trail_of(s, answer) == [("b", "overload"), ("a", "ok")]
        assert (await line_of(s, answer))["usage"]["input"] == 5
        await settled(s)


@pytest.mark.parametrize("dialect", UPSTREAMS)
@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_asked_for_once_more_and_not_twice(stream, dialect):
    async with serving(dialect) as place:
        three = [*models(dialect), [SimModel("c", dialect=dialect)]]
        async with stand(*three, changes={"a": place, "b": place}) as s:
            answer = await one(s, dialect, stream=stream)
            assert answer.ended
            assert await trail_of(s, answer) == [("a", "empty"), ("b", "ok")]


@pytest.mark.parametrize("fields", [{"output": 7}, {"finish": "length"}, {"finish": "content_filter"}])
@pytest.mark.parametrize("dialect", UPSTREAMS)
@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_has_tokens_or_was_cut_off_is_no_empty_answer(stream, dialect, fields):
    if dialect is Dialect.ANTHROPIC and fields.get("finish") == "content_filter":
        fields = {"finish": "refusal"}
    async with serving(dialect, **fields) as place, stand(*models(dialect), changes={"a": place}) as s:
        answer = await one(s, dialect, stream=stream)
        assert await trail_of(s, answer) == [("a", "ok")]
