"""Clients of the test API server, a gatherer whose changes can be awaited, and a connection that can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from apiserver import ApiServer
from kubernetes.client import ApiClient, Configuration

from weir_operator.kinds import KINDS
from weir_operator.observe.gather import Gatherer
from weir_operator.observe.observed import Observed

PATIENCE = 40.0
"""Seconds within which an awaited event must come: far more than it takes, for a loaded machine."""


def client_of(server: ApiServer, *, token: str | None = None, url: str | None = None) -> ApiClient:
    """The administrator's client, or that of the owner of `token`; `url` is another URL of the server."""
    configuration = Configuration(host=url or server.url)
    configuration.ssl_ca_cert = str(server.ca_file)
    configuration.api_key = {"BearerToken": token or server.token}
    configuration.api_key_prefix = {"BearerToken": "Bearer"}
    configuration.proxy = None
    configuration.retries = False
    return ApiClient(configuration)


def apply(server: ApiServer, text: str) -> None:
    """`kubectl apply`."""
    run(server, "apply", "-f", "-", input=text)


def run(server: ApiServer, *args: str, input: str | None = None) -> str:
    """Runs `kubectl args`, which must succeed, and returns its output."""
    done = server.kubectl(*args, input=input)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Requests:
    """Records the URLs that a client requests."""

    def __init__(self, client: ApiClient) -> None:
        self.urls: list[str] = []
        inner = client.rest_client.request

        def request(method: str, url: str, **options: Any) -> Any:
            self.urls.append(url)
            return inner(method, url, **options)

        client.rest_client.request = request


class Watching:
    """A started gatherer. `until` only checks after `on_change`, so a change without a call is never seen."""

    def __init__(
        self, client: ApiClient, namespaces: Sequence[str] | None = None, *, watch_seconds: float = 150.0
    ) -> None:
        self._told = threading.Condition()
        self.changes = 0
        self.seen: list[Observed] = []
        self.gatherer = Gatherer(
            client,
            KINDS,
            class_name="weir",
            namespaces=namespaces,
            on_change=self._changed,
            watch_seconds=watch_seconds,
        )
        self.gatherer.start()

    def _changed(self) -> None:
        with self._told:
            self.changes += 1
            if observed := self.gatherer.observed():
                self.seen.append(observed)
            self._told.notify_all()

    def until(self, what: Callable[[Gatherer], bool]) -> None:
        """Waits until `what` holds."""
        with self._told:
            assert self._told.wait_for(lambda: what(self.gatherer), PATIENCE), (
                self.gatherer.observed(),
                self.gatherer.unknown(),
            )

    def observed(self) -> Observed:
        """The observed objects, as soon as the gatherer has them."""
        self.until(lambda it: it.observed() is not None)
        observed = self.gatherer.observed()
        assert observed is not None
        return observed

    def names(self) -> set[str]:
        """The names of all tiers."""
        return {tier.name for tier in self.observed().of("ModelTier")}

    def until_names(self, *names: str) -> None:
        """Waits until exactly these tiers exist."""
        wanted = set(names)
        self.until(lambda it: (now := it.observed()) is not None and {t.name for t in now.of("ModelTier")} == wanted)


@contextlib.contextmanager
def watching(client: ApiClient, namespaces: Sequence[str] | None = None, **options: float) -> Iterator[Watching]:
    """A gatherer for the length of a block."""
    it = Watching(client, namespaces, **options)
    try:
        yield it
    finally:
        it.gatherer.stop()
        client.close()


class Wire:
    """A TCP port that forwards to a server until it is cut; TLS passes through."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 443)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._whole = True
        self._lock = threading.Lock()
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Breaks all connections, and closes every new one at once."""
        with self._lock:
            self._whole = False
            for end in self._ends:
                _close(end)
            self._ends.clear()

    def mend(self) -> None:
        """Lets new connections through."""
        self._whole = True

    def close(self) -> None:
        """Closes the port and all connections."""
        self.cut()
        _close(self._listener)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                with self._lock:
                    try:
                        if not self._whole:
                            raise ConnectionError
                        far = socket.create_connection(self._target)
                    except OSError:
                        _close(near)
                        continue
                    self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _close(source)
    _close(sink)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it, which close alone does not
    end.close()
