"""Wires the router and runs its two ports. Holds no logic."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from weir_router.admit.machine import MAX_CONNECTIONS, default_memory, most_connections
from weir_router.admit.memory import Memory
from weir_router.admit.queue import MAX_IN_FLIGHT, Queue, Room
from weir_router.call.transport import AutoTransport, anywhere
from weir_router.clock import Clock, SystemClock
from weir_router.config.access import Access
from weir_router.config.store import ConfigStore
from weir_router.contract import MAX_BODY_BYTES, CompiledConfig, HostPolicy, Secrets
from weir_router.dialects.openai_responses.record import COMPACTING
from weir_router.dialects.openai_responses.record import RECORD as RESPONSES
from weir_router.dialects.passed.endpoints import ALIASES
from weir_router.dialects.passed.record import PASSED
from weir_router.dialects.registry import CONVERSATIONS, RECORDS
from weir_router.health.board import Board
from weir_router.health.breaker import State
from weir_router.identify.identifier import Identifier
from weir_router.record.log import log
from weir_router.record.metrics import Metrics
from weir_router.record.recorder import Recorder
from weir_router.record.turns import Watch
from weir_router.serve import story
from weir_router.serve.admin import Admin
from weir_router.serve.browsers import Allowed, Gate
from weir_router.serve.counting import Counter
from weir_router.serve.extensions import NONE, Extensions
from weir_router.serve.front import HEALTH_PATH, HOME_PATH, Front
from weir_router.serve.hops import Hops
from weir_router.serve.http import Certificate, Handler, Places, Server
from weir_router.serve.paths import MODELS
from weir_router.serve.routes import Complete, Knows, Routes, completing, no_http, unknown_to_admins, unknown_to_callers
from weir_router.serve.stored import Stored
from weir_router.sidecar.relay import Relay
from weir_router.sidecar.sidecar import Pod, Sidecar

if TYPE_CHECKING:
    from weir_router.identify.review_client import ReviewClient

SHUTDOWN_GRACE = 30.0
"""Seconds that open answers may take to end after a SIGTERM: the default grace period of Kubernetes."""

ADMIN_CONNECTIONS, ADMIN_PER_PEER = 64, 16
"""Connections on the admin port, in all and of one address: probes, scrapers and people need a handful."""


class Router:
    """One router: `async with Router(...) as router`, then `router.store.apply(config, secrets)`."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        listener: socket.socket | None = None,
        admin_host: str = "127.0.0.1",
        admin_port: int = 9090,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        grace: float = SHUTDOWN_GRACE,
        reviewer: Access | None = None,
        pod: Pod | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        memory: int | None = None,
        max_connections: int = MAX_CONNECTIONS,
        admin_token_file: Path | None = None,
        certificate: Certificate | None = None,
        plain: tuple[str, int] | None = None,
        origins: Collection[str] = (),
        hosts: Collection[str] = (),
        extensions: Extensions = NONE,
    ) -> None:
        """`listener` is an open port instead of `host` and `port`; it is closed with the router. `max_in_flight` bounds
        the requests that are served at once, `memory` the bytes that are held for callers (default: half of the
        process's memory), and `max_connections` those of callers, as far as open files allow. `admin_token_file` has
        the token for the admin port's metrics and names (None: none). With a `certificate` callers speak TLS;
        `plain` is one more address for those that do not. `reviewer` is the config server that reviews callers' tokens,
        where the config demands it. With `pod`, the router is that pod's sidecar, and only the pod may reach `host`.
        `origins` are results of `serve.browsers.origin_of`: their web pages may call, besides the default ones. `hosts`
        are the only names in `Host` for anonymous callers. `extensions` are plugged into the steps of a request.
        """
        self.store = ConfigStore()
        self._extensions = extensions
        self.metrics = Metrics()
        self.clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._grace = grace
        self._reviewer = reviewer
        self._pod = pod
        self._review_client: ReviewClient | None = None
        self._addresses = (host, port), (admin_host, admin_port)
        self._listener = listener
        self._certificate, self._plain, self.plain_url = certificate, plain, ""
        self._callers_gates = [self._gate("callers", origins, it, hosts) for it in (host, *(plain or ())[:1])]
        self._admins_gate = self._gate("admin", origins, admin_host)
        self._hops = Hops()
        self._transport: AutoTransport | None = None
        self._to_gateway: AutoTransport | None = None
        self._servers: list[Server] = []
        self._watch = Watch(self.metrics.turned)
        self.board = Board(self.clock, self._rng, self._state_changed)
        self.room = Room(Queue(self.clock), max_in_flight)
        self.memory = Memory(default_memory() if memory is None else memory, shared=pod is None)
        self._admin_token, self._admin_places = admin_token_file, Places(ADMIN_CONNECTIONS, ADMIN_PER_PEER)
        self._places = Places(most_connections(max_connections))
        self.board.on_free, self.board.on_failing = self.room.queue.free, lambda: self.on_health()
        self.store.subscribe(self._configured)
        self.on_health: Callable[[], None] = lambda: None
        """Callback for when a backend's breaker changes its state, or a backend begins or ends to fail."""

    def _gate(self, port: str, origins: Collection[str], host: str, hosts: Collection[str] = ()) -> Gate:
        """The gate of a port on `host`. The admin port never asks for a key."""
        callers = port == "callers"
        anonymous = self._pod is not None or not callers
        return Gate(
            Allowed(origins, host, hosts), partial(self.metrics.refuse, port), anonymous=anonymous, pages=callers
        )

    async def __aenter__(self) -> Router:
        transport = self._transport = AutoTransport(self._hosts, self._hops.via)
        recorder = Recorder(self.metrics.in_flight, (self.metrics.observe, log), aside=(log,))
        self._review_client = _review_client(self._reviewer) if self._reviewer is not None else None
        pod = self._pod
        identifier = Identifier(self.clock, local=pod.caller if pod else None, reviewer=self._review_client)
        gateway = story.Gateway(
            self.store,
            self.board,
            transport,
            recorder,
            self.clock,
            self._rng,
            identifier,
            self.room,
            self.memory,
            self._extensions,
            self._hops,
        )
        complete: Complete = gateway.complete
        count: Complete = Counter(gateway).count
        stored: Handler = Stored(gateway).serve
        knows: Knows = gateway.knows
        if pod is not None:
            self._to_gateway = AutoTransport(anywhere, authorities=lambda: pod.authorities(self.store.config))
            relay = Relay(pod.gateway, pod.token_file, self._to_gateway, recorder, self.clock)
            sidecar = Sidecar(gateway.complete, count, relay, self.store, identifier, pod.caller.namespace)
            complete, count, knows = sidecar.complete, sidecar.count, sidecar.knows
            stored = relay.stored
        admin = Admin(self.store, self.board, self.metrics, self.room, self._places, self.memory, self._admin_token)
        try:
            first, *further = self._callers_gates
            front = Front(self.store)
            routes, places = _callers(gateway, front, complete, count, stored, first, knows), self._places
            self.url = await self._serve(
                routes, first, places, *self._addresses[0], self._listener, certificate=self._certificate
            )
            for gate in further:
                assert self._plain is not None
                routes = _callers(gateway, front, complete, count, stored, gate, knows)
                self.plain_url = await self._serve(routes, gate, places, *self._plain)
            gate, places = self._admins_gate, self._admin_places
            self.admin_url = await self._serve(_admins(admin, gate), gate, places, *self._addresses[1])
        except BaseException:  # mostly an address in use
            await self.__aexit__()
            raise
        self._watch.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watch.stop()
        # The admin port closes last: a failing probe would have the pod killed while it finishes answers.
        for server in self._servers:
            await server.close(self._grace)
        for transport in (self._transport, self._to_gateway):
            if transport is not None:
                await transport.close()
        if self._review_client is not None:
            await self._review_client.close()

    async def _serve(
        self,
        routes: Routes,
        gate: Gate,
        places: Places,
        host: str,
        port: int,
        listener: socket.socket | None = None,
        certificate: Certificate | None = None,
    ) -> str:
        name = "admin" if places is self._admin_places else "callers"
        server = Server(
            routes,
            no_http,
            self.clock,
            admits=routes.admits,
            memory=self.memory,
            max_body=self._largest_body(),
            places=places,
            refused=partial(self.metrics.refuse, name),
        )
        url = await server.listen(host, port, listener, certificate)
        gate.listens(server.hosts)
        self._servers.append(server)
        return url

    def _largest_body(self) -> int:
        """Bytes of the largest body that a policy accepts; a policy's own, smaller bound is the door's."""
        policies = () if self.store.config is None else self.store.config.policies
        return max(MAX_BODY_BYTES, *(it.largest_request for it in policies), 0)

    def _hosts(self) -> HostPolicy:
        """The rules for addresses of backends."""
        return HostPolicy() if self.store.config is None else self.store.config.hosts

    def _configured(self, config: CompiledConfig, _: Secrets) -> None:
        for gate in self._callers_gates:
            gate.anonymous = self._pod is not None or config.anonymous_namespace is not None
        self._hops.configure(config.tokens)
        for server in self._servers:
            server.read_up_to(self._largest_body())
        if self._transport is not None:
            self._transport.mark(self._hops.via)
        self.board.configure(config)
        self.metrics.revision.value = config.revision
        self.metrics.keep_backends(set(self.board.view()))
        self.metrics.falls.keep(config)

    def _state_changed(self, backend: str, old: str, new: str) -> None:
        self.metrics.breaker_changed(backend, new)
        if State.CLOSED in (old, new):
            self.on_health()


def _review_client(reviewer: Access) -> ReviewClient:
    # Imported here, so only if needed, and before the ports are open: see `AutoTransport`.
    from weir_router.identify.review_client import ReviewClient

    return ReviewClient(reviewer)


def _callers(
    gateway: story.Gateway,
    front: Front,
    complete: Complete,
    count: Complete,
    stored: Handler,
    gate: Gate,
    knows: Knows,
) -> Routes:
    countable = [(record, record.counting) for record in CONVERSATIONS if record.counting is not None]
    return Routes(
        {
            **{("POST", record.path): completing(complete, record) for record in RECORDS},
            **{("POST", record.path + it.path): completing(count, record) for record, it in countable},
            **{("POST", path): completing(complete, PASSED[format]) for path, format in ALIASES.items()},
            ("POST", COMPACTING.path): completing(complete, COMPACTING),
            **{(method, RESPONSES.path + "/*"): stored for method in ("GET", "DELETE", "POST")},
            ("GET", MODELS): gateway.list_models,
            ("GET", MODELS + "/*"): gateway.list_models,
            ("GET", HOME_PATH): front.home,
            ("GET", HEALTH_PATH): front.health,
        },
        unknown_to_callers,
        gate,
        knows,
    )


def _admins(admin: Admin, gate: Gate) -> Routes:
    return Routes(
        {
            ("GET", "/metrics"): admin.metrics,
            ("GET", "/state"): admin.state,
            ("GET", "/healthz"): admin.healthz,
            ("GET", "/readyz"): admin.readyz,
        },
        unknown_to_admins,
        gate,
    )
