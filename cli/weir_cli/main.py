"""The console script. Imports nothing but the standard library before it listens to Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import sys

from weir_cli import early

ALONE = {"router": "weir_cli.router_command", "sidecar": "weir_cli.sidecar", "up": "weir_cli.up"}
"""Commands that serve, and their modules. Each starts without the imports of all others: `router` and `sidecar`, which
run beside every application, in half of the time and with 27 MB less, `up` with 11 MB less.
"""


def main() -> None:
    """Runs `weir`."""
    # The imports take half a second, in which Ctrl-C would print a traceback out of some library.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    with early.start(sys.argv, os.environ):
        command = sys.argv[1] if sys.argv[1:] else ""
        if command in ALONE:
            from weir_cli.alone import app_of

            app = app_of(command, ALONE[command])
        else:
            from weir_cli.app import app

        signal.signal(signal.SIGINT, handler)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal without '→' gets '?'
                stream.reconfigure(errors="replace")
        app()
