"""A router whose callers use up all connections that its open files allow: the admin port still answers."""

import contextlib
import socket

from cli.shell import http, policy, running, save, tier, until

FILES = 256
"""Open files that the router may have."""


def connect(port, count):
    with contextlib.ExitStack() as open_ones:
        for _ in range(count):
            one = open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
            with contextlib.suppress(OSError):
                one.sendall(b"GET / HTTP/1.1\r\nx")  # busy before the next comes, so that none makes room for another
        return open_ones.pop_all()


def test_probes_answer_while_callers_hold_all_connections(tmp_path):
    save(tmp_path / "m.yaml", tier("http://127.0.0.1:9"), policy())
    limit = ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh"]
    listen = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    with running("up", tmp_path, *listen, within=limit) as command:
        found = command.wait_for(r"callers on (http://\S+),[^h]*(http://[^\s.]+\S*\d)")
        with connect(int(found[1].rpartition(":")[2]), FILES + 50):
            until(lambda: "weir_connections 64.0" in http(f"{found[2]}/metrics").text)
            assert [http(f"{found[2]}/healthz").status for _ in range(20)] == [200] * 20
            refused = 'weir_refused_total{port="callers",reason="connections"}'
            until(lambda: refused in http(f"{found[2]}/metrics").text)  # its text is made once a second at most
