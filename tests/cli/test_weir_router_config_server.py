"""`weir router` as a process that follows a config server over TLS, with mounted files to start from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.shell import http, running, until, weir
from support.config_server import serving
from support.published import VALUES, Volume, compiled, policy, published
from support.servers import certificates, server_context
from weir_operator.compile import Compiled
from weir_router.config.longpoll import WAIT
from weir_router.contract import Backend, Dialect, Tier

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


def nobody_answers() -> Compiled:
    """A config whose only backend refuses connections; anonymous callers are of team-a."""
    there = Backend(name="b0", provider=Dialect.OPENAI, base_url="http://127.0.0.1:9/v1", model="m")
    tier = Tier(namespace="llm", name="small", backends=(there,))
    return compiled(policy(models=("one",)), tiers=(tier,), anonymous_namespace="team-a")


def ask_in_vain(url: str, folder: Path, seen: Callable[[], bool]) -> None:
    """Asks six times, and runs until the failures have been `seen`."""
    access = ("--config-server", url, "--token-file", folder / "token", "--ca-file", folder / "ca.pem")
    listen = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    with running("router", "--config-dir", folder / "config", *access, *listen) as command:
        found = command.wait_for(r"callers on (http://[^\s,]+),[^h]*(http://[^\s.]+\S*\d)")
        until(lambda: http(f"{found[2]}/readyz").status == 200)
        body = {"model": "one", "messages": [{"role": "user", "content": "Hi"}]}
        for _ in range(6):
            assert http(f"{found[1]}/v1/chat/completions", body).status == 503
        until(seen)
        assert command.stop() == 0


async def test_a_backend_that_is_left_alone_is_told_in_seconds_with_reason_and_counts(tmp_path: Path):
    folder = certificates(tmp_path)
    (folder / "token").write_text("gateway")
    async with serving(tls=server_context(folder)) as stand:
        stand.publish(nobody_answers())
        reports = lambda: [it.report.backends.get("llm/small/b0") for it in stand.server.reports]
        began = time.monotonic()
        await asyncio.to_thread(
            ask_in_vain, stand.url, folder, lambda: any(it and it.state != "closed" for it in reports())
        )
        assert time.monotonic() - began < WAIT / 2
        (found,) = reports()
    assert found is not None
    assert found.reason == "connect"
    assert found.requests == found.failures >= 5


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
