"""Callers of the Responses API, with the openai SDK, on upstreams of each format: bytes through, or translated."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from support.drawn_answers import events_of
from support.responses_grammar import events_of as read_events
from support.responses_grammar import violation
from support.scripted import Asked, Piece, head, policy, router, tier, upstream, whole
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.neutral.answer import Answer, Usage
from weir_router.dialects.neutral.conversation import Call, Text, Thought
from weir_router.dialects.openai_chat.host import PATHS
from weir_router.dialects.registry import record_of
from weir_router.estimate.prompt import Prompt

FORMATS = {"Chat": Format.OPENAI_CHAT, "Messages": Format.ANTHROPIC_MESSAGES, "Responses": Format.OPENAI_RESPONSES}
USAGE = Usage(input=12, cached=3, output=7, reasoning=2)
HELLO = Answer("a1", "m", (Thought("hm"), Text("Hello"), Call("c1", "f", '{"a":1}')), "tools", USAGE)
TOOLS: Any = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}]


def written(format: Format, answer: Answer, *, stream: bool) -> bytes:
    """The bytes of an upstream of this format that gives this answer."""
    record = record_of(format)
    ask = Ask(format, "m", stream, {"model": "m", "thinking": {"type": "adaptive"}}, {}, Prompt(()))
    if not stream:
        return whole(record.write_answer(answer, ask, 1_700_000_000, ""))
    writer = record.event_writer(ask, 1_700_000_000, "")
    return head() + b"".join([writer.write(event) for event in events_of(answer)]) + writer.end()


@contextlib.asynccontextmanager
async def served(
    folder: Path, answer: Callable[[Asked], list[Piece]], *dialects: list[str], **spec: Any
) -> AsyncIterator[str]:
    """The URL of a router before one scripted upstream that is a backend for each list of dialects."""
    async with upstream(answer) as url:
        backends = [
            {"name": f"b{at}", "provider": "OpenAI", "baseURL": f"{url}/v1", "model": f"m{at}", "dialects": names}
            for at, names in enumerate(dialects)
        ]
        async with router(folder, [tier("t", *backends, **spec), policy("p", ["auto"], ["t"])]) as served:
            yield served


def client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


@pytest.mark.parametrize("dialect", FORMATS)
async def test_the_sdk_streams_and_asks_plainly(tmp_path: Path, dialect: str) -> None:
    """The answer is the same each time: thought, text, call and usage."""
    format, paths = FORMATS[dialect], []

    def answer(asked: Asked) -> list[Piece]:
        paths.append(asked.path)
        return [written(format, HELLO, stream=bool(asked.body.get("stream")))]

    async with served(tmp_path, answer, [dialect]) as url, client(url) as sdk:
        async with sdk.responses.stream(model="auto", input="Hi", tools=TOOLS) as stream:
            kinds = [event.type async for event in stream]
            streamed = await stream.get_final_response()
        plain = await sdk.responses.create(model="auto", input="Hi", tools=TOOLS)
    assert set(paths) == {f"/v1{PATHS[format]}"}
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    for made in (streamed, plain):
        assert made.output_text == "Hello"
        call = next(item for item in made.output if item.type == "function_call")
        assert (call.call_id, call.name, json.loads(call.arguments)) == ("c1", "f", {"a": 1})
        assert made.usage is not None
        assert (made.usage.input_tokens, made.usage.output_tokens) == (12, 7)
        assert made.usage.input_tokens_details.cached_tokens == 3
    shown = [without_parsed(made.to_dict()["output"]) for made in (streamed, plain)]
    assert shown[0] == shown[1]


def without_parsed(value: Any) -> Any:
    """The SDK's own form of an answer without the fields that it adds."""
    if isinstance(value, dict):
        return {name: without_parsed(it) for name, it in value.items() if name not in ("parsed", "parsed_arguments")}
    return [without_parsed(it) for it in value] if isinstance(value, list) else value


async def raw(url: str, **body: Any) -> tuple[int, bytes]:
    asked = {"model": "auto", "input": "Hi", **body}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/responses", json=asked) as answer:
        return answer.status, await answer.read()


async def test_a_stream_of_the_same_format_passes_byte_for_byte(tmp_path: Path) -> None:
    sent = written(Format.OPENAI_RESPONSES, HELLO, stream=True)
    async with served(tmp_path, lambda asked: [sent], ["Responses"]) as url:
        status, got = await raw(url, stream=True, tools=TOOLS, store=False)
    body = sent.partition(b"\r\n\r\n")[2]
    assert status == 200
    assert b"".join(part + b"\n\n" for part in got.split(b"\n\n") if part and not part.startswith(b": weir")) == body


@pytest.mark.parametrize("dialect", ["Chat", "Messages"])
async def test_a_translated_stream_passes_the_grammar(tmp_path: Path, dialect: str) -> None:
    sent = written(FORMATS[dialect], HELLO, stream=True)
    async with served(tmp_path, lambda asked: [sent], [dialect]) as url:
        _, got = await raw(url, stream=True, tools=TOOLS)
    assert violation(read_events(got)) is None


# ---- failures ----

CREATED = {"id": "r", "object": "response", "created_at": 1, "status": "in_progress", "model": "m", "output": []}


def event(kind: str, number: int, **data: Any) -> bytes:
    fields = {"type": kind, "sequence_number": number, **data}
    return f"event: {kind}\ndata: {json.dumps(fields)}\n\n".encode()


BEGIN = head() + event("response.created", 0, response=CREATED) + event("response.in_progress", 1, response=CREATED)
QUOTA = {"code": "insufficient_quota", "message": "You exceeded your current quota."}
FAILED = event("response.failed", 2, response={**CREATED, "status": "failed", "error": QUOTA})
EMPTY = event("response.output_item.added", 2, output_index=0, item={"type": "message", "id": "msg_1", "content": []})
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
PART = event("response.content_part.added", 3, **AT, part={"type": "output_text", "text": "", "annotations": []})
DELTA = event("response.output_text.delta", 4, **AT, delta="Hel", logprobs=[])


@pytest.mark.parametrize(
    "broken",
    [
        BEGIN + FAILED,
        BEGIN + EMPTY + FAILED,
        BEGIN + event("error", 2, code="server_error", message="Oops", param=None),
        BEGIN + EMPTY,
        whole({"error": {"message": "Overloaded", "type": "server_error"}}, 503),
    ],
    ids=["quota", "quota after an empty item", "error event", "cut off", "503"],
)
async def test_what_fails_before_content_is_tried_elsewhere(tmp_path: Path, broken: bytes) -> None:
    """OpenAI sends `created` and then the error: neither that nor an empty item commits."""

    def answer(asked: Asked) -> list[Piece]:
        if asked.body["model"] == "m0":
            return [broken]
        return [written(Format.OPENAI_CHAT, HELLO, stream=True)]

    prices = [{"input": "1", "output": "1"}, {"input": "2", "output": "2"}]
    async with upstream(answer) as url:
        backends = [
            {"name": f"b{at}", "provider": "OpenAI", "baseURL": f"{url}/v1", "model": f"m{at}", "price": prices[at]}
            for at in range(2)
        ]
        backends[0]["dialects"] = ["Responses"]
        objects = [tier("t", *backends), policy("p", ["auto"], ["t"])]
        async with router(tmp_path, objects) as served_at, client(served_at) as sdk:
            made = await final(sdk)
    assert made.output_text == "Hello"


@pytest.mark.parametrize("end", [FAILED, b"", event("error", 4, message="Oops")])
async def test_a_stream_that_breaks_after_content_ends_in_a_failed_response(tmp_path: Path, end: bytes) -> None:
    # The pause: the content is sent before the end comes.
    answer = lambda asked: [BEGIN + EMPTY + PART + DELTA, 0.05, end]
    async with served(tmp_path, answer, ["Responses"]) as url:
        _, got = await raw(url, stream=True, store=False)
        last = read_events(got)[-1]
        assert last.name == "response.failed"
        assert (last.data["sequence_number"], last.data["response"]["id"]) == (5, "r")
        assert last.data["response"]["error"]["code"] in ("server_error", "insufficient_quota")
        assert last.data["error"]["source"] == "upstream"
        async with client(url) as sdk:
            with pytest.raises(openai.APIError, match="broke after about"):
                await read_all(sdk)


async def final(sdk: openai.AsyncOpenAI) -> Any:
    async with sdk.responses.stream(model="auto", input="Hi", tools=TOOLS) as stream:
        return await stream.get_final_response()


async def read_all(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.responses.stream(model="auto", input="Hi") as stream:
        async for _ in stream:
            pass


async def test_a_translated_stream_that_breaks_ends_in_a_failed_response(tmp_path: Path) -> None:
    chunk = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hel"}}]}
    answer = lambda asked: [head() + f"data: {json.dumps(chunk)}\n\n".encode()]
    async with served(tmp_path, answer, ["Chat"]) as url:
        _, got = await raw(url, stream=True)
        assert violation(read_events(got)) is None
        assert read_events(got)[-1].name == "response.failed"


async def test_a_long_silence_and_then_a_failure_is_a_whole_failed_response(tmp_path: Path) -> None:
    """The stream to the caller begins before any answer, as a sign of life."""
    answer = lambda asked: [1.5, whole({"error": {"message": "No", "type": "server_error"}}, 500)]
    async with upstream(answer) as up:
        backend = {"name": "b", "provider": "OpenAI", "baseURL": f"{up}/v1", "model": "m", "dialects": ["Responses"]}
        patient = policy("p", ["auto"], ["t"], failover={"keepAlive": "1s"})
        async with router(tmp_path, [tier("t", backend), patient]) as url:
            _, got = await raw(url, stream=True)
    assert violation(read_events(got)) is None
    assert [it.name for it in read_events(got)] == ["response.created", "response.failed"]


@pytest.mark.parametrize(
    ("status", "error", "raised"),
    [
        (400, {"code": "context_length_exceeded", "message": "maximum context length"}, openai.BadRequestError),
        (429, {"type": "requests", "message": "slow down"}, openai.RateLimitError),
    ],
)
async def test_an_error_before_the_stream_is_an_http_error(
    tmp_path: Path, status: int, error: Any, raised: type[openai.APIStatusError]
) -> None:
    answer = lambda asked: [whole({"error": error}, status)]
    async with served(tmp_path, answer, ["Responses"]) as url, client(url) as sdk:
        with pytest.raises(raised):
            await sdk.responses.create(model="auto", input="Hi")


@pytest.mark.parametrize(("stop", "reason"), [("length", "max_output_tokens"), ("filter", "content_filter")])
@pytest.mark.parametrize("dialect", FORMATS)
async def test_an_answer_that_is_cut_off_is_incomplete(tmp_path: Path, dialect: str, stop: str, reason: str) -> None:
    cut = Answer("a1", "m", (Text("Hel"),), stop, USAGE)
    sent = lambda asked: [written(FORMATS[dialect], cut, stream=bool(asked.body.get("stream")))]
    async with served(tmp_path, sent, [dialect]) as url, client(url) as sdk:
        made = await sdk.responses.create(model="auto", input="Hi")
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == reason


async def test_a_server_that_knows_no_stream_is_asked_plainly(tmp_path: Path) -> None:
    def answer(asked: Asked) -> list[Piece]:
        if asked.body.get("stream"):
            return [whole({"error": {"message": "Unsupported parameter: 'stream'", "param": "stream"}}, 400)]
        return [written(Format.OPENAI_RESPONSES, HELLO, stream=False)]

    async with served(tmp_path, answer, ["Responses"]) as url, client(url) as sdk:
        assert (await sdk.responses.create(model="auto", input="Hi")).output_text == "Hello"


# ---- state and models ----


async def test_encrypted_reasoning_goes_home_only(tmp_path: Path) -> None:
    """A mark on the way to the caller, none on the way back; another backend does not get it."""
    asked_for: list[Any] = []

    def answer(asked: Asked) -> list[Piece]:
        asked_for.append(asked.body)
        reasoning = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAAA"}
        message = {"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "Hello", "annotations": []}]}  # fmt: skip
        done = {**CREATED, "status": "completed", "output": [reasoning, message]}
        items = [
            event("response.output_item.done", at, output_index=at, item=it) for at, it in enumerate(done["output"])
        ]
        return [head() + b"".join(items) + event("response.completed", 2, response=done)]

    async with served(tmp_path, answer, ["Responses"]) as url, client(url) as sdk:
        first = await sdk.responses.create(model="auto", input="Hi", store=False)
        sealed = first.output[0].encrypted_content
        assert sealed.endswith(".gAAAA")
        assert sealed.startswith("w1.")
        history: Any = [{"role": "user", "content": "Hi"}, *[item.to_dict() for item in first.output]]
        await sdk.responses.create(model="auto", input=history)
        assert asked_for[-1]["input"][1]["encrypted_content"] == "gAAAA"
        history[1]["encrypted_content"] = "w1.ffffffff.gAAAA"
        found = await sdk.responses.with_raw_response.create(model="auto", input=history)
        assert [item.get("type") for item in asked_for[-1]["input"]] == [None, "message"]
        assert found.headers["x-weir-dropped"] == "reasoning"


async def test_the_callers_own_format_is_taken_where_it_is_listed(tmp_path: Path) -> None:
    paths: list[str] = []

    def answer(asked: Asked) -> list[Piece]:
        paths.append(asked.path)
        format = Format.OPENAI_CHAT if asked.path.endswith("/chat/completions") else Format.OPENAI_RESPONSES
        return [written(format, HELLO, stream=bool(asked.body.get("stream")))]

    async with served(tmp_path, answer, ["Responses", "Chat"]) as url:
        async with client(url) as sdk:
            await sdk.responses.create(model="auto", input="Hi")
            made = await sdk.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hi"}])
        assert made.choices[0].message.content == "Hello"
        body = {"model": "auto", "max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}]}
        async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/messages", json=body) as found:
            shown = await found.json()
    assert paths == ["/v1/responses", "/v1/chat/completions", "/v1/responses"]
    assert [block["type"] for block in shown["content"]] == ["text", "tool_use"]


async def test_a_request_without_a_model_gets_the_only_one(tmp_path: Path) -> None:
    answer = lambda asked: [written(Format.OPENAI_RESPONSES, HELLO, stream=bool(asked.body.get("stream")))]
    async with upstream(answer) as up:
        backend = {"name": "b", "provider": "OpenAI", "baseURL": f"{up}/v1", "model": "m", "dialects": ["Responses"]}
        objects = [tier("t", backend), policy("p", ["auto"], ["t"])]
        async with router(tmp_path, objects) as url:
            assert (await raw(url, model=None))[0] == 200
        async with router(tmp_path, [*objects, policy("q", ["other"], ["t"])]) as url:
            status, got = await raw(url, model=None)
    assert (status, json.loads(got)["error"]["param"]) == (400, "model")


async def test_a_custom_tool_works_on_each_upstream(tmp_path: Path) -> None:
    """Codex patches files with one. On a server without custom tools it is a function."""
    patch = "*** Begin Patch\n*** End Patch"
    native = Call("c1", "apply_patch", patch, custom=True)
    function = Call("c1", "apply_patch", json.dumps({"input": patch}))
    tool: Any = {"type": "custom", "name": "apply_patch", "format": {
        "type": "grammar", "syntax": "lark", "definition": "start: x"}}  # fmt: skip
    for dialect, call in (("Responses", native), ("Chat", function), ("Messages", function)):
        given = Answer("a1", "m", (call,), "tools", USAGE)
        sent = lambda asked, given=given, it=dialect: [written(FORMATS[it], given, stream=True)]
        async with served(tmp_path, sent, [dialect]) as url:
            _, got = await raw(url, stream=True, tools=[tool])
            events = read_events(got)
            assert violation(events) is None
            item = events[-1].data["response"]["output"][0]
            assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", patch)


async def test_many_at_once_do_not_mix(tmp_path: Path) -> None:
    def answer(asked: Asked) -> list[Piece]:
        text = asked.body["messages"][-1]["content"]
        return [written(Format.OPENAI_CHAT, Answer(text, "m", (Text(f"re {text}"),), "stop", USAGE), stream=True)]

    async with served(tmp_path, answer, ["Chat"]) as url, client(url) as sdk:

        async def one(number: int) -> str:
            async with sdk.responses.stream(model="auto", input=f"n{number}") as stream:
                return (await stream.get_final_response()).output_text

        assert await asyncio.gather(*map(one, range(20))) == [f"re n{number}" for number in range(20)]


@pytest.mark.parametrize("path", ["responses", "chat/completions", "messages"])
async def test_a_server_of_messages_learns_the_version_of_its_api(tmp_path: Path, path: str) -> None:
    """Also at hosts that are not Anthropic's, and from callers that do not say it."""
    seen: list[str | None] = []

    def answer(asked: Asked) -> list[Piece]:
        seen.append(asked.headers.get("anthropic-version"))
        return [written(Format.ANTHROPIC_MESSAGES, HELLO, stream=bool(asked.body.get("stream")))]

    body = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    async with served(tmp_path, answer, ["Messages"]) as url, aiohttp.ClientSession() as session:
        sent = {"model": "auto", "input": "Hi"} if path == "responses" else body
        for version in ("", "2023-01-01"):
            headers = {"anthropic-version": version} if version else {}
            async with session.post(f"{url}/v1/{path}", json=sent, headers=headers) as found:
                assert found.status == 200
    assert seen == ["2023-06-01", "2023-01-01" if path == "messages" else "2023-06-01"]
