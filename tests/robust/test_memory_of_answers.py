"""Bytes are counted while they are held: large requests, answers that are put together, answers that are not read."""

import asyncio
import contextlib
import io
import json

import aiohttp
import pytest

from support.callers import one
from support.servers import one_request, talking
from support.stand import KEY, stand
from weir_cli.sim import SimModel
from weir_router.admit.memory import PER_BYTE
from weir_router.contract import Dialect, PromptLogging

MB = 1024 * 1024
PATHS = {Dialect.OPENAI: "/v1/chat/completions", Dialect.ANTHROPIC: "/v1/messages"}
OPENAI_WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}]}


class Upstream:
    """An upstream that answers once it may; the first answers may be failures."""

    def __init__(self, *answers):
        self.heard = []
        self.came = asyncio.Event()
        self.go = asyncio.Event()
        self._answers = list(answers)

    async def talk(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                self.heard.append((await one_request(reader))[1])
                self.came.set()
                await self.go.wait()
                writer.write(self._answers.pop(0))
                await writer.drain()


def answer(body, status="200 OK", kind="application/json"):
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def whole(text="zip"):
    said = {**OPENAI_WHOLE["choices"][0], "message": {"role": "assistant", "content": text}}
    return json.dumps({"choices": [said], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()


def chunk(text, finish=None):
    return (
        b"data: %b\n\n"
        % json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}).encode()
    )


@contextlib.asynccontextmanager
async def before(upstream, memory=64 * MB, **policy):
    """A router before this upstream, with a session of a caller."""
    async with (
        talking(upstream.talk) as url,
        stand([SimModel("a")], memory=memory, changes={"a": {"base_url": url}}, **policy) as s,
        aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
    ):
        s.session = session
        yield s
        upstream.go.set()
        await idle(s)


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # noqa: ASYNC110 - the count has no event
            await asyncio.sleep(0.001)


async def held(s, least, most):
    await until(lambda: least <= s.router.memory.held <= most)


async def idle(s):
    await held(s, 0, 0)


def body_of(size, dialect=Dialect.OPENAI, **more):
    text = "word " * (size // 5)
    fields = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": text}], **more}
    return json.dumps(fields).encode()


async def ask(s, body, dialect=Dialect.OPENAI):
    data = io.BytesIO(body)  # aiohttp warns about large bytes
    async with s.session.post(s.url + PATHS[dialect], data=data, headers={"content-type": "application/json"}) as got:
        return got.status, {name.lower(): value for name, value in got.headers.items()}, await got.read()


@pytest.mark.parametrize("dialect", Dialect)
async def test_a_large_request_is_held_once_while_the_upstream_thinks_and_not_after_its_content(dialect):
    """If it is translated, its outgoing body is held until the upstream's headers."""
    up = Upstream(answer(chunk("zip"), kind="text/event-stream").replace(b"content-length", b"x-length"))
    async with before(up) as s:
        body = body_of(MB, dialect, stream=True)
        asked = asyncio.create_task(ask(s, body, dialect))
        await asyncio.wait_for(up.came.wait(), 10)
        copies = 1 if dialect is Dialect.OPENAI else 2
        await held(s, copies * MB * 0.98, copies * MB * 1.02)
        up.go.set()
        await held(s, 0, 0)
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asked
        sent = json.loads(up.heard[0])
        same = sent["messages"][0]["content"] == json.loads(body)["messages"][0]["content"]
        assert same


@pytest.mark.parametrize("dialect", Dialect)
async def test_another_attempt_sends_the_same_large_request(dialect):
    up = Upstream(answer(b'{"error": {"message": "no"}}', "500 Oops"), answer(whole()))
    up.go.set()
    async with before(up) as s:
        body = body_of(MB, dialect, temperature=0.5)
        status, _, _ = await ask(s, body, dialect)
        assert status == 200
        first, second = map(json.loads, up.heard)
        same = first == second
        assert same
        assert first["temperature"] == 0.5
        assert len(first["messages"][0]["content"]) > 0.9 * MB


async def test_a_prompt_that_is_logged_stays():
    up = Upstream(answer(whole()))
    up.go.set()
    async with before(up, prompt_logging=PromptLogging.FULL) as s:
        assert (await ask(s, body_of(MB)))[0] == 200
        assert len(s.last["prompt"]) > 0.9 * MB


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_without_memory_for_it_is_a_503_that_names_the_budget(streamed):
    """Put together from a stream, or whole. The backend is not to blame."""
    stream = b"".join(chunk("word " * 100) for _ in range(1000)) + chunk("", "stop") + b"data: [DONE]\n\n"
    large = answer(stream, kind="text/event-stream") if streamed else answer(whole("word " * 200_000))
    up = Upstream(large, answer(whole()))
    up.go.set()
    async with before(up, memory=MB // 2) as s:
        status, headers, body = await ask(s, body_of(100))
        assert (status, headers["retry-after"]) == (503, "2")
        assert headers["x-weir-error-source"] == "router"
        assert b"--memory" in body
        assert s.router.board.view()["llm/t0/a"].state == "closed"
        await idle(s)
        assert (await ask(s, body_of(100)))[0] == 200


async def reading_nothing(s, body):
    """A caller that sends a request and reads nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(s.url.rpartition(":")[2]), limit=1024)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    writer.transport.pause_reading()
    return reader, writer


async def test_a_whole_answer_is_counted_until_its_caller_has_read_it():
    text = "word " * 1_500_000
    up = Upstream(answer(whole(text)))
    up.go.set()
    async with before(up) as s:
        reader, writer = await reading_nothing(s, body_of(100))
        await held(s, 7 * MB, 9 * MB)
        writer.transport.resume_reading()
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        got = await reader.readexactly(size)
        same = json.loads(got)["choices"][0]["message"]["content"] == text
        assert same
        await idle(s)
        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n")  # the connection goes on
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        writer.close()


async def test_a_caller_that_leaves_without_reading_gives_all_back():
    up = Upstream(answer(whole("word " * 1_500_000)))
    up.go.set()
    async with before(up) as s:
        _, writer = await reading_nothing(s, body_of(100))
        await held(s, 7 * MB, 9 * MB)
        writer.transport.abort()
        await idle(s)


@pytest.mark.parametrize("memory", [MB, 128 * 1024])
async def test_a_stream_that_is_not_read_is_counted_and_cut_off_without_memory(memory):
    async def endless(reader, writer):
        await one_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(chunk("word " * 1000))
                await writer.drain()

    async with (
        talking(endless) as url,
        stand([SimModel("a")], memory=memory, changes={"a": {"base_url": url}}) as s,
    ):
        _, writer = await reading_nothing(s, body_of(100, stream=True))
        if memory == MB:
            await held(s, 256 * 1024, 300 * 1024)
        else:
            await until(lambda: s.log.lines)
        writer.transport.abort()
        await idle(s)


async def test_a_body_of_too_many_items_is_refused_before_it_is_decoded():
    async with stand([SimModel("m")]) as s:
        items = b"{}," * 600_000
        body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}],"x":[' + items + b"1]}"
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
            session.post(s.url + PATHS[Dialect.OPENAI], data=io.BytesIO(body)) as got,
        ):
            assert got.status == 413
            assert "1000000 items" in await got.text()


async def test_items_are_counted_as_memory():
    items = b"{}," * 300_000
    body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}],"x":[' + items + b"1]}"
    async with stand([SimModel("m")], memory=len(body) * PER_BYTE + 10 * MB) as s:
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session,
            session.post(s.url + PATHS[Dialect.OPENAI], data=io.BytesIO(body)) as got,
        ):
            assert got.status == 503
            assert "--memory" in await got.text()
        assert (await one(s)).status == 200


async def test_the_number_of_held_bytes_is_a_metric():
    up = Upstream(answer(whole()))
    async with before(up) as s:
        asked = asyncio.create_task(ask(s, body_of(MB)))
        await asyncio.wait_for(up.came.wait(), 10)
        await held(s, 0.98 * MB, 1.02 * MB)
        async with s.session.get(s.router.admin_url + "/metrics") as got:
            line = next(it for it in (await got.text()).splitlines() if it.startswith("weir_held_bytes "))
        assert 0.98 * MB <= float(line.split()[1]) <= 1.02 * MB
        up.go.set()
        assert (await asked)[0] == 200
