"""An injected sidecar listens first, and one that cannot start runs until the kubelet has seen it."""

from __future__ import annotations

import socket
import time
from contextlib import closing

import pytest

from support.servers import free_port
from weir_cli import early

INJECTED = {early.INJECTED: "team-a"}


def test_callers_wait_for_an_injected_sidecar_that_still_imports() -> None:
    port = free_port()
    with early.start(["weir", "sidecar", f"--port={port}"], INJECTED):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
            listener = early.opened(port)
            assert listener is not None
            with closing(listener), closing(listener.accept()[0]) as served:
                served.sendall(b"hello")
                assert caller.recv(5) == b"hello"
        assert early.opened(port) is None


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["weir", "sidecar", "--port=PORT"], {}),
        (["weir", "router", "--port=PORT"], INJECTED),
        (["weir"], INJECTED),
        (["weir", "sidecar", "--port=x"], INJECTED),
        (["weir", "sidecar", "--port=99999"], INJECTED),
    ],
)
def test_nothing_else_listens(arguments: list[str], environment: dict[str, str]) -> None:
    port = free_port()
    with early.start([it.replace("PORT", str(port)) for it in arguments], environment):
        assert early.opened(port) is None


def test_a_port_that_is_taken_is_left_to_the_command() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with early.start(["weir", "sidecar", f"--port={port}"], INJECTED):
            assert early.opened(port) is None


def test_a_sidecar_that_cannot_start_is_seen_before_it_ends() -> None:
    began = time.monotonic()
    with pytest.raises(SystemExit), early.seen(0.2):
        raise SystemExit(2)
    assert time.monotonic() - began >= 0.2


def test_one_that_ends_well_is_not_held() -> None:
    began = time.monotonic()
    with pytest.raises(SystemExit), early.seen(30):
        raise SystemExit(0)
    assert time.monotonic() - began < 30
