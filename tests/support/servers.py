"""Servers for the transports' tests: scripted sockets, nginx, and certificates of a private CA."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def one_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Reads one request: its head in lower case, and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head, await reader.readexactly(length)


@contextlib.asynccontextmanager
async def talking(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The base URL of a server that runs `talk` on each connection, and closes it after."""

    async def safely(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with (
            contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError),
            contextlib.closing(writer),
        ):
            await talk(reader, writer)

    async with listening(safely, tls) as port:
        yield f"{'https://localhost' if tls else 'http://127.0.0.1'}:{port}"


@contextlib.asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that runs `talk` on each connection; it is gone at the end, with its connections.

    `Server.wait_closed` waits for nothing before Python 3.12: a connection that ends with the loop would be left
    open, and fail the test that runs when it is collected.
    """
    talks: set[asyncio.Task[None]] = set()

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(reader, writer)
        finally:
            writer.close()
            talks.discard(task)

    async with await asyncio.start_server(kept, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
    for task in talks:
        task.cancel()
    await asyncio.gather(*talks, return_exceptions=True)
    for _ in range(TURNS):
        await asyncio.sleep(0)


def certificates(folder: Path) -> Path:
    """`folder` with ca.pem, and server.pem and server.key for localhost signed by it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command, which makes the certificates, is not installed")

    def make(*arguments: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        subprocess.run([openssl, "req", "-x509", *key, *arguments], cwd=folder, check=True, capture_output=True)

    usage = ["-addext", "keyUsage=critical,keyCertSign"]  # Python 3.13 trusts no other authority
    make("-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=private CA", *usage)
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    make(*signed, *name, "-keyout", "server.key", "-out", "server.pem")
    return folder


def server_context(folder: Path) -> ssl.SSLContext:
    """The context of a server with the certificate of `certificates`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose listener's backlog is full: it drops SYNs, as a firewall does."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


@contextlib.contextmanager
def nginx(folder: Path, server: str) -> Iterator[None]:
    """Debian's nginx with `server` as the contents of its only `server` block."""
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(binary).exists():
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
    config = folder / "nginx.conf"
    config.write_text(
        # One process: workers of a root's nginx run as somebody who may not read `folder`.
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log off; client_body_temp_path {folder}/body; {temporary} server {{ {server} }} }}"
    )
    process = subprocess.Popen([binary, "-p", str(folder), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


TURNS = 10
"""Turns of the event loop after which both ends of a local connection have seen its end, with TLS, too."""


async def is_cut(caller: socket.socket) -> bool:
    """Whether the other side closes `caller` within five seconds, without sending anything."""
    caller.setblocking(False)
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(caller, 1), 5) == b""
    return True
