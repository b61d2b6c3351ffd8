"""The option with the token of routers' admin ports; shared by commands that read their pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weir_cli.shared.output import fail
from weir_router.serve.admin import TOKEN_HEADER

AdminTokenFile = Annotated[
    Path | None,
    typer.Option(
        "--admin-token-file",
        envvar="WEIR_ADMIN_TOKEN_FILE",
        help="Token of the routers' admin ports, where one is set (gateway.adminToken of the chart).",
    ),
]


def admin_headers(file: Path | None) -> dict[str, str]:
    """The headers of requests to admin ports. Ends the command if the file holds no token."""
    if file is None:
        return {}
    try:
        token = file.read_text().strip()
    except (OSError, ValueError) as error:  # the message of a ValueError would quote the file
        raise fail(f"--admin-token-file {file} cannot be read: {type(error).__name__}.") from None
    if len(token.split()) != 1 or not (token.isascii() and token.isprintable()):
        raise fail(f"--admin-token-file {file} does not hold a token.")
    return {TOKEN_HEADER: token}
