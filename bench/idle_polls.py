"""Cost of a router that waits at the config server, for the operator: memory per idle TLS connection with its poll.

    python -m bench.idle_polls [--polls 1000] [--loop asyncio|uvloop]

The server is a process of its own; the pollers send what `weir router` sends, a ServiceAccount token of the usual size
and a report of ten backends included, and then wait. Results are in docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from bench.processes import resident
from weir_operator.distribute.server import ConfigServer, listen
from weir_operator.kube.accounts import ServiceAccount
from weir_operator.publish.authority import make_authority, make_certificate
from weir_router.contract import BackendReport, CompiledConfig, RouterReport, Secrets

TOKEN = "e" * 1_100  # a projected ServiceAccount token has 1,000 to 1,200 characters
GATEWAY = ServiceAccount("weir-system", "weir-router")


class _Anybody:
    """Accepts every token."""

    async def review(self, token: str) -> ServiceAccount:
        return GATEWAY


def main() -> None:
    """Runs server and pollers, and prints what they cost."""
    options = _options()
    if options.serve is not None:
        runner = uvloop.run if options.loop == "uvloop" else asyncio.run
        runner(_serve(options.serve))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.idle_polls", "--serve", folder, "--loop", options.loop]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            _measure(server, Path(folder), options.polls, options.loop)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.idle_polls")
    parser.add_argument("--polls", type=int, default=1000, help="polls that wait at the same time")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="event loop of the server")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(server: subprocess.Popen[str], folder: Path, polls: int, loop: str) -> None:
    assert server.stdout is not None
    port = int(server.stdout.readline())
    trust = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    waiting = [_waiting_poll(trust, port)]  # the first makes the view that all share
    before, _ = _ask(server)
    waiting += [_waiting_poll(trust, port) for _ in range(polls)]
    while (state := _ask(server))[1] <= polls:
        pass
    for connection in waiting:
        connection.close()
    server.stdin.close()  # type: ignore[union-attr]
    used = state[0] - before
    print(f"{polls} idle polls over TLS on {loop}: {used / 1e6:.1f} MB, {used / polls / 1024:.1f} KiB each")


def _ask(server: subprocess.Popen[str]) -> tuple[int, int]:
    """Resident bytes of the server, and how many polls wait."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    resident, waiting = server.stdout.readline().split()
    return int(resident), int(waiting)


def _waiting_poll(trust: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    """A connection on which config was fetched, and that waits for the next: as a router has it."""
    connection = trust.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    connection.sendall(_request(port, None))
    connection.sendall(_request(port, _etag(connection)))
    return connection


def _request(port: int, etag: str | None) -> bytes:
    backends = {f"llm/budget/backend-{number}": BackendReport(state="closed") for number in range(10)}
    body = msgspec.json.encode(RouterReport(router="r", revision=1, backends=backends))
    head = ["POST /v1/poll HTTP/1.1", f"Host: localhost:{port}", "Accept: */*", "Accept-Encoding: gzip, deflate"]
    head += ["User-Agent: Python/3.11 aiohttp/3.14", f"Authorization: Bearer {TOKEN}", "Prefer: wait=50"]
    head += [f"If-None-Match: {etag}"] if etag else []
    head += ["Content-Type: application/octet-stream", f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


def _etag(connection: ssl.SSLSocket) -> str:
    with connection.makefile("rb") as answer:
        headers = http.client.parse_headers(answer) if answer.readline() else {}
        answer.read(int(headers["Content-Length"]))
    return headers["ETag"]


def _tls(folder: Path) -> ssl.SSLContext:
    now = datetime.now(UTC)
    authority = make_authority("bench", now)
    served = make_certificate(authority, ["localhost"], now)
    (folder / "ca.crt").write_bytes(authority.certificate)
    (folder / "served.pem").write_bytes(served.certificate + served.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "served.pem")
    return context


async def _serve(folder: str) -> None:
    """Serves until stdin ends, and says what it uses at each line."""
    context = _tls(Path(folder))
    server = ConfigServer(_Anybody(), GATEWAY)
    server.publish(CompiledConfig(revision=1), Secrets())
    runner = await listen(server, "127.0.0.1", 0, context)
    print(runner.addresses[0][1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        gc.collect()
        print(resident(os.getpid()), server.waiting, flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    main()
