"""The console script. Imports nothing but the standard library before it listens to Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

from weir_cli import early


def main() -> None:
    """Runs `weir`."""
    # The imports take up to half a second, in which Ctrl-C would print a traceback out of some library.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    with early.start(sys.argv, os.environ):
        run = _imported("".join(sys.argv[1:2]))
        signal.signal(signal.SIGINT, handler)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal without '→' gets '?'
                stream.reconfigure(errors="replace")
        run()


def _imported(command: str) -> Callable[[], object]:
    """The function that runs `command`. Servers start without the imports of other commands: `router` and `sidecar`,
    which run beside every application, so start in a third of the time and take 28 MB less.
    """
    match command:
        case "router":
            from weir_cli.router import command as router_command

            return partial(router_command.main, sys.argv[2:])
        case "sidecar":
            from weir_cli.sidecar import command as sidecar

            return partial(sidecar.main, sys.argv[2:])
        case "up":
            from weir_cli.up import alone

            return alone.app
        case _:
            from weir_cli import app

            return app.app
