"""The network before a simulated model: a TCP relay that can fail in ways that no HTTP server can. Used by `fleet`.

- `moves`: the name of the backend moves to another address. The old one serves the connections it has, and takes no
  new ones.
- `tls`: TLS in front; a handshake meets garbage, and open connections break.
- `half-open`: what goes over connections that are open at this moment is swallowed, in both directions; new ones work.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from pathlib import Path

OLD, NEW = "127.0.0.1", "127.0.0.2"
NAME = "moving.test"
CHUNK = 65536


class Front:
    """One relay to `port` on this machine."""

    def __init__(self, kind: str, port: int, folder: Path) -> None:
        self._kind = kind
        self._upstream = port
        self._folder = folder
        self._servers: list[asyncio.Server] = []
        self._open: set[_Relay] = set()
        self.port = 0
        self.last_on_old: float | None = None  # when the old address last got bytes of a request

    @property
    def url(self) -> str:
        """URL for the backend's `baseURL`, with the port."""
        host = {"moves": NAME, "tls": "localhost"}.get(self._kind, OLD)
        return f"{'https' if self._kind == 'tls' else 'http'}://{host}:{self.port}"

    @property
    def hosts(self) -> Path:
        """The file that `bench.faults.resolving` reads."""
        return self._folder / "hosts"

    async def start(self) -> None:
        """Listens, and works."""
        self._point(OLD)
        context = _context(self._folder) if self._kind == "tls" else None
        server = await asyncio.start_server(self._accept, OLD, 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)
        if self._kind == "moves":
            self._servers.append(await asyncio.start_server(self._accept, NEW, self.port))

    async def fail(self) -> None:
        """The fault begins."""
        if self._kind == "half-open":
            for relay in self._open:
                relay.dead = True
            return
        self._servers.pop(0).close()
        if self._kind == "moves":
            self._point(NEW)
        else:
            for relay in list(self._open):
                relay.abort()
            self._servers.append(await asyncio.start_server(_garbage, OLD, self.port))

    async def recover(self) -> None:
        """It ends."""
        if self._kind == "moves":
            for relay in list(self._open):
                if relay.address == OLD:
                    relay.abort()
        elif self._kind == "tls":
            self._servers.pop().close()
            self._servers.append(await asyncio.start_server(self._accept, OLD, self.port, ssl=_context(self._folder)))

    async def stop(self) -> None:
        """Closes everything."""
        for server in self._servers:
            server.close()
        for relay in list(self._open):
            relay.abort()

    def _point(self, address: str) -> None:
        self.hosts.write_text(f"{address} {NAME}\n")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = _Relay(self, writer)
        self._open.add(relay)
        try:
            with contextlib.suppress(OSError):
                await relay.run(reader, self._upstream)
        finally:
            self._open.discard(relay)
            relay.abort()


class _Relay:
    """One connection and its other half."""

    def __init__(self, front: Front, writer: asyncio.StreamWriter) -> None:
        self._front = front
        self._down = writer
        self._up: asyncio.StreamWriter | None = None
        self.dead = False
        self.address: str = writer.get_extra_info("sockname")[0]

    async def run(self, reader: asyncio.StreamReader, port: int) -> None:
        upstream, self._up = await asyncio.open_connection(OLD, port)
        tasks = [asyncio.create_task(self._pump(reader, self._up, True))]
        tasks.append(asyncio.create_task(self._pump(upstream, self._down, False)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, request: bool) -> None:
        while data := await source.read(CHUNK):
            if request and self.address == OLD:
                self._front.last_on_old = asyncio.get_running_loop().time()
            if not self.dead:
                sink.write(data)

    def abort(self) -> None:
        for writer in (self._down, self._up):
            if writer is not None:
                writer.transport.abort()


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.read(CHUNK)
        writer.write(b"this is no handshake\r\n")
        await writer.drain()
        writer.close()


def authority(folder: Path) -> Path:
    """Makes ca.pem, and a certificate for localhost signed by it. Raises `RuntimeError` without openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise RuntimeError("the row of TLS needs the openssl command (Debian: apt-get install openssl)")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]

    def make(*arguments: str) -> None:
        subprocess.run([openssl, "req", "-x509", *key, *arguments], cwd=folder, check=True, capture_output=True)

    make("-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=private CA")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    make(*signed, *name, "-keyout", "server.key", "-out", "server.pem")
    return folder / "ca.pem"


def _context(folder: Path) -> ssl.SSLContext:
    if not (folder / "ca.pem").exists():
        authority(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context
