"""Streams of the Responses API that break a rule of their items, one at a time, to callers of each format.

Before content another backend answers, after it the stream ends in an error; nothing hangs, and nothing is a bug of
the router. A caller of the Responses API gets a stream that its SDK can read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from support.responses_grammar import events_of
from support.scripted import Asked, Piece, head, policy, router, tier, upstream, whole

TEXT = "one two"
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": []}
RUNNING = {**RESPONSE, "status": "in_progress"}
PART = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "", "status": "completed"}
SAID = {**MESSAGE, "status": "completed", "content": [{**PART, "text": TEXT}]}
CALLED = {**CALL, "arguments": "{}"}
USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "input_tokens_details": {"cached_tokens": 0},
         "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
AT: dict[str, Any] = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
CALL_AT: dict[str, Any] = {"item_id": "fc_1", "output_index": 1}

Event = dict[str, Any]
GOOD: tuple[Event, ...] = (
    {"type": "response.created", "response": RUNNING},
    {"type": "response.in_progress", "response": RUNNING},
    {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE},
    {"type": "response.content_part.added", **AT, "part": PART},
    {"type": "response.output_text.delta", **AT, "delta": "one", "logprobs": []},
    {"type": "response.output_text.delta", **AT, "delta": " two", "logprobs": []},
    {"type": "response.output_text.done", **AT, "text": TEXT, "logprobs": []},
    {"type": "response.content_part.done", **AT, "part": {**PART, "text": TEXT}},
    {"type": "response.output_item.done", "output_index": 0, "item": SAID},
    {"type": "response.output_item.added", "output_index": 1, "item": CALL},
    {"type": "response.function_call_arguments.delta", **CALL_AT, "delta": "{}"},
    {"type": "response.function_call_arguments.done", **CALL_AT, "name": "f", "arguments": "{}"},
    {"type": "response.output_item.done", "output_index": 1, "item": CALLED},
    {"type": "response.completed", "response": {
        **RESPONSE, "status": "completed", "output": [SAID, CALLED], "usage": USAGE}},
)  # fmt: skip


def without(*places: int) -> list[Event]:
    return [event for at, event in enumerate(GOOD) if at not in places]


def changed(at: int, **fields: Any) -> list[Event]:
    return [{**event, **fields} if number == at else event for number, event in enumerate(GOOD)]


def again(at: int, before: int) -> list[Event]:
    return [*GOOD[:before], GOOD[at], *GOOD[before:]]


def unlisted(*places: int) -> list[Event]:
    """The events without those at `places`; the last event lists no items."""
    last = {**GOOD[-1], "response": {**GOOD[-1]["response"], "output": []}}
    return [*without(*places, len(GOOD) - 1), last]


BEFORE: dict[str, list[Event]] = {
    "an event before created": without(0),
    "nothing but created": list(GOOD[:2]),
    "created twice, for another response": [GOOD[0], {**GOOD[0], "response": {**RUNNING, "id": "resp_2"}}],
    "the quota after created": [*GOOD[:2], {"type": "response.failed", "response": {
        **RESPONSE, "status": "failed", "error": {"code": "insufficient_quota", "message": "no"}}}],
    "a delta without its item": without(2),
    "a delta without its part": without(3),
    "an index added twice": again(2, 3),
    "an index of another type": changed(2, output_index="0"),
    "an item that is no object": changed(2, item=7),
    "an event that is no object": [*GOOD[:2], [1]],  # type: ignore[list-item]
}  # fmt: skip
"""Broken before any content."""

AFTER: dict[str, list[Event]] = {
    "in progress for another response": [*GOOD[:6], {**GOOD[1], "response": {**RUNNING, "id": "resp_2"}}, *GOOD[6:]],
    "completed for another response": [*GOOD[:-1], {**GOOD[-1], "response": {**GOOD[-1]["response"], "id": "r"}}],
    "an index added again": again(2, 6),
    "arguments of no item": without(9),
    "a delta at another index": changed(5, output_index=4),
    "a delta of another part": changed(5, content_index=3),
    "done as another type": changed(8, item={**SAID, "type": "reasoning", "summary": []}),
    "done with another id": changed(8, item={**SAID, "id": "msg_2"}),
    "done with another call": changed(12, item={**CALLED, "call_id": "call_2"}),
    "one identity at two indexes": [*GOOD[:9], {**GOOD[8], "output_index": 5}, *GOOD[9:]],
    "an item that is never done": unlisted(8),
    "a call that is never done": unlisted(12),
    "no last event": list(GOOD[:-1]),
    "failed": [*GOOD[:6], {"type": "response.failed", "response": {
        **RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "no"}}}],
    "an error": [*GOOD[:6], {"type": "error", "code": "server_error", "message": "no", "param": None}],
}  # fmt: skip
"""Broken after content."""


def sent(events: list[Event], pause: float) -> list[Piece]:
    """The bytes of a stream; after its content there is a pause, so that this part goes to the caller."""
    pieces: list[Piece] = [head()]
    for number, event in enumerate(events):
        fields = {**event, "sequence_number": number} if isinstance(event, dict) else event
        name = event["type"] if isinstance(event, dict) else "odd"
        pieces.append(f"event: {name}\ndata: {json.dumps(fields)}\n\n".encode())
        if pause and number == 4:
            pieces.append(pause)
    return pieces


def answers(events: list[Event], pause: float = 0.0) -> Callable[[Asked], list[Piece]]:
    """An upstream whose first model breaks, and whose second one answers."""

    def answer(asked: Asked) -> list[Piece]:
        if asked.body["model"] == "m0":
            return sent(events, pause)
        return sent(list(GOOD), 0.0) if asked.body.get("stream") else [whole(GOOD[-1]["response"])]

    return answer


async def asked(folder: Path, answer: Callable[[Asked], list[Piece]], path: str, *, stream: bool) -> tuple[int, bytes]:
    """Status and body of the answer to one caller, before two backends that take the Responses API."""
    async with upstream(answer) as url:
        backends = [
            {"name": f"b{at}", "provider": "OpenAI", "baseURL": f"{url}/v1", "model": f"m{at}",
             "dialects": ["Responses"], "price": {"input": f"{at + 1}", "output": "1"}}
            for at in range(2)
        ]  # fmt: skip
        async with (
            router(folder, [tier("t", *backends), policy("p", ["auto"], ["t"])]) as served,
            aiohttp.ClientSession() as http,
            asyncio.timeout(10),
        ):
            given = {"input": "hi"} if path == "responses" else {"messages": [{"role": "user", "content": "hi"}]}
            body = {"model": "auto", "stream": stream, **given}
            if path == "messages":
                body["max_tokens"] = 99
            async with http.post(f"{served}/v1/{path}", json=body) as found:
                return found.status, await found.read()


PATHS = ("responses", "chat/completions", "messages")


@pytest.mark.parametrize("name", BEFORE)
async def test_what_breaks_before_content_is_answered_by_the_other(tmp_path: Path, name: str) -> None:
    status, got = await asked(tmp_path, answers(BEFORE[name]), "responses", stream=True)
    events = events_of(got)
    assert (status, events[-1].name, said(events)) == (200, "response.completed", TEXT)
    assert (await read_by_the_sdk(got)) is None


@pytest.mark.parametrize("name", AFTER)
async def test_what_breaks_after_content_ends_in_a_failed_response(tmp_path: Path, name: str) -> None:
    _, got = await asked(tmp_path, answers(AFTER[name], 0.05), "responses", stream=True)
    events = events_of(got)
    assert (events[-1].name, events[-1].data["error"]["source"]) == ("response.failed", "upstream")
    assert TEXT.startswith(said(events))
    assert isinstance(await read_by_the_sdk(got), openai.APIError)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", [*BEFORE, *AFTER])
async def test_no_caller_gets_a_wrong_answer(tmp_path: Path, name: str, path: str) -> None:
    """Streamed and plain: the text is whole where the answer ends like one."""
    broken = (BEFORE | AFTER)[name]
    for stream in (True, False):
        status, got = await asked(tmp_path, answers(broken, 0.05), path, stream=stream)
        assert status == 200
        failed = b'"error":{' in got.replace(b" ", b"")
        assert b"internal" not in got.lower()
        if not stream:
            assert not failed
            assert TEXT in got.decode()
        elif failed:
            assert b"[DONE]" not in got
            assert b"message_stop" not in got
        else:
            assert b"one" in got
            assert b" two" in got


def said(events: Any) -> str:
    return "".join(event.data["delta"] for event in events if event.name == "response.output_text.delta")


async def read_by_the_sdk(stream: bytes) -> Exception | None:
    """The error that OpenAI's SDK raises on a stream."""
    answer = lambda asked: [head() + stream]
    async with upstream(answer) as url, openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as sdk:
        try:
            async with sdk.responses.stream(model="m", input="hi") as reading:
                await reading.get_final_response()
        except Exception as error:
            return error
    return None


async def test_the_good_stream_passes_as_it_is(tmp_path: Path) -> None:
    _, got = await asked(tmp_path, answers(list(GOOD)), "responses", stream=True)
    assert [event.name for event in events_of(got)] == [event["type"] for event in GOOD]
    assert await read_by_the_sdk(got) is None
