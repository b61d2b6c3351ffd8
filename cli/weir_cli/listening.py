"""Waits until something listens on a port of localhost: `python -m weir_cli.listening PORT SECONDS`.

A sidecar's postStart hook, by `weir_operator.inject`: the kubelet starts a pod's next containers when it has ended. It
ends well in any case, since nothing may keep a pod from starting. Only the standard library: it runs beside a router
that is starting, and competes with it for the CPU.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time

LOCALHOST = "127.0.0.1"

PAUSE = 0.02
"""Seconds between two attempts: an attempt costs less than 0.1 ms."""


def wait(port: int, seconds: float) -> bool:
    """Whether somebody listens on `port` within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((LOCALHOST, port), timeout=1.0):
            return True
        time.sleep(PAUSE)
    return False


if __name__ == "__main__":
    wait(int(sys.argv[1]), float(sys.argv[2]))
