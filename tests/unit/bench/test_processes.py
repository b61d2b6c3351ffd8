"""The ports that benchmarks assign to their processes."""

import contextlib
import socket

import pytest
from bench.processes import free_port


def listening(port):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return contextlib.closing(server)


def test_a_port_is_given_once_and_only_one_may_listen_there():
    """Two concurrent runs would otherwise measure each other's gateway."""
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == len(ports)
    with listening(ports[0]), pytest.raises(OSError, match="in use"):
        listening(ports[0])


def test_nobody_listens_on_a_port_that_was_just_given():
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", free_port())) != 0
