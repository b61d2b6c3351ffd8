"""Blame: what one caller provokes counts against no backend. Firewalls, and refusals of single requests."""

import asyncio
import contextlib
import json

import pytest

from support.callers import becomes, one, trail_of
from support.servers import listening, one_request
from support.stand import stand
from weir_cli.sim import SimModel

A = "llm/t0/a"
OK = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


def answer(status, body, kind="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-type: {kind}",
        f"content-length: {len(data)}",
        "connection: close",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + data


def error(status, message, **more):
    return answer(status, {"error": {"message": message, **more}})


@contextlib.asynccontextmanager
async def scripted(script):
    """An upstream that answers `script(body)` to each request; yields its base URL and the bodies it has seen."""
    seen = []

    async def talk(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            _, body = await one_request(reader)
            seen.append(json.loads(body))
            writer.write(script(seen[-1]))
            await writer.drain()

    async with listening(talk) as port:
        yield f"http://127.0.0.1:{port}/v1", seen


def about(word, refused):
    """A script that answers `refused` to requests that hold `word`."""
    return lambda body: refused if word in json.dumps(body["messages"]) else answer(200, OK)


def says(text):
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("page", [b"<html>Attention Required!</html>", b"", b"RBAC: access denied", b"[]"])
async def test_a_firewall_says_nothing_about_the_credential(status, page):
    script = about("<script>", answer(status, page, "text/html"))
    async with scripted(script) as (url, seen), stand([SimModel("a")], changes={"a": {"base_url": url}}) as s:
        refused = [await one(s, **says("What does <script> do?")) for _ in range(6)]
        assert {it.status for it in refused} == {400 if status == 403 else 502}
        assert [outcome for _, outcome in await trail_of(s, refused[0])] == ["blocked"]
        assert (await one(s, **says("Hello"))).text == "fine"
        assert len(seen) == 7  # no request of the router's own


async def test_what_a_firewall_refuses_another_backend_may_answer():
    script = about("<script>", answer(403, b"<html></html>", "text/html"))
    models = [SimModel("a")], [SimModel("b", answer="from b")]
    async with scripted(script) as (url, _), stand(*models, changes={"a": {"base_url": url}}) as s:
        assert (await one(s, **says("<script>"))).text == "from b"


@pytest.mark.parametrize(
    "refused",
    [
        error(402, "This request requires more credits, or fewer max_tokens.", code=402),
        error(403, "Forbidden"),
        error(401, "Unauthorized", type="authentication_error"),
        error(404, "The model does not exist", code="model_not_found"),
    ],
)
async def test_a_refusal_of_one_request_ejects_nothing(refused):
    """The router's own request is answered, so the refusal is about that request."""
    script = about("provoke", refused)
    async with scripted(script) as (url, seen), stand([SimModel("a")], changes={"a": {"base_url": url}}) as s:
        assert (await one(s, **says("provoke"))).status == 502
        await becomes(lambda: not s.router.board.in_doubt(A))
        assert (await one(s, **says("provoke"))).status == 502
        assert not s.router.board.in_doubt(A), "the answer to the router's own request holds for a while"
        assert s.router.board.view()[A].state == "closed"
        own = [body for body in seen if body["messages"] == [{"role": "user", "content": "Hi"}]]
        assert [body["max_tokens"] for body in own] == [1]
        assert (await one(s, **says("Hello"))).text == "fine"


async def test_a_key_that_is_refused_to_the_router_itself_is_out():
    script = about("", error(401, "Incorrect API key provided"))
    async with scripted(script) as (url, seen), stand([SimModel("a")], changes={"a": {"base_url": url}}) as s:
        assert (await one(s)).status == 502
        await becomes(lambda: s.router.board.view()[A].state == "ejected")
        assert len(seen) == 2
        assert (await one(s)).status == 502
        assert len(seen) == 2


async def test_an_upstream_that_cannot_be_asked_stays_in_doubt():
    """The connection breaks for the router's own request: no verdict."""
    refused = error(401, "Incorrect API key provided")
    script = lambda body: refused if body["messages"][0]["content"] != "Hi" else b""
    async with scripted(script) as (url, seen), stand([SimModel("a")], changes={"a": {"base_url": url}}) as s:
        assert (await one(s, **says("Hello"))).status == 502
        await becomes(lambda: len(seen) == 2)
        assert (await one(s, **says("Hello"))).status == 502
        assert (s.router.board.in_doubt(A), s.router.board.view()[A].state) == (True, "closed")
