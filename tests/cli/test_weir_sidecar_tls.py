"""`weir sidecar` before a gateway, in a process of its own, whose certificate a private authority signs."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cli.shell import Answer, Running, http, running, until
from support.config_server import Stand, serving
from support.published import Volume, compiled, policy, published
from support.servers import certificates, server_context
from weir_operator.compile import Compiled

LISTEN = ("--admin", "127.0.0.1:0")
BODY = {"model": "one", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Certificates of two authorities, `old` and `new`, and the files of the router and the sidecar."""
    for name in ("old", "new", "config-server"):
        (tmp_path / name).mkdir()
        certificates(tmp_path / name)
    sign(tmp_path, "old")
    Volume(tmp_path / "config").swap(published(compiled(policy(models=("one",))), 1).files)
    (tmp_path / "files").mkdir()
    for name, text in (("config-token", "tenant"), ("token", "eyJ"), ("ca.crt", authority(tmp_path, "config-server"))):
        (tmp_path / "files" / name).write_text(text)
    (tmp_path / "kept").mkdir()
    return tmp_path


def authority(folder: Path, name: str) -> str:
    return (folder / name / "ca.pem").read_text()


def sign(folder: Path, name: str) -> None:
    """Gives the gateway the certificate of an authority, as the kubelet replaces files."""
    for file in ("server.key", "server.pem"):
        shutil.copy(folder / name / file, folder / f"{file}.part")
        (folder / f"{file}.part").replace(folder / file)


@contextlib.contextmanager
def gateway(folder: Path) -> Iterator[str]:
    """The URL of a gateway that speaks TLS only."""
    tls = ("--tls-cert", folder / "server.pem", "--tls-key", folder / "server.key")
    listen = ("--listen", "127.0.0.1:0", *LISTEN)
    with running("router", "--config-dir", folder / "config", *listen, *tls) as command:
        yield command.wait_for(r"callers on (https://\S+\d),")[1].replace("127.0.0.1", "localhost")


@contextlib.contextmanager
def sidecar(folder: Path, gateway: str, server: str, *options: str | Path) -> Iterator[tuple[str, str]]:
    """The URLs of callers and of the admin port of a sidecar."""
    where = ("--files", folder / "files", "--keep", folder / "kept", "--config-server", server, "--gateway", gateway)
    with running("sidecar", "--caller", "team-a/web", "--port", "0", *LISTEN, *where, *options) as command:
        yield found(command)


def found(command: Running) -> tuple[str, str]:
    it = command.wait_for(r"callers on (http://\S+\d),[^h]*(http://[^\s.]+\S*\d)")
    return it[1], it[2]


def ask(url: str) -> Answer:
    return http(f"{url}/v1/chat/completions", BODY)


def answers(url: str) -> bool:
    """Whether the gateway answers: it refuses the pod's token, which no API server signed."""
    return ask(url).status == 401


def test_a_private_authority_is_trusted_where_its_file_is_named_and_nowhere_else(folder: Path):
    ca = folder / "files" / "gateway-ca.crt"
    ca.write_text(authority(folder, "old"))
    nowhere = "https://127.0.0.1:9"
    with gateway(folder) as url:
        with sidecar(folder, url, nowhere) as (callers, _):
            refused = ask(callers)
            assert (refused.status, refused.json()["error"]["code"]) == (503, "gateway_unavailable")
            assert "certificate verify failed" in refused.json()["error"]["message"]
        with sidecar(folder, url, nowhere, "--gateway-ca-file", ca) as (callers, _):
            assert answers(callers)
            ca.write_text(authority(folder, "new"))  # no connection is made anew yet
            assert answers(callers)


def config(*authorities: str) -> Compiled:
    it = compiled()
    return Compiled(msgspec.structs.replace(it.config, gateway_authorities="".join(authorities)), it.secrets, ())


async def test_sidecars_follow_a_change_of_the_authority_without_a_restart(folder: Path):
    old, new = authority(folder, "old"), authority(folder, "new")
    with gateway(folder) as url:
        async with serving(tls=server_context(folder / "config-server")) as stand:
            stand.publish(config(old), 1)
            await asyncio.to_thread(changed, folder, url, stand, asyncio.get_running_loop(), config(old, new))
        # The config server is gone and the container starts anew: the kept config has the authorities.
        with sidecar(folder, url, "https://127.0.0.1:9") as (callers, _):
            assert answers(callers)


def changed(folder: Path, url: str, stand: Stand, loop: asyncio.AbstractEventLoop, then: Compiled) -> None:
    with sidecar(folder, url, stand.url) as (callers, admin):
        until(lambda: http(f"{admin}/readyz").json()["revision"] == 1)
        assert answers(callers)
        loop.call_soon_threadsafe(stand.publish, then, 2)
        until(lambda: http(f"{admin}/readyz").json()["revision"] == 2)
        sign(folder, "new")
        until(lambda: signed_by(url, folder / "new"))
        assert answers(callers)


def signed_by(url: str, authority: Path) -> bool:
    """Whether the gateway has taken over the certificate of an authority."""

    context = ssl.create_default_context(cafile=authority / "ca.pem")
    try:
        urllib.request.urlopen(f"{url}/health", context=context, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except urllib.error.URLError:
        return False
    return True


async def test_a_pod_that_is_older_than_the_config_servers_authority_still_finds_it(folder: Path):
    later = authority(folder, "config-server") + authority(folder, "new")
    async with serving(tls=server_context(folder / "config-server")) as stand:
        stand.publish(compiled(), 1)
        stand.server.trust(later)
        await asyncio.to_thread(reaches, folder, stand.url, 1)
    async with serving(tls=server_context(folder / "new")) as stand:
        stand.publish(compiled(), 2)
        await asyncio.to_thread(reaches, folder, stand.url, 2)


def reaches(folder: Path, server: str, revision: int) -> None:
    with sidecar(folder, "http://127.0.0.1:9", server) as (_, admin):
        until(lambda: http(f"{admin}/readyz").json()["revision"] == revision)
