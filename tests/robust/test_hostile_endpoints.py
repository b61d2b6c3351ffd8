"""Hostile callers and upstreams of the endpoints beside chat: models that the router does not see, errors and keys in
answers of any type.
"""

from __future__ import annotations

import json

import pytest

from robust.test_passed_endpoints import SPEAK, Upstream, answer, before, chunk, head, post
from support.stand import UPSTREAM_KEY

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
