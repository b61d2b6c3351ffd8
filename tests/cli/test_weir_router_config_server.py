"""`weir router` as a process that follows a config server over TLS, with mounted files to start from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cli.shell import http, running, until, weir
from support.config_server import serving
from support.published import VALUES, Volume, compiled, policy, published
from support.servers import certificates, server_context

ONE, TWO = compiled(policy(models=("one",))), compiled(policy(models=("two",)))


def follow(url: str, folder: Path) -> None:
    """Waits until a router that starts from revision 1 runs revision 2."""
    access = ("--config-server", url, "--token-file", folder / "token", "--ca-file", folder / "ca.pem")
    listen = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    with running("router", "--config-dir", folder / "config", *access, *listen) as command:
        admin = command.wait_for(r"state on (http://[^\s.]+\S*\d)")[1]
        until(lambda: http(f"{admin}/readyz").json() == {"ready": True, "revision": 2, "rejected": None})
        assert command.stop() == 0
        assert not any(value in command.said + "".join(command.stdout) for value in VALUES)


async def test_it_starts_from_mounted_files_and_follows_the_server_with_a_report(tmp_path: Path):
    folder = certificates(tmp_path)
    (folder / "token").write_text("gateway")
    Volume(folder / "config").swap(published(ONE, 1).files)
    async with serving(tls=server_context(folder)) as stand:
        stand.publish(TWO, 2)
        await asyncio.to_thread(follow, stand.url, folder)
        (found,) = stand.server.reports
    assert (found.gateway, found.current, found.report.revision) == (True, True, 2)
    assert {key: it.state for key, it in found.report.backends.items()} == {"llm/small/b0": "closed"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--config-server", "https://weir"), "--config-server needs --token-file"),
        (("--config-server", "weir:8443", "--token-file", "t"), "is not the URL of a config server"),
        (("--token-file", "t"), "add --config-server"),
    ],
)
def test_wrong_options_are_said(options: tuple[str, ...], said: str):
    done = weir("router", "--config-dir", "nowhere", *options)
    assert (done.returncode, said in done.stderr) == (2, True)
