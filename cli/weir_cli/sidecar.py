"""`weir sidecar`: the router of one pod, beside its application. The operator's webhook adds it to pods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weir_cli.early import LOCALHOST, opened
from weir_cli.output import fail
from weir_cli.process import address, log_to_stdout, poll, run, serve
from weir_router.app import Router
from weir_router.config.access import Access
from weir_router.config.kept import KeptConfig
from weir_router.contract import CallerKind
from weir_router.identify.caller import Caller
from weir_router.serve.sidecar import Pod


def sidecar(
    caller: Annotated[str, typer.Option(help="NAMESPACE/SERVICEACCOUNT of the pod: whose requests these are.")],
    gateway: Annotated[str, typer.Option(help="URL of the gateway, which has what this namespace has not.")],
    config_server: Annotated[str, typer.Option(help="URL of the operator's config server.")],
    files: Annotated[
        Path,
        typer.Option(help="Directory with token (for the gateway), config-token and ca.crt (for the config server)."),
    ],
    keep: Annotated[Path, typer.Option(help="Directory, in memory, for the last good config.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the application connects, on localhost.")] = 18080,
    admin: Annotated[str, typer.Option(help="Where /metrics, /state, /healthz and /readyz are.")] = "0.0.0.0:18090",
    log: Annotated[bool, typer.Option(help="One JSON line per request on stdout.")] = True,
) -> None:
    """Runs the router of one pod; the operator's webhook adds it.

    \b
    weir sidecar --caller team-a/web --files /run/weir --keep /run/weir-kept \\
                 --gateway http://weir.weir-system --config-server https://weir-operator.weir-system.svc:8443

    It listens on localhost at once. What the pod's namespace has the credentials for is served here; everything else,
    and everything while there is no config yet, is relayed to the gateway with the pod's ServiceAccount token.
    Exit code 2: wrong arguments, or an address that is in use.
    """
    namespace, _, name = caller.partition("/")
    if not namespace or not name or "/" in name:
        raise fail(f"--caller {caller!r} is not NAMESPACE/SERVICEACCOUNT.")
    for option, url in (("--gateway", gateway), ("--config-server", config_server)):
        if not url.startswith(("http://", "https://")):
            raise fail(f"{option} {url!r} is not a URL.")
    admin_host, admin_port = address(admin)
    log_to_stdout(log)
    access = Access(
        config_server, files / "config-token", files / "ca.crt" if config_server.startswith("https") else None
    )
    pod = Pod(Caller(namespace, name, CallerKind.SERVICE_ACCOUNT), gateway, files / "token")
    router = Router(
        host=LOCALHOST,
        port=port,
        listener=opened(port),
        admin_host=admin_host,
        admin_port=admin_port,
        reviewer=access,
        pod=pod,
    )
    run(_serve(router, KeptConfig(keep, router.store), access))


async def _serve(router: Router, kept: KeptConfig, access: Access) -> None:
    kept.restore()
    await serve(router, poll(router, access))
