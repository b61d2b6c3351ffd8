"""Random HTTP by the rules of RFC 9112, and a little beside them: no request is hidden in another one."""

from __future__ import annotations

import asyncio
import logging
import random
import re

import pytest

from robust.fuzz import seeds
from robust.test_odd_http import GOOD, PATH
from support.stand import KEY, Stand, stand
from weir_cli.sim import SimModel

CALLER = f"authorization: Bearer {KEY}"
HIDDEN = f"GET /v1/models/hidden HTTP/1.1\r\nhost: x\r\n{CALLER}\r\nconnection: close\r\n\r\n".encode()
"""A request within the body of another. Its answer names the model `hidden`, which no other answer does."""

BODY = GOOD[:-1] + b',"user":"' + HIDDEN.replace(b"\r\n", b"\\r\\n") + b'"}'
"""A body in which the hidden request is only text."""

END = b"\x00" * 100_000
"""More bytes than any body here lacks, and no request. So the router always answers, and closes."""

STARTS = [
    f"POST {PATH} HTTP/1.1",
    f"POST {PATH}?a=b HTTP/1.1",
    f"POST http://x{PATH} HTTP/1.1",
    f"POST {PATH} HTTP/1.0",
    f"post {PATH} HTTP/1.1",
    f"POST  {PATH} HTTP/1.1",
    f"POST\t{PATH}\tHTTP/1.1",
    f"POST {PATH} HTTP/1.1 ",
    f"POST {PATH} HTTP/1.10",
    f"POST {PATH} HTTP/2.0",
    f"POST {PATH}",
    "OPTIONS * HTTP/1.1",
    "CONNECT x:80 HTTP/1.1",
    "GET /v1/models HTTP/1.1",
    "HEAD /v1/models HTTP/1.1",
    f"\r\nPOST {PATH} HTTP/1.1",
    "TRACE / HTTP/1.1",
]
HOSTS = ["host: x", "Host: x", "host: x\r\nhost: x", "host:", "host: x, y", "host : x", "host: x\x00", "", " host: x"]
LENGTHS = [
    "{}",
    "{}, {}",
    "+{}",
    "0{}",
    "{} ",
    "0x{:x}",
    "{}\r\ncontent-length: {}",
    "{}\r\ncontent-length: 0",
    "-1",
    "",
]
CODINGS = ["chunked", "Chunked", "gzip, chunked", "chunked, identity", "identity", "chunked, chunked", "xchunked", ""]
OTHERS = [
    "",
    "connection: close",
    "connection: keep-alive, upgrade\r\nupgrade: websocket",
    "connection: transfer-encoding",
    "expect: 100-continue",
    "expect: 200-ok",
    "x: a\r\n b",
    "x: a\rb",
    "x\r\n",
    "x: \x7f\x01",
    "te: trailers",
    "content-length : 3",
    "transfer-encoding\t: chunked",
    "x:" + "y" * 70_000,
]
SIZES = [b"%x", b"%X", b"0%x", b"%x;ext=1", b'%x;a="\r\n"', b"%x ", b" %x", b"+%x", b"0x%x", b"-%x", b"%x\r", b"%xf"]
ENDS = [
    b"0\r\n\r\n",
    b"0\r\na: b\r\n\r\n",
    b"0\r\ncontent-length: 9\r\n\r\n",
    b"0\r\n",
    b"00\r\n\r\n",
    b"0;x\r\n\r\n",
    b"",
]


def mostly(rng: random.Random, values: list[str]) -> str:
    """The first value, which is right, or sometimes another one."""
    return values[0] if rng.random() < 0.9 else rng.choice(values)


def chunked(body: bytes, rng: random.Random) -> bytes:
    """`body` in chunks, with some of the odd ways to write them."""
    wire, odd = b"", rng.random() < 0.5
    while body:
        part, body = (body[:size], body[size:]) if (size := rng.choice((1, 7, 100, 4000))) else (body, b"")
        wire += (rng.choice(SIZES) if odd and rng.random() < 0.3 else b"%x") % len(part) + b"\r\n" + part
        wire += b"\n" if odd and rng.random() < 0.1 else b"\r\n"
    return wire + (rng.choice(ENDS) if odd else ENDS[0])


def message(rng: random.Random) -> bytes:
    """One request, right or not in one or more of its parts. It never says that a body with `HIDDEN` ends early."""
    body = rng.choice((GOOD, BODY, HIDDEN, b"", GOOD + HIDDEN))
    lines = [mostly(rng, STARTS), mostly(rng, HOSTS), CALLER, mostly(rng, OTHERS)]
    framing, wire = rng.random(), body
    if framing < 0.6:
        sizes = [len(body), len(body) + 1, 10**20] + ([0, 1, len(body) // 2] if HIDDEN not in body else [])
        size = sizes[0] if rng.random() < 0.7 else rng.choice(sizes)
        lines.append("content-length: " + mostly(rng, LENGTHS).format(size, size))
    if framing > 0.5:
        lines.append("transfer-encoding: " + mostly(rng, CODINGS))
        wire = chunked(body, rng)
    end = "\r\n" if rng.random() < 0.95 else rng.choice(("\n", "\r"))
    return (end.join(line for line in lines if line) + end * 2).encode("latin-1") + wire


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 1, 5))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def talk(it: Stand, seed: int) -> tuple[list[bytes], bytes]:
    """The messages that went out, and the bytes that came back until the end."""
    rng = random.Random(seed)
    sent = [message(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
    host, _, port = it.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces(b"".join(sent) + END, rng):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return sent, await asyncio.wait_for(reader.read(), 20)
    except OSError:
        return sent, b""
    finally:
        writer.transport.abort()


def check(seed: int, sent: list[bytes], answer: bytes) -> None:
    told = f"seed {seed}: {answer[:600]!r} for {b''.join(sent)[:3000]!r}"
    assert b"Traceback" not in answer, told
    assert b"internal_error" not in answer, told
    assert b"hidden" not in answer, told
    assert not answer or answer.startswith(b"HTTP/1."), told
    statuses = [it for it in re.findall(rb"HTTP/1\.[01] (\d+) ", answer) if it != b"100"]
    assert len(statuses) <= len(sent) + 1, told  # and one for what remains of a body that was too long


async def test_random_http_hides_no_request_and_good_ones_are_served(caplog: pytest.LogCaptureFixture) -> None:
    async with stand([SimModel("m")]) as it:
        for batch in seeds(20):
            for seed, found in zip(batch, await asyncio.gather(*(talk(it, seed) for seed in batch)), strict=True):
                check(seed, *found)
            good = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n{CALLER}\r\nconnection: close\r\n"
            host, _, port = it.url.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"{good}content-length: {len(GOOD)}\r\n\r\n".encode() + GOOD)
            assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 200")
            writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
