"""`weir up`: compile a directory, run the router on it, and compile again on every save."""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
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
from weir_cli.up.keys import Found, keep, look, next_steps
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

Directory = Annotated[
    Path | None,
    typer.Argument(
        help="Directory (or file) of manifests: ModelTier, RoutingPolicy, Secret. Without it, tiers are made of the "
        "models that the environment's keys may use."
    ),
]
Write = Annotated[
    Path | None,
    typer.Option(
        "--write",
        metavar="DIR",
        help="Write the manifests into a directory, and end. They name Secrets and hold no key.",
    ),
]
MaxInFlight = Annotated[
    int,
    typer.Option(
        min=1,
        envvar=MAX_IN_FLIGHT_VARIABLE,
        help="Requests served at once; more wait for a few seconds, and are then refused.",
    ),
]


def up(
    directory: Directory = None,
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
    write: Write = None,
) -> None:
    """Runs the router on keys of the environment, or on a directory of manifests, which it reloads on every save.

    \b
    OPENAI_API_KEY=... weir up
    weir up examples/quickstart
    curl http://127.0.0.1:8080/v1/models

    A directory has the files that `kubectl apply -f` sends. Secrets that are not in it may come from the environment.
    Exit code 1: nothing can be served; 2: no key and no directory, wrong arguments, or an address that is in use.
    """
    (host, port), (admin_host, admin_port) = address(listen), address(admin)
    unnamed = namespace or DEFAULT_NAMESPACE
    rules = tenancy(consent, offering_namespaces, user_tier_namespaces, unnamed)
    compiled = functools.partial(open_workspace, namespace=unnamed, class_name=class_name, tenancy=rules)
    callers = functools.partial(
        access, stated=namespace, host=host, admin_host=admin_host, require_keys=require_keys, anonymous=anonymous
    )
    router = Router(
        host=host,
        port=port,
        admin_host=admin_host,
        admin_port=admin_port,
        max_in_flight=max_in_flight,
        memory=None if memory is None else size(memory),
        max_connections=max_connections,
        origins=allow_origin,
        hosts=allow_host,
    )
    log_to_stdout(log)
    if directory is not None and write is not None:
        raise fail("--write writes what is found without a directory: leave DIRECTORY out.")
    if directory is not None:
        serve(router, directory, compiled, callers)
        return
    found = look(os.environ, unnamed, ((host, port), (admin_host, admin_port)))
    if write is not None:
        keep(found, write, namespace)
        return
    with tempfile.TemporaryDirectory(prefix="weir-up-") as folder:
        found.save(Path(folder), None)
        serve(router, Path(folder), functools.partial(compiled, environ=found.environ(os.environ)), callers, found)


def serve(
    router: Router,
    directory: Path,
    compiled: Callable[..., Workspace],
    callers: Callable[[Workspace], Access],
    found: Found | None = None,
) -> None:
    """Serves the manifests of `directory` until a signal. `found`: the caller has made them of keys."""
    workspace = compiled(directory)
    problems, notices = (workspace.problems, workspace.notices) if found is None else (workspace.errors, ())
    print_problems(errors, problems, notices)
    if not workspace.config.policies:
        empty = not workspace.problems and not workspace.config.tiers
        cause = "holds no RoutingPolicy and no ModelTier" if empty else "has no RoutingPolicy that can be used"
        hint = "; weir up --write DIR makes some of the keys in the environment" if empty else ""
        raise fail(f"{directory} {cause}{hint}.", Exit.PROBLEMS)
    raise_open_files()
    session = Session(directory, functools.partial(compiled, directory), callers(workspace), keys=found is not None)
    try:
        calm_collector()
        uvloop.run(session.run(router, workspace))
    except OSError as error:
        raise fail(cannot_listen(error)) from error


class Session:
    """One run of `weir up`."""

    def __init__(self, directory: Path, load: Callable[..., Workspace], access: Access, *, keys: bool) -> None:
        """`load` reads and compiles the directory, as the given `revision`. `keys`: it is made of keys."""
        self._keys = keys
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
            if not self._keys:
                errors.print(summary(workspace.config))
            errors.print(
                f"Serving callers on [bold]{router.url}[/], metrics and state on "
                f"[bold]{router.admin_url}[/]. Ctrl-C ends it.",
                highlight=False,
                soft_wrap=True,
            )
            for line in self._access.lines():
                errors.print(line, highlight=False, markup=False, soft_wrap=True)
            if self._keys:
                for line in next_steps(router.url, keys=not self._access.anonymous, key=self._access.key):
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
