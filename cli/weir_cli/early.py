"""How an injected sidecar starts, so that its pod neither waits for it nor comes too early. Called first by `main`.

The kubelet starts a pod's next containers as soon as it has seen the sidecar's process run. So

1. the port is open before the half second that imports take: until they are done, callers wait in the kernel's queue,
   instead of being refused;
2. a sidecar that cannot start does not end before the kubelet has seen it run, since that would hold the pod for ever.

No hook and no startup probe: either keeps a pod from starting whose sidecar is ill. Only the standard library.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence

LOCALHOST = "127.0.0.1"
"""The only address on which a sidecar listens: a caller that reaches it is the pod itself."""

INJECTED = "WEIR_NAMESPACE"
"""Variable that the webhook sets. A sidecar without it was started by hand, and ends at once where it cannot start."""

BACKLOG = 1024
"""Callers that wait; the router's own number."""

SEEN_SECONDS = 5.0
"""Seconds of running after which the kubelet has seen the process: it looks once a second."""

_open: dict[int, socket.socket] = {}


@contextlib.contextmanager
def start(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Around the command `arguments`, imports included; does nothing unless that is an injected sidecar."""
    if list(arguments[1:2]) != ["sidecar"] or INJECTED not in environment:
        yield
        return
    listen(arguments)
    with seen(SEEN_SECONDS):
        yield


def listen(arguments: Sequence[str]) -> None:
    """Opens the port of `--port=N`, the form that the webhook writes. The command reports a wrong one."""
    ports = (it.removeprefix("--port=") for it in arguments if it.startswith("--port="))
    for port in (int(it) for it in ports if it.isdecimal() and int(it) <= 65535):
        with contextlib.suppress(OSError):
            _open[port] = socket.create_server((LOCALHOST, port), backlog=BACKLOG)


def opened(port: int) -> socket.socket | None:
    """The open port, which the caller serves from now on; None: it is to be opened."""
    return _open.pop(port, None)


@contextlib.contextmanager
def seen(seconds: float) -> Iterator[None]:
    """The block may fail, but what failed it comes out only when `seconds` are over."""
    began = time.monotonic()
    try:
        yield
    except BaseException as failure:
        if not isinstance(failure, SystemExit) or failure.code:
            time.sleep(max(0.0, began + seconds - time.monotonic()))
        raise
