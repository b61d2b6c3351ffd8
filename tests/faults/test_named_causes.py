"""The cause of a failure has the same name everywhere: in the caller's error, in `/state` and in the metrics.

An engineer who is called at 3 am must not rotate keys because the name of a model is wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from support.scripted import upstream, whole
from support.servers import certificates, server_context
from support.stand import KEY, NAMESPACE, UPSTREAM_KEY, config_for
from weir_router.app import Router
from weir_router.contract import Backend, CallerKey, Dialect, Secrets, Transport
from weir_router.identify.keys import fingerprint

BACKEND = "llm/t0/b"


class Seen(NamedTuple):
    """The answers to four requests, and the router's own pages after them."""

    answers: list[tuple[int, str, str]]  # status, code, message
    state: dict[str, Any]
    metrics: str


def said(message: str, code: str | None = None, kind: str | None = None) -> dict[str, Any]:
    """An error of OpenAI's format."""
    return {"error": {"message": message, "code": code, "type": kind, "param": None}}


async def seen(base: str, requests: int = 4) -> Seen:
    """Sends requests to a router whose one backend is at `base`."""
    backend = Backend(
        name="b",
        provider=Dialect.OPENAI,
        base_url=base,
        model="m",
        credential="upstream",
        transport=Transport.AS_ASKED,
    )
    keys = {fingerprint(KEY): CallerKey(namespace=NAMESPACE, name="tester")}
    async with Router(port=0, admin_port=0, grace=0.1) as router, aiohttp.ClientSession() as session:
        router.store.apply(config_for([[backend]]), Secrets(credentials={"upstream": UPSTREAM_KEY}, caller_keys=keys))
        answers = []
        for _ in range(requests):
            body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
            headers = {"authorization": f"Bearer {KEY}"}
            async with session.post(f"{router.url}/v1/chat/completions", json=body, headers=headers) as answer:
                error = (await answer.json())["error"]
                answers.append((answer.status, error["code"], error["message"]))
        async with session.get(f"{router.admin_url}/state") as answer:
            state = (await answer.json())["backends"][BACKEND]
        async with session.get(f"{router.admin_url}/metrics") as answer:
            return Seen(answers, state, await answer.text())


@pytest.mark.parametrize(
    ("answer", "status", "code", "kind", "words"),
    [
        (whole(said(f"Incorrect API key provided: {UPSTREAM_KEY}.", "invalid_api_key"), 401), 502,
         "upstream_credentials", "credential", "Incorrect API key provided: [redacted]"),
        (whole(said("Your key may not use this project", "access_denied"), 403), 502,
         "upstream_credentials", "credential", "Your key may not use this project"),
        (whole(said("Project `p` does not have access to model `m`", "model_not_found"), 403), 502,
         "upstream_model_missing", "model", "Project `p` does not have access to model `m`"),
        (whole(said("The model `m` does not exist", "model_not_found"), 404), 502,
         "upstream_model_missing", "model", "The model `m` does not exist"),
        (whole("<html>Not Found</html>", 404, {"content-type": "text/html"}), 502,
         "upstream_model_missing", "model", "HTTP 404 with 22 bytes of text/html"),
        (whole("", 302, {"location": "https://login.example/"}), 502,
         "upstream_model_missing", "model", "HTTP 302 redirects, which is not followed"),
        (whole(said("You exceeded your current quota", "insufficient_quota"), 429), 502,
         "upstream_credit", "credit", "You exceeded your current quota"),
        (whole(said("Insufficient Balance"), 402), 502, "upstream_credit", "credit", "Insufficient Balance"),
        (whole(said("Rate limit reached", "rate_limit_exceeded"), 429), 429,
         "rate_limit_exceeded", "rate_limit", "Rate limit reached"),
        (whole(said("Boom", "server_error"), 500), 503, "all_backends_unavailable", "server", "HTTP 500, server_error"),
        (whole("<html/>", 503, {"content-type": "text/html"}), 503, "all_backends_unavailable", "overload", "HTTP 503"),
    ],
)  # fmt: skip
async def test_an_upstreams_refusal_has_one_name(answer: bytes, status: int, code: str, kind: str, words: str) -> None:
    async with upstream(lambda asked: [answer]) as base:
        found = await seen(base)
    _agree(found, status, code, kind, words)


def _agree(found: Seen, status: int, code: str, kind: str, words: str) -> None:
    assert {it[:2] for it in found.answers} == {(status, code)}
    first, last = found.answers[0][2], found.answers[-1][2]
    assert all(BACKEND in it for it in (first, last))  # the failed backend is named
    assert kind in last or words in last  # although it may not have been asked any more
    assert found.state["words"].startswith(f"{kind}: {words}")
    assert found.state["reason"] in (kind, None)
    assert f'weir_attempts_total{{backend="b",outcome="{kind}",tier="llm/t0"}}' in found.metrics
    assert ("credential" in json.dumps(found)) == (kind == "credential")
    assert UPSTREAM_KEY not in json.dumps(found)


@asynccontextmanager
async def untrusted(folder: Path) -> AsyncIterator[str]:
    """The base URL of a TLS server whose authority is not known here."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=server_context(certificates(folder)))
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/v1"


async def test_a_connection_that_cannot_be_made_says_which_part_failed(tmp_path: Path) -> None:
    async with untrusted(tmp_path) as base:
        tls = await seen(base)
    _agree(tls, 503, "all_backends_unavailable", "connect", "TLS failed: certificate verify failed: ")
    closed = await seen("http://127.0.0.1:9/v1")
    _agree(closed, 503, "all_backends_unavailable", "connect", "cannot connect: Connection refused")
    unknown = await seen("http://no-such-host.invalid/v1")
    _agree(unknown, 503, "all_backends_unavailable", "connect", "cannot look up the host of baseURL: ")
    assert not any(it in json.dumps([closed, unknown]) for it in ("127.0.0.1", "no-such-host"))
