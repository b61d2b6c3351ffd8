"""Hostile neighbours of honest callers, for `make soak` and `bench.tenants`.

    python -m bench.neighbours ROUTER_PORT UPSTREAM_PORT [KIND...]

They never stop: bodies without a key, heads that trickle, gzip bombs, large bodies, new names of features, streams that
are not read, and an upstream of their own that sends comments, tool calls and packed answers without end, breaks, or
refuses like a firewall. Each kind pauses between two attempts, so that the machine's cores are left to the honest load.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

from bench.processes import LOAD_CORE, PROMPT, Process, running
from weir_router.identify.keys import fingerprint

NAMESPACE = "neighbour"
KEY = "weir_neighbour-0123456789abcdef0123456789"
PAUSE = 0.1
"""Seconds between two attempts of one kind."""

HELD = 20
"""Connections that each kind which holds some has at once."""

HOLD_SECONDS = 5.0
"""Seconds for which a connection is held."""

LARGE = 20_000_000
"""Bytes of one text of a large body."""

MODELS = ("comments", "calls", "packed", "endless", "broken", "firewall")
"""Models of the hostile upstream."""

_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_CALLS = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": it, **_CALL} for it in range(10_000)]}}]}
_TEXT = {"choices": [{"index": 0, "delta": {"content": "word " * 200}}]}
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_PACKED = gzip.compress(b'{"choices": [' + b" " * 50_000_000 + b"]}")
_ANSWERS = {
    "comments": _STREAM + b":\n\n" * 200_000,
    "calls": _STREAM + b"data: " + json.dumps(_CALLS).encode() + b"\n\n",
    "packed": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
    + f"content-length: {len(_PACKED)}\r\n\r\n".encode()
    + _PACKED,
    "broken": b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
    "firewall": b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>",
    "endless": _STREAM + (b"data: " + json.dumps(_TEXT).encode() + b"\n\n") * 5_000,
}

Attempt = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def resources(upstream: int) -> list[dict[str, Any]]:
    """The objects of the neighbours' namespace."""
    metadata = {"name": "key", "namespace": NAMESPACE, "labels": {"weir.dev/api-key": "true"}}
    key = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"sha256": fingerprint(KEY)}}
    return [key, *(it for model in MODELS for it in _objects(model, upstream))]


def _objects(model: str, upstream: int) -> list[dict[str, Any]]:
    url, price = f"http://127.0.0.1:{upstream}/v1", {"input": "1", "output": "1"}
    backend = {"name": model, "provider": "OpenAI", "baseURL": url, "model": model, "price": price}
    breaker = {"openFor": "1s", "maxOpenFor": "1s", "slowStart": "1s"}
    policy = {"models": [{"name": model}], "routes": [{"name": "all", "tiers": [{"name": model}]}]}
    specs = {"ModelTier": {"backends": [backend], "breaker": breaker}, "RoutingPolicy": policy}
    common = {"apiVersion": "weir.dev/v1alpha1", "metadata": {"name": model, "namespace": NAMESPACE}}
    return [{**common, "kind": kind, "spec": spec} for kind, spec in specs.items()]


def neighbours(
    folder: Path, router: int, upstream: int, kinds: Sequence[str] = ()
) -> contextlib.AbstractContextManager[Process]:
    """The neighbours of the router on port `router`, of all kinds unless some are named; their upstream listens on
    `upstream`.
    """
    command = [sys.executable, "-m", "bench.neighbours", str(router), str(upstream), *kinds]
    return running(command, upstream, LOAD_CORE, folder / "neighbours.log")


async def _upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        model = json.loads(await reader.readexactly(length))["model"]
        writer.write(_ANSWERS[model])
        await writer.drain()
    writer.close()


def _request(model: str, *headers: str, body: bytes | None = None, size: int | None = None) -> bytes:
    asked = {"model": model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    body = json.dumps(asked).encode() if body is None else body
    length = len(body) if size is None else size
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: 127.0.0.1", *headers, f"content-length: {length}", "", ""]
    return "\r\n".join(lines).encode() + body


_LARGE = json.dumps({"model": "broken", "messages": [{"role": "user", "content": "a " * (LARGE // 2)}]}).encode()
_CALLER = f"authorization: Bearer {KEY}"


async def _without_a_key(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_request("endless", body=b"a" * 1_000_000, size=30_000_000))
    await writer.drain()
    await reader.read()


async def _trickled_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b"POST /v1/chat/completions HTTP/1.1":
        writer.write(bytes((byte,)))
        await asyncio.sleep(HOLD_SECONDS / 20)


async def _bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_request("endless", _CALLER, "content-encoding: gzip", body=_PACKED))
    await writer.drain()
    await reader.readuntil(b"\r\n\r\n")


async def _not_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_request("endless", _CALLER))
    await asyncio.sleep(HOLD_SECONDS)


async def _large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_request("broken", _CALLER, body=_LARGE))
    await writer.drain()
    await reader.readuntil(b"\r\n\r\n")


async def _features(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_request("broken", _CALLER, f"x-weir-feature: f-{secrets.token_hex(8)}"))
    await reader.readuntil(b"\r\n\r\n")


def _asks(model: str) -> Attempt:
    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_request(model, _CALLER))
        await reader.readuntil(b"\r\n\r\n")

    return ask


async def _again(port: int, attempt: Attempt) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                async with asyncio.timeout(2 * HOLD_SECONDS):
                    await attempt(reader, writer)
            finally:
                writer.transport.abort()
        await asyncio.sleep(PAUSE)


KINDS: dict[str, list[Attempt]] = {
    "keyless": [_without_a_key],
    "bomb": [_bomb],
    "large": [_large],
    "features": [_features],
    "trickle": [_trickled_head] * HELD,
    "unread": [_not_read] * HELD,
    **{model: [_asks(model)] for model in MODELS},
}
"""Attempts that each kind of neighbour repeats, by its name."""


async def main(router: int, upstream: int, *kinds: str) -> None:
    """Runs all kinds, or those that are named, until it is stopped."""
    await asyncio.start_server(_upstream, "127.0.0.1", upstream, reuse_address=True)
    await asyncio.gather(*(_again(router, it) for kind in kinds or KINDS for it in KINDS[kind]))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
