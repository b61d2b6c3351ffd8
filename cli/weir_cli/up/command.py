"""`weir up`: compile a directory, run the router on it, and compile again on every save."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from rich.markup import escape

from weir_cli.shared.output import Exit, address, errors, fail, size
from weir_cli.shared.tenancy import ConsentOption, Offering, UserTierNamespaces, tenancy
from weir_cli.shared.workspace import Workspace, counted, open_workspace, print_problems, summary
from weir_cli.up.access import (
    DEFAULT_NAMESPACE,
    Access,
    AllowHost,
    AllowOrigin,
    Anonymous,
    Namespace,
    RequireKeys,
    access,
)
from weir_cli.up.watch import saves
from weir_operator.observe.tenancy import Consent
from weir_router.admit.machine import MAX_CONNECTIONS, raise_open_files
from weir_router.admit.queue import MAX_IN_FLIGHT
from weir_router.app import Router
from weir_router.contract import ConfigRejected
from weir_router.run.process import (
    CONNECTIONS_HELP,
    MAX_IN_FLIGHT_VARIABLE,
    MEMORY_HELP,
    STOP_SIGNALS,
    calm_collector,
    cannot_listen,
    log_to_stdout,
    rarely_collected,
)

MaxInFlight = Annotated[
    int,
    typer.Option(
        min=1,
        envvar=MAX_IN_FLIGHT_VARIABLE,
        help="Requests served at once; more wait for a few seconds, and are then refused.",
    ),
]


def up(
    directory: Annotated[
        Path, typer.Argument(help="Directory (or file) of manifests: ModelTier, RoutingPolicy, Secret.")
    ],
    listen: Annotated[str, typer.Option(help="Where callers connect.")] = "127.0.0.1:8080",
    admin: Annotated[str, typer.Option(help="Where /metrics, /state, /healthz and /readyz are.")] = "127.0.0.1:9090",
    namespace: Namespace = None,
    require_keys: RequireKeys = False,
    anonymous: Anonymous = False,
    allow_origin: AllowOrigin = [],  # noqa: B006  # typer copies it
    allow_host: AllowHost = [],  # noqa: B006  # typer copies it
    class_name: Annotated[str, typer.Option("--class", help="Only objects of this className count.")] = "weir",
    offering_namespaces: Offering = None,
    user_tier_namespaces: UserTierNamespaces = "",
    consent: ConsentOption = Consent.ENFORCE,
    max_in_flight: MaxInFlight = MAX_IN_FLIGHT,
    memory: Annotated[str | None, typer.Option(metavar="BYTES", help=MEMORY_HELP)] = None,
    max_connections: Annotated[int, typer.Option(min=1, help=CONNECTIONS_HELP)] = MAX_CONNECTIONS,
    log: Annotated[bool, typer.Option(help="One JSON line per request on stdout.")] = True,
) -> None:
    """Runs the router on a directory of manifests, and reloads it on every save.

    \b
    weir up examples/quickstart
    curl http://127.0.0.1:8080/v1/models

    The same files that `kubectl apply -f` sends. Secrets that are not in the directory may come from the environment.
    Exit code 1: nothing in the directory can be served; 2: wrong arguments, or an address that is in use.
    """
    (host, port), (admin_host, admin_port) = address(listen), address(admin)
    held = None if memory is None else size(memory)
    unnamed = namespace or DEFAULT_NAMESPACE
    rules = tenancy(consent, offering_namespaces, user_tier_namespaces, unnamed)
    load = functools.partial(open_workspace, directory, namespace=unnamed, class_name=class_name, tenancy=rules)
    workspace = load()
    print_problems(errors, workspace.problems, workspace.notices)
    if not workspace.config.policies:
        raise fail(f"no RoutingPolicy in {directory} can be used.", Exit.PROBLEMS)
    log_to_stdout(log)
    raise_open_files()
    callers = access(workspace, namespace, host, admin_host, require_keys=require_keys, anonymous=anonymous)
    router = Router(
        host=host,
        port=port,
        admin_host=admin_host,
        admin_port=admin_port,
        max_in_flight=max_in_flight,
        memory=held,
        max_connections=max_connections,
        origins=allow_origin,
        hosts=allow_host,
    )
    try:
        calm_collector()
        uvloop.run(Session(directory, load, callers).run(router, workspace))
    except OSError as error:
        raise fail(cannot_listen(error)) from error


class Session:
    """One run of `weir up`."""

    def __init__(self, directory: Path, load: Callable[..., Workspace], access: Access) -> None:
        """`load` reads and compiles the directory, as the given `revision`."""
        self._directory = directory
        self._load = load
        self._access = access
        self._revision = 1
        self._seen: Workspace | None = None  # to say nothing where a save changed nothing

    async def run(self, router: Router, workspace: Workspace) -> None:
        """Serves until SIGTERM or Ctrl-C; answers that are under way are finished."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stopped.set)
        self._seen = workspace
        self._apply(router, workspace)
        async with router, rarely_collected(router.room):
            errors.print(summary(workspace.config))
            errors.print(
                f"Serving callers on [bold]{router.url}[/], metrics and state on "
                f"[bold]{router.admin_url}[/]. Ctrl-C ends it.",
                highlight=False,
                soft_wrap=True,
            )
            for line in self._access.lines():
                errors.print(line, highlight=False, markup=False, soft_wrap=True)
            async for _ in saves(self._directory, stopped):
                await self._reload(router)
            for number in STOP_SIGNALS:
                loop.add_signal_handler(number, os._exit, 128 + number)  # as a shell counts a process that was killed
            errors.print("Open answers are finished first; once more ends them.", highlight=False)

    async def _reload(self, router: Router) -> None:
        if not self._directory.exists():
            return  # gone for the moment; what runs goes on
        # In a thread: a thousand manifests take a second, and callers must not wait for it.
        workspace = await asyncio.to_thread(self._load, revision=self._revision)
        if workspace == self._seen:
            return
        self._seen = workspace
        print_problems(errors, workspace.problems, workspace.notices)
        if workspace.unreadable:
            errors.print("[red]Not reloaded:[/] a file cannot be read; the last good config goes on.", highlight=False)
            return
        self._revision += 1
        config = msgspec.structs.replace(workspace.config, revision=self._revision)
        self._seen = workspace._replace(config=config)
        if self._apply(router, self._seen):
            served = counted(len(config.policies), "policy", "policies")
            errors.print(f"Reloaded: revision {self._revision}, {served}.", highlight=False)

    def _apply(self, router: Router, workspace: Workspace) -> bool:
        config, secrets = self._access.applied(workspace)
        try:
            router.store.apply(config, secrets)
        except ConfigRejected as error:
            errors.print(f"[red]Not applied:[/] {escape(str(error))}; the last good config goes on.", highlight=False)
            return False
        return True
