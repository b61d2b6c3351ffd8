"""Hostile callers and upstreams of the endpoints beside chat: models that the router does not see, errors and keys in
answers of any type.
"""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import aiohttp
import pytest

from robust.test_passed_endpoints import SPEAK, Upstream, answer, before, chunk, head, post
from support.servers import talking
from support.stand import KEY, UPSTREAM_KEY, stand
from weir_cli.sim import SimModel

TYPES = ["audio/mpeg", "text/plain", "application/octet-stream", "image/png", "application/json", "text/event-stream"]
PATHS = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "/v1/responses": {"input": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/v1/moderations": {"input": "hi"},
    "/v2/rerank": {"query": "hi", "documents": ["hi"]},
    "/openai/deployments/auto/completions": {"prompt": "hi"},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["Model", "MODEL", "mOdel"])
async def test_a_second_spelling_of_the_model_reaches_no_upstream(path: str, name: str) -> None:
    """A server in Go takes the last of both, and would answer with a model that the router does not allow."""
    up = Upstream(answer(b"{}"))
    async with before(up.talk) as s:
        status, _, body = await post(s, path, {"model": "auto", **PATHS[path], name: "another"})
        assert (status, b"lower case" in body) == (400, True)
        assert (await post(s, "/v1/moderations", {"model": "auto", "input": "hi", "models": ["b"]}))[0] == 200
    assert len(up.bodies) == 1


@pytest.mark.parametrize("kind", TYPES)
async def test_an_answer_of_any_type_shows_no_key(kind: str) -> None:
    said = json.dumps({"seen": f"authorization: Bearer {UPSTREAM_KEY}"}).encode()
    told = b"data: " + said + b"\n\n" if kind == "text/event-stream" else said
    streamed = head(kind) + chunk(b"data: {}\n\n") + chunk(told) + b"0\r\n\r\n"
    for whole in (answer(told, kind), streamed):
        if whole is streamed and kind == "application/json":
            continue
        async with before(Upstream(whole).talk) as s:
            status, _, body = await post(s, "/v1/audio/speech", SPEAK)
        assert status == 200
        assert (UPSTREAM_KEY.encode() in body, b"[redacted]" in body) == (False, True)


@pytest.mark.parametrize("kind", ["audio/mpeg", "text/plain", ""])
@pytest.mark.parametrize("spaces", [b"", b" \r\n"])
async def test_an_error_under_the_type_of_an_answer_is_tried_elsewhere(kind: str, spaces: bytes) -> None:
    ill, well = Upstream(answer(spaces + b'{"error": {"message": "overloaded"}}', kind)), Upstream(answer(b"ok", kind))
    async with before(ill.talk, well.talk) as s:
        status, headers, body = await post(s, "/v1/audio/speech", SPEAK)
        assert (status, headers["x-weir-backend"], body) == (200, "b", b"ok")


@pytest.mark.parametrize("text", [b"{laughs} hello", b'{"text": "hi"}', b"  \r\n", b"{" * 300_000, b'["a"]'])
async def test_text_that_begins_like_an_object_passes(text: bytes) -> None:
    async with before(Upstream(answer(text, "text/plain")).talk) as s:
        assert (await post(s, "/v1/audio/speech", SPEAK))[2] == text


@pytest.mark.parametrize("id", ["../../admin", "..", "resp_1?x=1", "a/cancel", "%2e%2e/%2e%2e", "#a", "r\r\nx: y", "é"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_id_of_an_upstream_leads_to_none_of_its_other_paths(id: str, method: str) -> None:
    """An upstream makes up an id. The request for it goes out with the platform's key."""
    item = {"type": "message", "role": "assistant", "id": "m", "content": [{"type": "output_text", "text": "hi"}]}
    whole = answer(json.dumps({"id": id, "object": "response", "status": "completed", "output": [item]}).encode())
    targets: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            targets.append(head.split(" ")[1])
            sizes = [it.partition(":")[2] for it in head.lower().split("\r\n") if it.startswith("content-length:")]
            await reader.readexactly(int(sizes[0]) if sizes else 0)
            writer.write(whole)
            await writer.drain()

    async with talking(talk) as url:
        changes = {"a": {"base_url": f"{url}/v1", "formats": ("Responses",), "account": "AAAAAAAAAAAAAAAA"}}
        async with (
            stand([SimModel("a")], changes=changes) as s,
            aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as http,
        ):
            async with http.post(f"{s.url}/v1/responses", json={"model": "auto", "input": "x"}) as made:
                sealed = (await made.json())["id"]
            async with http.request(method, f"{s.url}/v1/responses/{sealed}") as got:
                assert got.status == (404 if id == ".." else 200)
    assert targets[1:] == ([] if id == ".." else [f"/v1/responses/{quote(id, safe='=:')}"])
