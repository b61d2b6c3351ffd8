"""Passed endpoints on real sockets: bytes there and back, the commit point, clocks, memory, and what an upstream may
not do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from prometheus_client import generate_latest

from support.servers import one_request, talking
from support.sidecar import sidecar
from support.stand import KEY, UPSTREAM_KEY, Stand, stand
from weir_cli.sim import SimModel
from weir_router.admit.memory import PER_BYTE
from weir_router.contract import (
    Extra,
    Failover,
    Limit,
    Operation,
    Parameters,
    Route,
    TierRef,
    Timeouts,
    When,
)

MB = 1024 * 1024
ENDPOINTS = ("Completions", "Moderations", "Images", "Audio", "Rerank")
BOUNDARY = "----------------------------d74496d66958873e"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
AUDIO = bytes(range(256)) * 64
SPEAK = {"model": "auto", "input": "hello", "voice": "alloy"}

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """An upstream that answers each request with the next of its answers, and the last one again."""

    def __init__(self, *answers: bytes) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self._answers = list(answers)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await one_request(reader)
            self.heads.append(head)
            self.bodies.append(body)
            writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])
            await writer.drain()


def answer(body: bytes, kind: str = "application/json", status: str = "200 OK", more: str = "") -> bytes:
    """A whole answer."""
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}content-length: {len(body)}\r\n\r\n".encode() + body


def head(kind: str) -> bytes:
    """The head of an answer in chunks."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


END = b"0\r\n\r\n"


def form(*parts: tuple[str, bytes], boundary: str = BOUNDARY) -> bytes:
    """A form; a part named `file` is one."""
    lines = []
    for name, content in parts:
        file = '; filename="a.mp3"\r\nContent-Type: audio/mpeg' if name == "file" else ""
        lines.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
        )
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


def route(tiers: int) -> tuple[Route, ...]:
    """One route for all operations."""
    refs = tuple(TierRef(tier=f"llm/t{number}") for number in range(tiers))
    return (Route(name="all", when=When(operations=frozenset(Operation)), tiers=refs),)


@contextlib.asynccontextmanager
async def before(
    *talks: Talk, memory: int = 256 * MB, changes: dict[str, Any] | None = None, **policy: Any
) -> AsyncIterator[Stand]:
    """A router before these upstreams, each the only backend of a tier."""
    async with contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(talking(talk)) for talk in talks]
        names = "abc"[: len(urls)]
        changed = {
            name: {"base_url": f"{url}/v1", "endpoints": ENDPOINTS, **(changes or {})}
            for name, url in zip(names, urls, strict=True)
        }
        policy.setdefault("routes", route(len(urls)))
        s = await stack.enter_async_context(
            stand(*[[SimModel(it)] for it in names], memory=memory, changes=changed, **policy)
        )
        yield s


@contextlib.asynccontextmanager
async def posting(s: Any, path: str, body: Any, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to one request: JSON if `body` is no bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }

    async def parts() -> AsyncIterator[bytes]:
        yield data

    async with aiohttp.ClientSession() as http, http.post(s.url + path, data=parts(), headers=sent) as got:
        yield got


async def post(s: Any, path: str, body: Any, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of the answer."""
    async with posting(s, path, body, **headers) as got:
        return got.status, got.headers, await got.read()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the count has no event
            await asyncio.sleep(0.001)


async def test_a_form_goes_out_in_the_same_bytes_but_for_its_model():
    up = Upstream(answer(b'{"text":"hi"}'))
    parts = [("file", AUDIO), ("model", b"auto"), ("language", b"en"), ("timestamp_granularities[]", b"word")]
    async with before(up.talk) as s:
        got = await post(s, "/v1/audio/transcriptions", form(*parts), content_type=TYPE)
        assert (got[0], got[2]) == (200, b'{"text":"hi"}')
    sent = [("model", b"a") if name == "model" else (name, content) for name, content in parts]
    assert up.bodies == [form(*sent)]
    assert up.heads[0].startswith(b"post /v1/audio/transcriptions http/1.1\r\n")
    assert f"content-type: {TYPE}".lower().encode() in up.heads[0]
    assert f"authorization: bearer {UPSTREAM_KEY}".encode() in up.heads[0]


async def test_json_goes_out_in_the_same_fields_but_for_its_model():
    up = Upstream(answer(b"{}"))
    async with before(up.talk) as s:
        sent = b'{"input": [1.50, "\\u00e9", {"deep": [1e2]}],  "model":"auto", "odd": null}'
        assert (await post(s, "/v1/moderations", sent))[0] == 200
    assert up.bodies == [b'{"input":[1.50, "\\u00e9", {"deep": [1e2]}],"model":"a","odd":null}']


async def test_parameters_query_headers_and_key_of_a_backend_hold():
    up = Upstream(answer(b"{}"))
    extra = Extra(headers={"x-team": "ml"}, query="api-version=2024-10-21", key_header="api-key")
    parameters = Parameters(drop=("user",), rename={"n": "count"}, defaults={"size": '"1024x1024"'})
    async with before(up.talk, changes={"extra": extra, "parameters": parameters}) as s:
        got = await post(s, "/v1/images/generations", {"model": "auto", "prompt": "x", "n": 2, "user": "me"})
        assert got[1]["x-weir-dropped"] == "user"
        await post(s, "/v1/audio/translations", form(("model", b"auto"), ("file", AUDIO)), content_type=TYPE)
    assert json.loads(up.bodies[0]) == {"model": "a", "prompt": "x", "count": 2, "size": "1024x1024"}
    for sent in up.heads:
        assert b"?api-version=2024-10-21 http/1.1" in sent
        assert b"x-team: ml\r\n" in sent
        assert f"api-key: {UPSTREAM_KEY}\r\n".encode() in sent
        assert b"authorization" not in sent
    assert b"multipart/form-data" in up.heads[1]


async def test_an_answer_has_its_own_type_and_none_of_the_upstream_s_other_headers():
    more = "connection: keep-alive\r\nset-cookie: a=b\r\nx-ratelimit-remaining-requests: 1\r\n"
    more += "openai-processing-ms: 7\r\nvia: 1.1 x\r\n"
    up = Upstream(answer(b"1\n00:00:00,000 --> 00:00:01,000\nhi\n", "application/x-subrip; charset=utf-8", more=more))
    async with before(up.talk) as s:
        status, headers, body = await post(
            s, "/v1/audio/transcriptions", form(("model", b"auto"), ("file", AUDIO)), content_type=TYPE
        )
    assert (status, headers["content-type"], headers["openai-processing-ms"]) == (
        200,
        "application/x-subrip; charset=utf-8",
        "7",
    )
    assert body.startswith(b"1\n00:00")
    assert not {"set-cookie", "x-ratelimit-remaining-requests", "via", "connection"} & {it.lower() for it in headers}
    assert headers["x-weir-backend"] == "a"


@pytest.mark.parametrize("kind", ["audio/mpeg", "application/octet-stream", "text/event-stream", "text/plain"])
async def test_bytes_stream_as_they_come(kind: str):
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(head(kind) + chunk(b"data: {}\n\n"))
        await go.wait()
        writer.write(chunk(AUDIO) + END)
        await writer.drain()

    async with before(talk) as s, posting(s, "/v1/audio/speech", SPEAK) as got:
        assert (got.status, got.headers["content-type"]) == (200, kind)
        assert await got.content.readexactly(10) == b"data: {}\n\n"
        go.set()
        assert await got.content.read() == AUDIO
    await until(lambda: bool(s.log.lines))
    assert (s.last["outcome"], s.last.get("stream", False)) == ("ok", kind == "text/event-stream")


@pytest.mark.parametrize("kind", ["audio/mpeg", "text/event-stream"])
@pytest.mark.parametrize("broken", ["cut", "stall"])
async def test_an_answer_that_breaks_after_its_first_byte_does_not_end_well(kind: str, broken: str):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(head(kind) + chunk(b"data: {}\n\n"))
        await writer.drain()
        if broken == "stall":
            await reader.read()

    bounds = {"changes": {"timeouts": Timeouts(idle=0.2, total=1.0)}, "failover": Failover(deadline=1.0)}
    async with before(talk, **bounds) as s, posting(s, "/v1/audio/speech", SPEAK) as got:  # type: ignore[arg-type]
        assert await got.content.readexactly(10) == b"data: {}\n\n"
        if kind == "text/event-stream":
            assert b'"source":"upstream"' in (await got.content.read()).replace(b" ", b"")
        else:
            with pytest.raises(aiohttp.ClientPayloadError):
                await got.content.read()
        await until(lambda: bool(s.log.lines))
        assert (s.last["outcome"], s.last["error_source"]) == ("broken", "upstream")


CUT = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{'{'}".encode()
FAILURES = {
    "JSON that is cut off": CUT,
    "no JSON": answer(b'{"text": '),
    "an error in place of an answer": answer(b'{"error": {"message": "overloaded"}}'),
    "a page": answer(b"<html>log in</html>", "text/html"),
    "an error as the first event": answer(b'data: {"error": {"message": "no"}}\n\n', "text/event-stream"),
    "a stream without an event": answer(b": ping\n\n", "text/event-stream"),
    "no audio": answer(b"", "audio/mpeg"),
    "a redirect": answer(b"", "text/plain", "302 Found", "location: http://127.0.0.1:1/\r\n"),
    "no such endpoint": answer(b'{"detail":"Not Found"}', status="404 Not Found"),
    "no such method": answer(b'{"detail":"Method Not Allowed"}', status="405 Method Not Allowed"),
    "not implemented": answer(b"nope", "text/plain", "501 Not Implemented"),
}


@pytest.mark.parametrize("what", FAILURES)
async def test_a_failure_before_the_first_byte_is_tried_elsewhere(what: str):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(FAILURES[what])
        await writer.drain()

    up = Upstream(answer(AUDIO, "audio/mpeg"))
    async with before(talk, up.talk) as s:
        status, headers, body = await post(s, "/v1/audio/speech", SPEAK)
        assert (status, body, headers["x-weir-backend"]) == (200, AUDIO, "b")


@pytest.mark.parametrize("what", ["no such endpoint", "no such method", "not implemented"])
async def test_a_server_that_lacks_an_endpoint_stays_in_use_for_all_others(what: str):
    up = Upstream(FAILURES[what])
    async with before(up.talk) as s:
        status, _, body = await post(s, "/v1/audio/speech", SPEAK)
        assert 400 <= status < 600
        assert s.router.board.view()["llm/t0/a"].state == "closed"
        assert b"Not" in body or b"nope" in body


async def test_a_model_that_is_missing_is_out():
    up = Upstream(
        answer(b'{"error":{"message":"The model `a` does not exist","code":"model_not_found"}}', status="404 Not Found")
    )
    async with before(up.talk) as s:
        await post(s, "/v1/audio/speech", SPEAK)
        assert s.router.board.view()["llm/t0/a"].credential_out


async def test_an_upstream_that_does_not_answer_in_time_is_left_for_another():
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        await reader.read()

    up = Upstream(answer(b"{}"))
    async with before(talk, up.talk, changes={"timeouts": Timeouts(total=0.3)}) as s:
        status, headers, _ = await post(s, "/v1/images/generations", {"model": "auto", "prompt": "x"})
        assert (status, headers["x-weir-backend"]) == (200, "b")
        assert s.last["attempts"][0]["outcome"] in ("too_long", "silent")


async def test_images_that_take_longer_than_the_clock_between_contents_arrive():
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(head("text/event-stream"))
        for _ in range(3):
            writer.write(chunk(b'data: {"type":"image_generation.partial_image"}\n\n'))
            await writer.drain()
            await asyncio.sleep(0.4)
        writer.write(END)
        await writer.drain()

    async with before(talk, Upstream(answer(b"{}")).talk, changes={"timeouts": Timeouts(idle=0.1)}) as s:
        status, _, body = await post(s, "/v1/images/generations", {"model": "auto", "prompt": "x", "stream": True})
        assert (status, body.count(b"partial_image")) == (200, 3)


async def test_a_caller_that_leaves_ends_the_upstream_s_work():
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(head("audio/mpeg") + chunk(b"x"))
        await reader.read()
        gone.set()

    async with before(talk) as s:
        async with posting(s, "/v1/audio/speech", SPEAK) as got:
            await got.content.readexactly(1)
            got.close()
        async with asyncio.timeout(10):
            await gone.wait()
        await until(lambda: bool(s.log.lines))
        assert s.last["outcome"] == "cancelled"
        assert s.router.memory.held == 0


async def test_a_caller_that_does_not_read_stops_the_upstream_and_holds_little():
    sent = 0
    stopped = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await one_request(reader)
        writer.write(head("audio/mpeg"))
        part = chunk(bytes(64 * 1024))
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 256 * MB:
                writer.write(part)
                sent += len(part)
                async with asyncio.timeout(1.0):
                    await writer.drain()
        stopped.set()

    async with before(talk) as s:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(s.url.rpartition(":")[2]), limit=1024)
        body = json.dumps(SPEAK).encode()
        lines = f"POST /v1/audio/speech HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        writer.write(f"{lines}content-length: {len(body)}\r\n\r\n".encode() + body)
        await reader.readexactly(1)
        writer.transport.pause_reading()
        async with asyncio.timeout(20):
            await stopped.wait()
        assert sent < 64 * MB
        assert s.router.memory.held <= MB
        writer.transport.abort()
        await until(lambda: s.router.memory.held == 0)


async def test_audio_of_25_mb_is_held_once_while_the_upstream_listens():
    came, go = asyncio.Event(), asyncio.Event()
    bodies: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(len((await one_request(reader))[1]))
        came.set()
        await go.wait()
        writer.write(answer(b'{"text":"hi"}'))
        await writer.drain()

    body = form(("model", b"auto"), ("file", bytes(range(256)) * (25 * MB // 256)))
    async with before(talk) as s:
        asked = asyncio.create_task(post(s, "/v1/audio/transcriptions", body, content_type=TYPE))
        async with asyncio.timeout(20):
            await came.wait()
        await until(lambda: s.router.memory.held <= 26 * MB)
        assert s.router.memory.held >= 24 * MB
        go.set()
        assert (await asked)[0] == 200
        await until(lambda: s.router.memory.held == 0)
    assert bodies == [len(body) - 3]


async def test_a_form_beyond_a_bound_is_refused():
    up = Upstream(answer(b"{}"))
    body = form(("model", b"auto"), ("file", bytes(MB)))
    async with before(up.talk, max_request_bytes=MB) as s:
        got = await post(s, "/v1/audio/transcriptions", body, content_type=TYPE)
        assert got[0] == 413
        assert b"requestBytes" in got[2]
    async with before(up.talk, memory=MB * PER_BYTE) as s:
        assert (await post(s, "/v1/audio/transcriptions", body, content_type=TYPE))[0] in (413, 503)
        await until(lambda: s.router.memory.held == 0)
    assert not up.bodies


async def test_another_attempt_sends_the_same_form():
    bad, good = Upstream(answer(b'{"error":{"message":"no"}}', status="500 Oops")), Upstream(answer(b'{"text":"x"}'))
    body = form(("file", AUDIO * 40), ("model", b"auto"))
    async with before(bad.talk, good.talk) as s:
        assert (await post(s, "/v1/audio/transcriptions", body, content_type=TYPE))[0] == 200
    assert bad.bodies == [body.replace(b"\r\nauto\r\n", b"\r\na\r\n")]
    assert good.bodies == [body.replace(b"\r\nauto\r\n", b"\r\nb\r\n")]


@pytest.mark.parametrize("size", [100, 100_000])
async def test_a_request_without_a_model_gets_the_only_one(size: int):
    up = Upstream(answer(b"{}"))
    body = form(("file", bytes(size)))
    async with before(up.talk) as s:
        assert (await post(s, "/v1/audio/transcriptions", body, content_type=TYPE))[0] == 200
        assert (await post(s, "/v1/moderations", {"input": "hi"}))[0] == 200
        assert s.last["model"] == "auto"
    assert up.bodies == [form(("model", b"a"), ("file", bytes(size))), b'{"input":"hi","model":"a"}']
    async with before(up.talk, models=("auto", "other")) as s:
        for path, sent, kind in (
            ("/v1/audio/transcriptions", body, TYPE),
            ("/v1/moderations", b'{"input":"hi"}', "x/y"),
        ):
            status, _, said = await post(s, path, sent, content_type=kind)
            assert status == 400
            assert json.loads(said)["error"]["param"] == "model"


async def test_a_path_of_azure_names_the_model_of_a_form():
    up = Upstream(answer(b"{}"))
    path = "/openai/deployments/auto/audio/transcriptions"
    async with before(up.talk, models=("auto", "other")) as s:
        for parts in (
            [("file", AUDIO)],
            [("model", b"other"), ("file", AUDIO)],
            [("file", AUDIO), ("model", b"nothing")],
        ):
            assert (await post(s, path, form(*parts), content_type=TYPE))[0] == 200
            assert s.last["model"] == "auto"
        assert (await post(s, path, b"--\r\n", content_type=TYPE))[0] == 400
    model, file = ("model", b"a"), ("file", AUDIO)
    assert up.bodies == [form(model, file), form(model, file), form(file, model)]


@pytest.mark.parametrize(
    ("path", "body", "kind", "says"),
    [
        ("/v1/audio/transcriptions", b'{"model":"auto"}', "application/json", "takes a form"),
        ("/v1/moderations", form(("model", b"auto")), TYPE, "takes JSON"),
        ("/v1/images/edits", form(("model", b"auto")), "application/json", "its content-type must be"),
        ("/v1/images/edits", form(("model", b"auto")), TYPE + "x", "not the boundary"),
        ("/v1/images/edits", form(("model", b"auto"), ("model", b"auto")), TYPE, "two parts"),
        ("/v1/images/edits", form(("model", b"auto"))[:-10], TYPE, "end is missing"),
        ("/v1/audio/speech", b"\xff", "application/json", "JSON"),
        ("/v1/audio/speech", b"", "application/json", "empty"),
        ("/v1/rerank", b'{"model":1}', "application/json", "must be a string"),
    ],
)
async def test_a_body_that_cannot_be_passed_on_is_a_400_that_says_why(path: str, body: bytes, kind: str, says: str):
    up = Upstream(answer(b"{}"))
    async with before(up.talk) as s:
        status, _, said = await post(s, path, body, content_type=kind)
        assert status == 400
        assert says in json.loads(said)["error"]["message"]
    assert not up.bodies


async def test_an_answer_of_images_larger_than_any_text_passes():
    image = "A" * (6 * MB)
    whole = json.dumps({"data": [{"b64_json": image}] * 3, "usage": {"input_tokens": 7, "output_tokens": 9}}).encode()
    up = Upstream(answer(whole))
    async with before(up.talk, memory=16 * MB) as s:
        status, headers, body = await post(s, "/v1/images/generations", {"model": "auto", "prompt": "x"})
        assert (status, headers["content-type"]) == (200, "application/json")
        assert body == whole
        await until(lambda: bool(s.log.lines))
        assert (s.last["usage"]["input"], s.last["usage"]["output"]) == (7, 9)
        assert s.last["dollars"] == pytest.approx((7 + 2 * 9) / 1e6)
        await until(lambda: s.router.memory.held == 0)


async def test_an_error_within_a_stream_counts_as_one():
    events = chunk(b'data: {"choices":[{"text":"a"}]}\n\n') + chunk(
        b'data: {"error":{"message":"x %b"}}\n\n' % UPSTREAM_KEY.encode()
    )
    up = Upstream(head("text/event-stream") + events + END)
    async with before(up.talk) as s:
        _, _, body = await post(s, "/v1/completions", {"model": "auto", "prompt": "x", "stream": True})
        assert b'"error"' in body
        assert UPSTREAM_KEY.encode() not in body
        await until(lambda: bool(s.log.lines))
        assert s.last["outcome"] == "broken"


async def test_a_limit_of_requests_counts_them():
    up = Upstream(answer(b"{}"))
    limits = Limit(key="team-a/assistants", requests_per_minute=2)
    async with before(up.talk, limits=limits) as s:
        for want in (200, 200, 429):
            assert (await post(s, "/v1/moderations", {"model": "auto", "input": "x"}))[0] == want


async def test_requests_in_flight_are_limited():
    came, go = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        came.set()
        await go.wait()
        writer.write(answer(b"{}"))
        await writer.drain()

    async with before(talk, limits=Limit(key="team-a/assistants", in_flight=1)) as s:
        first = asyncio.create_task(post(s, "/v1/images/generations", {"model": "auto", "prompt": "x"}))
        await came.wait()
        assert (await post(s, "/v1/moderations", {"model": "auto", "input": "x"}))[0] == 429
        go.set()
        assert (await first)[0] == 200
        assert (await post(s, "/v1/moderations", {"model": "auto", "input": "x"}))[0] == 200


async def test_requests_are_counted_by_operation_without_tokens_or_cost_that_are_not_known():
    up = Upstream(answer(AUDIO, "audio/mpeg"))
    async with before(up.talk) as s:
        assert (await post(s, "/v1/audio/speech", SPEAK))[0] == 200
        assert s.last["operation"] == "Audio"
        text = generate_latest(s.router.metrics.registry).decode()
    counted = [line for line in text.splitlines() if line.startswith("weir_requests_total{")]
    assert len(counted) == 1
    assert 'outcome="ok"' in counted[0]
    assert counted[0].endswith(" 1.0")
    assert not [
        line for line in text.splitlines() if line.startswith(("weir_tokens_total{", "weir_cost_dollars_total{"))
    ]
    assert (
        'gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="audio",gen_ai_request_model="a"} 1.0'
        in text
    )


async def test_a_sidecar_serves_endpoints_of_its_own_namespace(tmp_path: Path):
    up = Upstream(answer(AUDIO, "audio/mpeg"))
    async with talking(up.talk) as url, sidecar(tmp_path, SimModel("m")) as side:
        config = side.local(SimModel("m"))
        key, tier = next(iter(config.tiers.items()))
        own = msgspec.structs.replace(tier.backends[0], base_url=f"{url}/v1", endpoints=ENDPOINTS)
        routes = (Route(name="all", when=When(operations=frozenset(Operation)), tiers=(TierRef(tier=key),)),)
        policy = msgspec.structs.replace(config.policies[0], routes=routes)
        tiers = {key: msgspec.structs.replace(tier, backends=(own,))}
        side.knows(msgspec.structs.replace(config, tiers=tiers, policies=(policy,)))
        body = form(("file", AUDIO), ("model", b"auto"))
        got = await post(side, "/v1/audio/transcriptions", body, content_type=TYPE, authorization="Bearer x")
        assert got[2] == AUDIO
        assert not side.own, "it was relayed"
    assert up.bodies == [body.replace(b"\r\nauto\r\n", b"\r\nm\r\n")]


async def test_only_backends_that_list_the_endpoint_are_asked():
    a, b = Upstream(answer(b"{}", status="500 Oops")), Upstream(answer(b"{}"))
    async with before(a.talk, b.talk) as s:
        tiers = dict(s.config.tiers)
        first = tiers["llm/t1"]
        tiers["llm/t1"] = msgspec.structs.replace(
            first, backends=(msgspec.structs.replace(first.backends[0], endpoints=("Images",)),)
        )
        s.apply(msgspec.structs.replace(s.config, tiers=tiers))
        assert (await post(s, "/v1/rerank", {"model": "auto", "query": "x", "documents": []}))[0] >= 500
    assert a.bodies
    assert not b.bodies


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files",
        "/v1/batches",
        "/v1/vector_stores/x",
        "/v1/realtime/sessions",
        "/v1/fine_tuning/jobs",
        "/v1/assistants",
        "/v1/threads/t/runs",
        "/v1/uploads",
        "/v1/conversations",
        "/v1/containers",
        "/v1/evals",
        "/v1/videos",
    ],
)
async def test_an_endpoint_that_is_not_served_says_why_and_what_to_do(path: str):
    up = Upstream(answer(b"{}"))
    async with before(up.talk) as s:
        status, _, said = await post(s, path, {"model": "auto"})
        assert status == 404
        message = json.loads(said)["error"]["message"]
        assert "provider" in message or "one account" in message


async def test_a_sidecar_relays_audio_as_it_comes(tmp_path: Path):
    go = asyncio.Event()
    bodies: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append((await one_request(reader))[1])
        writer.write(head("audio/mpeg") + chunk(b"first"))
        await go.wait()
        writer.write(chunk(AUDIO) + END)
        await writer.drain()

    body = form(("file", AUDIO), ("model", b"auto"))
    async with talking(talk) as url:
        changes = {"m": {"base_url": f"{url}/v1", "endpoints": ENDPOINTS}}
        async with (
            sidecar(tmp_path, changes=changes, routes=route(1)) as side,
            posting(side, "/v1/audio/transcriptions", body, content_type=TYPE, authorization="Bearer x") as got,
        ):
            assert (got.status, got.headers["content-type"]) == (200, "audio/mpeg")
            assert await got.content.readexactly(5) == b"first"
            go.set()
            assert await got.content.read() == AUDIO
    assert bodies == [body.replace(b"\r\nauto\r\n", b"\r\nm\r\n")]
