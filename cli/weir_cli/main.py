"""The console script. Imports nothing but the standard library before it listens to Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import sys

from weir_cli import early

IN_PODS = ("router", "sidecar")
"""Commands that run beside every application: without the compiler, the demo and the rest they start in half the time
and take 15 MB less."""


def main() -> None:
    """Runs `weir`."""
    # The imports take half a second, in which Ctrl-C would print a traceback out of some library.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    with early.start(sys.argv, os.environ):
        if sys.argv[1:2] and sys.argv[1] in IN_PODS:
            from weir_cli.pods import app
        else:
            from weir_cli.app import app

        signal.signal(signal.SIGINT, handler)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal without '→' gets '?'
                stream.reconfigure(errors="replace")
        app()
