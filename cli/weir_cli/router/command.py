"""`weir router`: the router of a pod, on config that the operator hands out, and that the kubelet mounts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from weir_cli.shared.options import (
    HOST_PORT,
    add_admin,
    add_connections,
    add_log,
    add_memory,
    add_origins,
    address,
    number,
    parser_of,
)
from weir_router.admit.machine import raise_open_files
from weir_router.admit.queue import MAX_IN_FLIGHT
from weir_router.app import SHUTDOWN_GRACE, Router
from weir_router.config.access import Access
from weir_router.config.mounted import MountedConfig
from weir_router.run.process import MAX_IN_FLIGHT_VARIABLE, log_to_stdout, poll, run, serve
from weir_router.serve.http import Certificate

HELP = """
Runs the router on published config, and goes over to what is mounted next.

    weir router --config-dir /etc/weir/config
    weir router --config-dir /etc/weir/config \\
        --config-server https://weir-operator:8443 --token-file /run/weir/token
    curl http://127.0.0.1:9090/readyz

It listens at once and answers 503 until there is a config. A config that is torn or not understood is
refused: the last good one goes on, and /readyz says why. With --config-server it starts from the directory,
follows the server, and goes back to the directory when that has something newer. To run a directory of
manifests, use weir up. Exit code 2: wrong arguments, or an address that is in use.
"""


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    parser = _parser()
    given = parser.parse_args(arguments)
    access = _access(parser, given)
    host, port = given.listen
    admin_host, admin_port = given.admin
    raise_open_files()
    log_to_stdout(given.log)
    gateway = Router(
        host=host,
        port=port,
        admin_host=admin_host,
        admin_port=admin_port,
        admin_token_file=given.admin_token_file,
        grace=given.grace,
        reviewer=access,
        max_in_flight=given.max_in_flight,
        memory=given.memory,
        max_connections=given.max_connections,
        origins=given.allow_origin,
        certificate=_certificate(parser, given),
        plain=given.listen_plain,
    )
    run(_serve(gateway, MountedConfig(given.config_dir, gateway.store), access))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("router", HELP)
    add = parser.add_argument
    add(
        "--config-dir",
        type=Path,
        required=True,
        metavar="DIRECTORY",
        help="Where the published ConfigMaps and Secrets are mounted.",
    )
    add("--config-server", metavar="URL", help="The operator's config server: changes arrive within a second.")
    add(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="ServiceAccount token for the config server; read for each poll.",
    )
    add(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="Authority of the config server's certificate; default: the system's.",
    )
    add(
        "--listen",
        type=address,
        metavar=HOST_PORT,
        default="0.0.0.0:8080",
        help="Where callers connect; default: %(default)s.",
    )
    _add_tls(parser)
    add_admin(parser, "0.0.0.0:9090")
    add(
        "--max-in-flight",
        type=number(int, 1),
        metavar="NUMBER",
        default=os.environ.get(MAX_IN_FLIGHT_VARIABLE) or MAX_IN_FLIGHT,
        help="Requests served at once; more wait for a few seconds, and are then refused. "
        f"Default: {MAX_IN_FLIGHT}, or what {MAX_IN_FLIGHT_VARIABLE} says.",
    )
    add(
        "--grace",
        type=number(float, 0.0),
        metavar="SECONDS",
        default=SHUTDOWN_GRACE,
        help="That open answers may take to end after SIGTERM; default: %(default)s.",
    )
    add_memory(parser)
    add_connections(parser)
    add_origins(parser)
    add_log(parser)
    return parser


def _add_tls(parser: argparse.ArgumentParser) -> None:
    """`--tls-cert`, `--tls-key` and `--listen-plain`."""
    add = parser.add_argument
    add(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="Certificate (PEM, with its chain) for callers, who then speak HTTPS. A replaced file counts for new "
        "connections within seconds.",
    )
    add("--tls-key", type=Path, metavar="FILE", help="The certificate's key (PEM).")
    add(
        "--listen-plain",
        type=address,
        metavar=HOST_PORT,
        help="With --tls-cert: where callers connect without TLS. Default: nowhere.",
    )


def _certificate(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Certificate | None:
    """The certificate for callers; None: they do not speak TLS."""
    if given.tls_cert is None or given.tls_key is None:
        if given.tls_cert or given.tls_key or given.listen_plain:
            parser.error("--tls-cert, --tls-key and --listen-plain go together: give the certificate and its key.")
        return None
    try:
        return Certificate(given.tls_cert, given.tls_key)
    except ValueError as error:
        parser.error(str(error))


def _access(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Access | None:
    """How to reach the config server; None: there is none."""
    url = given.config_server
    if url is None:
        if given.token_file or given.ca_file:
            parser.error("--token-file and --ca-file are for a config server: add --config-server.")
        return None
    if not url.startswith(("http://", "https://")):
        parser.error(f"{url!r} is not the URL of a config server, such as https://weir-operator:8443.")
    if given.token_file is None:
        parser.error("--config-server needs --token-file: the server asks who is there.")
    return Access(url, given.token_file, given.ca_file)


async def _serve(gateway: Router, mounted: MountedConfig, access: Access | None) -> None:
    await mounted.look()  # before the ports are open: who starts with a config is ready at once
    await serve(gateway, mounted.run(), *([poll(gateway, access, gateway=True)] if access else []))
