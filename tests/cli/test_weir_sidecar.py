"""`weir sidecar` as the webhook starts it, and again without a config server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from cli.shell import http, running, until, weir
from support.config_server import serving
from support.published import VALUES, compiled, policy
from support.servers import certificates, free_port, server_context

CONFIG = compiled(policy(models=("one",)))


def options(folder: Path, server: str) -> tuple[str | Path, ...]:
    (folder / "config-token").write_text("tenant")
    (folder / "token").write_text("eyJ")
    (folder / "ca.crt").write_bytes((folder / "ca.pem").read_bytes())
    where = ("--files", folder, "--keep", folder, "--config-server", server, "--gateway", "http://127.0.0.1:9")
    return ("--caller", "team-a/web", "--port", "0", "--admin", "127.0.0.1:0", *where)


def models(folder: Path, server: str, revision: int) -> list[str]:
    """The models that a sidecar serves once it has `revision`."""
    with running("sidecar", *options(folder, server)) as command:
        admin = command.wait_for(r"state on (http://[^\s.]+\S*\d)")[1]
        url = command.wait_for(r"callers on (http://\S+\d),")[1]
        assert url.startswith("http://127.0.0.1:")
        until(lambda: http(f"{admin}/readyz").json()["revision"] == revision)
        found = [it["id"] for it in http(f"{url}/v1/models").json()["data"]]
        assert command.stop() == 0
        assert not any(value in command.said + "".join(command.stdout) for value in VALUES)
        return found


async def test_it_follows_the_config_server_and_starts_again_without_one(tmp_path: Path):
    folder = certificates(tmp_path)
    async with serving(tls=server_context(folder)) as stand:
        stand.publish(CONFIG, 3)
        assert await asyncio.to_thread(models, folder, stand.url, 3) == ["one"]
        (found,) = stand.server.reports
        assert (found.account.namespace, found.gateway, found.report.revision) == ("team-a", False, 3)
    assert await asyncio.to_thread(models, folder, stand.url, 0) == ["one"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--caller": "web"}, "is not NAMESPACE/SERVICEACCOUNT"),
        ({"--caller": "a/b/c"}, "is not NAMESPACE/SERVICEACCOUNT"),
        ({"--gateway": "weir"}, "--gateway 'weir' is not a URL"),
        ({"--config-server": "weir"}, "--config-server 'weir' is not a URL"),
    ],
)
def test_wrong_options_are_said(changes: dict[str, str], said: str):
    given = {"--caller": "a/b", "--gateway": "http://g", "--config-server": "http://c", "--files": "f", "--keep": "k"}
    done = weir("sidecar", *(part for pair in (given | changes).items() for part in pair))
    assert (done.returncode, said in done.stderr) == (2, True)


def test_web_pages_may_call_only_from_allowed_origins(tmp_path: Path):
    given = (*options(certificates(tmp_path), "https://127.0.0.1:9"), "--allow-origin=https://app.example.com")
    with running("sidecar", *given) as command:
        url = command.wait_for(r"callers on (http://\S+\d),")[1]
        for page, status in (("https://app.example.com", 503), ("https://evil.example", 403)):
            assert http(f"{url}/v1/models", origin=page).status == status
        assert http(f"{url}/v1/models", host="evil.example").status == 403


def test_an_injected_one_has_its_port_open_before_it_can_serve(tmp_path: Path):
    caller, team, _, _, *others = options(certificates(tmp_path), "https://127.0.0.1:9")
    port = free_port()
    arguments = ("sidecar", caller, team, f"--port={port}", *others)  # the form that the webhook writes
    with running(*arguments, env={"WEIR_NAMESPACE": "team-a"}) as command:
        until(lambda: connects(port))
        assert "Serving callers" not in command.said
        answer = http(f"http://127.0.0.1:{port}/v1/models")
        assert answer.json()["error"]["code"] == "not_configured"
        assert command.stop() == 0


def connects(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
