"""`weir connect`: the settings that lead a client to a router. It asks no router and changes no file."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from weir_cli.connect.clients import LINES, Client, Target
from weir_cli.shared.output import Exit, fail

PLACEHOLDER = "unused"
"""Key for routers that serve callers without one: SDKs refuse to start with none, and such routers ignore it."""

_URL = re.compile(r"https?://[^\s'\"/?#@$`\\;&|<>()]+(/[A-Za-z0-9._~/-]*)?")
_WORD = re.compile(r"[A-Za-z0-9._:/@+-]{1,253}|\$[A-Z_][A-Z0-9_]*")


def connect(
    client: Annotated[Client, typer.Argument(help="The client to connect.")],
    url: Annotated[str, typer.Option(help="Where the router serves callers.")] = "http://127.0.0.1:8080",
    model: Annotated[str, typer.Option(help="The model name to ask for: one of GET /v1/models.")] = "auto",
    key: Annotated[
        str, typer.Option(help="A key, or the variable that has it, such as '$WEIR_KEY'. Not needed on loopback.")
    ] = PLACEHOLDER,
    ca_file: Annotated[
        str | None, typer.Option(help="File (PEM) of a private authority that signs the router's certificate.")
    ] = None,
) -> None:
    """Prints the settings of a client that lead it to a router.

    \b
    weir connect claude-code
    weir connect openai --url https://models.example.com --key '$WEIR_KEY'
    weir connect openai --url https://weir.weir-system.svc --ca-file ca.crt

    Exit code 1: the client cannot use such a router; 2: wrong arguments.
    """
    base = url.rstrip("/").removesuffix("/v1").rstrip("/")
    if not _URL.fullmatch(base):
        raise fail(f"--url {url!r} is no plain http or https URL, such as http://127.0.0.1:8080.")
    if ca_file is not None and client is Client.CURSOR:
        raise fail("Cursor's own servers call the router, and trust only public authorities.", Exit.PROBLEMS)
    for option, text in (("--model", model), ("--key", key), ("--ca-file", ca_file or "none")):
        if not _WORD.fullmatch(text):
            raise fail(f"{option} has a character that a shell would read as something else.")
    typer.echo(LINES[client](Target(base, model, key, ca_file)))
