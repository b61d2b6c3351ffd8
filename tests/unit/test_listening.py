"""What a pod's other containers wait for before they start: a sidecar's port, and never for long."""

from __future__ import annotations

import socket
import threading

from weir_cli.listening import wait


def test_it_waits_until_somebody_listens():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        later = threading.Timer(0.1, server.listen)
        later.start()
        assert wait(server.getsockname()[1], 10)
        assert later.finished.is_set()


def test_it_gives_up():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))  # and does not listen
        assert not wait(server.getsockname()[1], 0.05)
