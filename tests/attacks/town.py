"""A router in a process of its own, tenants with keys, scripted upstreams and honest callers: the stage of the attacks.

`team-a` is honest. `team-b` is not. The tier `llm/shared` serves both, from the upstream of a test.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cli.shell import PATIENCE, Running, running
from cli.shell import http as fetch
from weir_router.identify.keys import fingerprint

HONEST, ENEMY = "team-a", "team-b"
CREDENTIAL = "sk-provider-0123456789abcdef"
PATH = "/v1/chat/completions"
MIB = 1024 * 1024

Script = Callable[[dict[str, Any], socket.socket], None]
"""A function that answers the decoded request on the socket."""


def key(namespace: str) -> str:
    """The API key of a namespace's callers."""
    return f"weir_{namespace}-0123456789abcdef0123456789"


def completion(text: str = "fine", **message: Any) -> bytes:
    """A whole answer in OpenAI's format."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    return json.dumps({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}).encode()


def answer(body: bytes, *headers: str, status: int = 200, kind: str = "application/json") -> bytes:
    """An HTTP response with a length."""
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def well(body: dict[str, Any], connection: socket.socket) -> None:
    """The script of an upstream that is well; it streams where that is asked for."""
    if not body.get("stream"):
        connection.sendall(answer(completion()))
        return
    delta = {"index": 0, "delta": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}
    event = json.dumps({"object": "chat.completion.chunk", "model": "m", "choices": [delta]})
    connection.sendall(answer(f"data: {event}\n\ndata: [DONE]\n\n".encode(), kind="text/event-stream"))


class Upstream(NamedTuple):
    """A scripted model server, and the decoded bodies that it got."""

    url: str
    seen: list[dict[str, Any]]


@contextlib.contextmanager
def upstream(script: Script = well) -> Iterator[Upstream]:
    """A server that runs `script` for each request, in a thread per connection."""
    seen: list[dict[str, Any]] = []

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while head := self._head():
                    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                    seen.append(json.loads(self.rfile.read(int(length))))
                    script(seen[-1], self.connection)

        def _head(self) -> bytes:
            lines = []
            while (line := self.rfile.readline()) not in (b"", b"\r\n"):
                lines.append(line)
            return b"".join(lines)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 256

    with Server(("127.0.0.1", 0), Talk) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield Upstream(f"http://127.0.0.1:{server.server_address[1]}/v1", seen)
        server.shutdown()
        thread.join()


def tier(
    url: str, namespace: str = "llm", name: str = "shared", secret: str = "provider", **backend: Any
) -> dict[str, Any]:
    """A ModelTier that is granted to all, with one backend and its credential."""
    reference = {"type": "APIKey", "secretRef": {"name": secret, "key": "key"}}
    place = {"name": "x", "provider": "OpenAI", "model": "m", "baseURL": url, "credentials": reference}
    spec = {"backends": [{**place, **backend}], "grants": [{"namespaces": {"from": "All"}}]}
    return _object("ModelTier", namespace, name, spec=spec)


def policy(namespace: str, model: str = "auto", to: str = "llm/shared", **spec: Any) -> dict[str, Any]:
    """A RoutingPolicy that sends everything to one tier."""
    owner, _, name = to.partition("/")
    routes = [{"name": "all", "tiers": [{"name": name, "namespace": owner}]}]
    return _object("RoutingPolicy", namespace, model, spec={"models": [{"name": model}], "routes": routes, **spec})


def _object(kind: str, namespace: str, name: str, **content: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "weir.dev/v1alpha1", "kind": kind, "metadata": metadata, **content}


def _secret(namespace: str, name: str, label: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {label: "true"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def secrets() -> list[dict[str, Any]]:
    """The credentials of both tiers' namespaces, a key of each tenant, and the enemy's key as a credential."""
    return [
        _secret(ENEMY, "weir", "weir.dev/credential", key=key(ENEMY)),
        *(_secret(it, "provider", "weir.dev/credential", key=CREDENTIAL) for it in ("llm", ENEMY)),
        *(_secret(it, "caller", "weir.dev/api-key", sha256=fingerprint(key(it))) for it in (HONEST, ENEMY)),
    ]


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    body: bytes


class Town:
    """A running router, and questions to it."""

    def __init__(self, command: Running, url: str, admin: str) -> None:
        self.command = command
        self.admin = admin
        self.host, _, port = url.removeprefix("http://").partition(":")
        self.port = int(port)

    def ask(self, who: str, body: bytes | None = None, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        """Sends a request for a completion with the key of namespace `who`, or without one (empty)."""
        fields = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **more}
        sent = {"authorization": f"Bearer {key(who)}"} if who else {}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", PATH, body or json.dumps(fields).encode(), {**sent, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def connect(self) -> socket.socket:
        """A connection of its own, for bytes that no client sends."""
        return socket.create_connection((self.host, self.port), timeout=PATIENCE)

    def metric(self, name: str) -> float:
        """The value of a metric, with its labels as Prometheus writes them."""
        text = fetch(f"{self.admin}/metrics").text
        return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} "))

    @property
    def longest_turn(self) -> float:
        """Seconds that the router computed without doing anything else, at most, by its own gauge."""
        return self.metric('weir_loop_turn_seconds_max{clock="cpu"}')

    @contextlib.contextmanager
    def memory_within(self, most: int) -> Iterator[None]:
        """Checks that the process never has `most` MiB more than before."""
        folder = Path(f"/proc/{self.command.process.pid}")
        (folder / "clear_refs").write_text("5")  # the peak starts anew
        before = _peak(folder)
        yield
        assert _peak(folder) - before < most, f"{_peak(folder) - before} MiB"

    @contextlib.contextmanager
    def honest_callers(self, least: int = 3) -> Iterator[list[Answer]]:
        """Callers of the honest team during a block, `least` of them within it. Each request must be served."""
        answers: list[Answer] = []
        served, over = threading.Event(), threading.Event()

        def call() -> None:
            while not over.is_set():
                answers.append(self.ask(HONEST))
                if len(answers) >= least:
                    served.set()
                over.wait(0.02)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        yield answers
        assert served.wait(PATIENCE), answers
        over.set()
        thread.join(PATIENCE)
        assert {it.status for it in answers} == {200}, [it for it in answers if it.status != 200][:1]


def _peak(folder: Path) -> int:
    """The peak of a process's resident memory, in MiB."""
    lines = (folder / "status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


@contextlib.contextmanager
def town(folder: Path, *objects: dict[str, Any], arguments: tuple[str, ...] = ("--require-keys",)) -> Iterator[Town]:
    """`weir up` on `objects` and the tenants' Secrets."""
    (folder / "town.yaml").write_text(yaml.safe_dump_all([*secrets(), *objects]))
    listen = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    with running("up", folder, *listen, *arguments) as command:
        found = command.wait_for(r"callers on (http://\S+),[^h]*(http://[^\s.]+\S*\d)")
        yield Town(command, found[1], found[2])
