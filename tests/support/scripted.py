"""Upstreams that answer as a script says, and a router in front of them as `weir up` would make it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from support.servers import one_request, talking
from weir_cli.shared.workspace import open_workspace
from weir_router.app import Router
from weir_router.contract import StateKey

STATE_KEY = StateKey(key=base64.b64encode(bytes(32)).decode())
"""Key that seals ids of stored answers."""

Piece = bytes | float
"""Bytes to send, or seconds to wait before the next ones."""


class Asked(NamedTuple):
    """A request, as an upstream sees it. Header names and values are in lower case."""

    path: str
    headers: dict[str, str]
    body: Any


@contextlib.asynccontextmanager
async def upstream(answer: Callable[[Asked], Iterable[Piece]]) -> AsyncIterator[str]:
    """The base URL of a server that sends the pieces of `answer`, head included, and closes each connection after."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await one_request(reader)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        for piece in answer(Asked(first.split()[1], headers, json.loads(body))):
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            else:
                await asyncio.sleep(piece)

    async with talking(talk) as url:
        yield url


def whole(payload: Any, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """An answer with a JSON body; text goes out as it is."""
    body = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    return head(status, fields) + body


def head(status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """The head of an answer that ends with its connection; by default, of a stream."""
    fields = {"connection": "close", **({"content-type": "text/event-stream"} if headers is None else headers)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode()


@contextlib.asynccontextmanager
async def router(folder: Path, objects: Sequence[dict[str, Any]]) -> AsyncIterator[str]:
    """The URL of a router over these manifests and the real catalogue. Callers need no key."""
    (folder / "manifests.yaml").write_text("\n---\n".join(json.dumps(it) for it in objects))
    workspace = open_workspace(folder / "manifests.yaml", environ={})
    assert not workspace.errors, workspace.errors
    async with Router(port=0, admin_port=0, grace=1.0) as running:
        config = msgspec.structs.replace(workspace.config, anonymous_namespace="default")
        running.store.apply(config, msgspec.structs.replace(workspace.secrets, state_keys=(STATE_KEY,)))
        yield running.url


def tier(name: str, *backends: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A ModelTier."""
    return _object("ModelTier", name, {"backends": list(backends), **spec})


def policy(name: str, models: Sequence[str], tiers: Sequence[str], **spec: Any) -> dict[str, Any]:
    """A RoutingPolicy with one route over `tiers`."""
    routes = [{"name": "all", "tiers": [{"name": it} for it in tiers]}]
    return _object("RoutingPolicy", name, {"models": [{"name": it} for it in models], "routes": routes, **spec})


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "weir.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
