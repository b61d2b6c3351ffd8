"""The command line of what runs in pods, `weir router` and `weir sidecar`. The standard library's: typer, with pydantic
and rich behind it, would take 14 MB and a quarter of a second of every pod, for a few options.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import TypeVar

from weir_router.admit.machine import MAX_CONNECTIONS
from weir_router.run.process import CONNECTIONS_HELP, MEMORY_HELP, host_and_port, size_of
from weir_router.serve.browsers import origin_of

T = TypeVar("T", int, float)

HOST_PORT = "HOST:PORT"
"""Placeholder of an address in help texts."""


def parser_of(command: str, text: str) -> argparse.ArgumentParser:
    """The parser of `weir COMMAND`; `text` is its help. A wrong option is reported on stderr, with exit code 2."""
    return argparse.ArgumentParser(
        prog=f"weir {command}",
        description=cleandoc(text),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an option that comes later must not change what is written today
    )


def address(text: str) -> tuple[str, int]:
    """The type of an option that is an address."""
    try:
        return host_and_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def number(kind: type[T], least: T, most: float = math.inf) -> Callable[[str], T]:
    """The type of an option that is a number from `least` to `most`."""

    def read(text: str) -> T:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= value <= most:
            bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"{text} is not {bounds}")
        return value

    return read


def size(text: str) -> int:
    """The type of an option that is a number of bytes."""
    try:
        return size_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_memory(parser: argparse.ArgumentParser) -> None:
    """`--memory`."""
    parser.add_argument("--memory", type=size, metavar="BYTES", help=MEMORY_HELP)


def add_connections(parser: argparse.ArgumentParser) -> None:
    """`--max-connections`."""
    parser.add_argument(
        "--max-connections", type=number(int, 1), metavar="NUMBER", default=MAX_CONNECTIONS, help=CONNECTIONS_HELP
    )


def add_admin(parser: argparse.ArgumentParser, default: str) -> None:
    """`--admin` and its token; every pod has the port, each kind at one of its own."""
    parser.add_argument(
        "--admin",
        type=address,
        metavar=HOST_PORT,
        default=default,
        help="Where /metrics, /state, /healthz and /readyz are; default: %(default)s.",
    )
    parser.add_argument(
        "--admin-token-file",
        type=Path,
        metavar="FILE",
        help="A token that /metrics and the names in /state are shown for, as Authorization: Bearer TOKEN; read for "
        "each request. Callers on loopback, such as kubectl port-forward, need none. Default: the network decides.",
    )


def add_origins(parser: argparse.ArgumentParser) -> None:
    """`--allow-origin`."""

    def read(text: str) -> str:
        try:
            return origin_of(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    parser.add_argument(
        "--allow-origin",
        action="append",
        type=read,
        metavar="ORIGIN",
        default=[],
        help="Allow calls from web pages of this origin, such as https://app.example.com; repeatable. "
        "Pages of localhost are always allowed.",
    )


def add_log(parser: argparse.ArgumentParser) -> None:
    """`--log` and `--no-log`."""
    parser.add_argument(
        "--log", action=argparse.BooleanOptionalAction, default=True, help="One JSON line per request on stdout."
    )
