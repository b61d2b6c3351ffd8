"""`weir sidecar`: the router of one pod, beside its application. The operator's webhook adds it to pods."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from weir_cli.early import LOCALHOST, opened
from weir_cli.shared.options import add_admin, add_connections, add_log, add_memory, add_origins, number, parser_of
from weir_router.admit.machine import raise_open_files
from weir_router.app import Router
from weir_router.config.access import Access
from weir_router.config.kept import KeptConfig
from weir_router.contract import CallerKind
from weir_router.contract.caller import Caller
from weir_router.run.process import log_to_stdout, poll, run, serve
from weir_router.sidecar.sidecar import Pod

LEARNED = "config-server-ca.crt"
"""File of the kept directory with the config server's later authorities: the pod may be older than them."""

HELP = """
Runs the router of one pod; the operator's webhook adds it.

    weir sidecar --caller team-a/web --files /run/weir --keep /run/weir-kept \\
        --gateway http://weir.weir-system --config-server https://weir-operator.weir-system.svc:8443

It listens on localhost at once. What the pod's namespace has the credentials for is served here; everything
else, and everything while there is no config yet, is relayed to the gateway with the pod's ServiceAccount
token. Exit code 2: wrong arguments, or an address that is in use.
"""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    parser = _parser()
    given = parser.parse_args(arguments)
    namespace, _, name = given.caller.partition("/")
    if not namespace or not name or "/" in name:
        parser.error(f"--caller {given.caller!r} is not NAMESPACE/SERVICEACCOUNT.")
    for option, url in (("--gateway", given.gateway), ("--config-server", given.config_server)):
        if not url.startswith(("http://", "https://")):
            parser.error(f"{option} {url!r} is not a URL.")
    admin_host, admin_port = given.admin
    raise_open_files()
    log_to_stdout(given.log)
    files, server = given.files, given.config_server
    access = Access(
        server,
        files / "config-token",
        files / "ca.crt" if server.startswith("https") else None,
        learned_file=given.keep / LEARNED,
    )
    caller = Caller(namespace, name, CallerKind.SERVICE_ACCOUNT)
    pod = Pod(caller, given.gateway, files / "token", given.gateway_ca_file)
    router = Router(
        host=LOCALHOST,
        port=given.port,
        listener=opened(given.port),
        admin_host=admin_host,
        admin_port=admin_port,
        admin_token_file=given.admin_token_file,
        reviewer=access,
        pod=pod,
        memory=given.memory,
        max_connections=given.max_connections,
        origins=given.allow_origin,
    )
    run(_serve(router, KeptConfig(given.keep, router.store), access))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("sidecar", HELP)
    add = parser.add_argument
    add(
        "--caller",
        required=True,
        metavar="NAMESPACE/SERVICEACCOUNT",
        help="Of the pod: whose requests these are.",
    )
    add("--gateway", required=True, metavar="URL", help="The gateway, which has what this namespace has not.")
    add(
        "--gateway-ca-file",
        type=Path,
        metavar="FILE",
        help="Authorities (PEM) of the gateway's certificate, besides public ones, until the config server sends newer "
        "ones. Default: none.",
    )
    add("--config-server", required=True, metavar="URL", help="The operator's config server.")
    add(
        "--files",
        type=Path,
        required=True,
        metavar="DIRECTORY",
        help="Has token (for the gateway), config-token and ca.crt (for the config server).",
    )
    add(
        "--keep",
        type=Path,
        required=True,
        metavar="DIRECTORY",
        help="In memory, for the last good config and authorities.",
    )
    add(
        "--port",
        type=number(int, 0, 65535),
        metavar="NUMBER",
        default=18080,
        help="Where the application connects, on localhost; default: %(default)s.",
    )
    add_admin(parser, "127.0.0.1:18090")
    add_memory(parser)
    add_connections(parser)
    add_origins(parser)
    add_log(parser)
    return parser


async def _serve(router: Router, kept: KeptConfig, access: Access) -> None:
    kept.restore()
    await serve(router, poll(router, access))
