"""Instructions of a plain request and of a streamed chunk, counted by valgrind's callgrind in a real router process.

    python -m bench.instructions [--compiled build/compiled] [--requests 200]

`weir up` runs under callgrind with one caller and one upstream, both outside of it. Counting begins after a warm-up, so
start-up hardly matters. Two runs mostly differ by 0.1 % in a plain request, and by 3 % in a short stream; now and then
one is half as much again, with work of the start in it. Repeat, and take the lowest. Needs valgrind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.processes import PROMPT, free_port

WARM = 150
"""Requests before the count begins: objects that are made once are made then."""

MANIFESTS = """
{kind: RoutingPolicy, apiVersion: weir.dev/v1alpha1, metadata: {name: p}, spec: {models: [{name: auto}], routes: [
  {name: quick, when: {complexity: [Simple], promptTokens: {max: 2000}}, tiers: [{name: a}, {name: b}]},
  {name: rest, tiers: [{name: b}, {name: a}]}]}}
""" + "".join(
    f"""---
{{kind: ModelTier, apiVersion: weir.dev/v1alpha1, metadata: {{name: {name}}}, spec: {{backends: [
  {{name: m, provider: OpenAI, baseURL: "http://ADDRESS/v1", model: m, dialects: [Chat, Responses],
   price: {{input: "1", output: "2"}}}}]}}}}
"""
    for name in "ab"
)
CALLGRIND = ("valgrind", "--tool=callgrind")
USAGE = {"prompt_tokens": 30, "completion_tokens": 60, "total_tokens": 90}


class Upstream:
    """Answers whole, or as a stream of `chunks` chunks, each of which waits for `go`. `responses`: such an API's."""

    def __init__(self, chunks: int, *, responses: bool = False) -> None:
        self.go: asyncio.Queue[None] = asyncio.Queue()
        self._chunks = chunks
        self._begin, self._word, self._end = (_BEGUN, _said, _ENDED) if responses else (_ROLE, _word, _STOP)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the router."""
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
            except asyncio.IncompleteReadError:
                return
            if self._chunks:
                await self._stream(writer)
            else:
                message = {"role": "assistant", "content": "word " * 60}
                choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
                body = _encoded(choices=choices, usage=USAGE)
                fields = b"content-type: application/json\r\ncontent-length: %d" % len(body)
                writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (fields, body))

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        fields = b"content-type: text/event-stream\r\ntransfer-encoding: chunked"
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (fields, self._begin))
        for number in range(self._chunks):
            await self.go.get()
            writer.write(self._word(number))
        await self.go.get()
        writer.write(self._end + b"0\r\n\r\n")


def _encoded(**more: object) -> bytes:
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", **more}).encode()


def _delta(delta: dict[str, str], reason: str | None = None) -> bytes:
    return _event(_encoded(choices=[{"index": 0, "delta": delta, "finish_reason": reason}]))


def _word(number: int) -> bytes:
    return _delta({"content": f" word{number % 7}"})


def _event(data: bytes, name: bytes = b"") -> bytes:
    """One event as one chunk."""
    event = (b"event: " + name + b"\n" if name else b"") + b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _numbered(kind: str, number: int, **data: object) -> bytes:
    """An event of the Responses API."""
    fields = {"type": f"response.{kind}", "sequence_number": number, **data}
    return _event(json.dumps(fields, separators=(",", ":")).encode(), str(fields["type"]).encode())


def _said(number: int) -> bytes:
    return _numbered("output_text.delta", number + 4, **_AT, delta=f" word{number % 7}", logprobs=[], obfuscation="x")


_ROLE = _delta({"role": "assistant", "content": ""})
_STOP = _delta({}, "stop") + _event(_encoded(choices=[], usage=USAGE)) + _event(b"[DONE]")
_RESPONSE = {"id": "resp_1", "object": "response", "model": "m", "status": "in_progress", "output": []}
_ITEM = {"id": "msg_68a1b2c3d4e5f6", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
_AT = {"item_id": _ITEM["id"], "output_index": 0, "content_index": 0}
_BEGUN = b"".join(
    (
        _numbered("created", 0, response=_RESPONSE),
        _numbered("in_progress", 1, response=_RESPONSE),
        _numbered("output_item.added", 2, output_index=0, item=_ITEM),
        _numbered("content_part.added", 3, **_AT, part={"type": "output_text", "text": ""}),
    )
)
_ENDED = _numbered("completed", 1000, response={**_RESPONSE, "status": "completed", "output": [_ITEM], "usage": {
    "input_tokens": 30, "output_tokens": 60, "total_tokens": 90}})  # fmt: skip


def _length(head: bytes) -> int:
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert found is not None
    return int(found[1])


async def counted(compiled: Path | None, requests: int, chunks: int, *, responses: bool = False) -> float:
    """Instructions of one request; 0 `chunks`: a plain one. `responses`: to the Responses API."""
    upstream = Upstream(chunks, responses=responses)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    port, admin = free_port(), free_port()
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), MANIFESTS.replace("ADDRESS", address))
        command = [*CALLGRIND, f"--callgrind-out-file={folder}/count", sys.executable, "-m", "weir_cli", "up", folder]
        path = ":".join(filter(None, [str(compiled) if compiled else "", *sys.path]))
        router = await asyncio.create_subprocess_exec(
            *command, "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}",
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": path},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await _ready(router, admin)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(WARM):
                await _ask(upstream, reader, writer, chunks, responses)
            await _control("--zero", router.pid)
            for _ in range(requests):
                await _ask(upstream, reader, writer, chunks, responses)
            await _control("--dump", router.pid)
            total = _total(Path(folder, "count.1"))
        finally:
            router.terminate()
            await router.wait()
            server.close()
    return total / requests


def _write(folder: Path, manifests: str) -> None:
    (folder / "all.yaml").write_text(manifests)


def _total(counts: Path) -> int:
    (found,) = re.findall(r"^(?:summary|totals): (\d+)", counts.read_text(), re.MULTILINE)[:1]
    return int(found)


async def _ready(router: asyncio.subprocess.Process, port: int) -> None:
    while router.returncode is None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            ready = b" 200 " in await reader.readuntil(b"\r\n")
            writer.close()
            if ready:
                return
        await asyncio.sleep(0.2)
    raise RuntimeError("the router ended before it served")


async def _control(command: str, pid: int) -> None:
    process = await asyncio.create_subprocess_exec(
        "callgrind_control", command, str(pid), stdout=asyncio.subprocess.DEVNULL
    )
    if await process.wait():
        raise RuntimeError(f"callgrind_control {command} failed")


async def _ask(
    upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunks: int, responses: bool
) -> None:
    path = b"/v1/responses" if responses else b"/v1/chat/completions"
    messages = [{"role": "user", "content": PROMPT}]
    asked: dict[str, object] = {"model": "auto", ("input" if responses else "messages"): messages}
    if chunks:
        asked |= {"stream": True} if responses else {"stream": True, "stream_options": {"include_usage": True}}
        upstream.go.put_nowait(None)
    body = json.dumps(asked).encode()
    fields = b"host: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d" % len(body)
    writer.write(b"POST %b HTTP/1.1\r\n%b\r\n\r\n%b" % (path, fields, body))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], head
    if not chunks:
        await reader.readexactly(_length(head))
        return
    come = b""
    for number in range(chunks):
        while come.count(b" word") <= number:
            come += await reader.read(65536)
        upstream.go.put_nowait(None)
    while not come.endswith(b"0\r\n\r\n"):
        come += await reader.read(65536)


async def measure(compiled: Path | None, requests: int) -> Sequence[tuple[str, float]]:
    """The figures, one after the other: two routers under callgrind at once would only be slower."""
    plain = await counted(compiled, requests, 0)
    short, long = await counted(compiled, requests, 1), await counted(compiled, requests, 101)
    few, many = [await counted(compiled, requests, chunks, responses=True) for chunks in (1, 101)]
    return [
        ("plain request", plain),
        ("stream of one chunk", short),
        ("further chunk", (long - short) / 100),
        ("stream of the Responses API with one delta", few),
        ("further delta", (many - few) / 100),
    ]


def main() -> None:
    """Counts and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions")
    parser.add_argument("--compiled", type=Path, help="folder of hack/compile; default: plain Python")
    parser.add_argument("--requests", type=int, default=200, help="requests that are counted; default: %(default)s")
    options = parser.parse_args()
    if shutil.which("callgrind_control") is None:
        parser.error("valgrind is not installed. On Debian: apt-get install valgrind")
    for name, count in asyncio.run(measure(options.compiled, options.requests)):
        print(f"{name}: {count / 1000:.1f} thousand instructions")


if __name__ == "__main__":
    main()
