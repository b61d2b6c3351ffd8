"""The way to the config server without a renewed trust bundle: a sidecar learns later authorities from the server."""

from __future__ import annotations

import os
from pathlib import Path

import aiohttp
import pytest

from support.config_server import serving
from support.published import compiled
from support.servers import certificates, server_context
from weir_router.config.access import Access
from weir_router.config.longpoll import LongPoll, PollFailed
from weir_router.config.store import ConfigStore
from weir_router.contract import RouterReport


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return certificates(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return certificates(tmp_path / "new")


def access(folder: Path, url: str, trusted: Path, learned: Path | None) -> Access:
    (folder / "token").write_text("tenant")
    return Access(url, folder / "token", trusted / "ca.pem", learned_file=learned)


async def polled(way: Access) -> None:
    """Polls once. Raises `PollFailed`."""
    async with aiohttp.ClientSession() as session:
        await LongPoll(way, ConfigStore(), lambda: RouterReport(router="r")).poll(session)


async def told(folder: Path, server: Path, authorities: str, learned: Path | None) -> None:
    """A router that was made with `server`'s authority polls it, and learns `authorities`."""
    async with serving(tls=server_context(server)) as stand:
        stand.publish(compiled())
        stand.server.trust(authorities)
        await polled(access(folder, stand.url, server, learned))


async def test_a_router_that_has_learned_of_the_next_authority_accepts_what_it_signs(
    tmp_path: Path, old: Path, new: Path
):
    learned = tmp_path / "learned.pem"
    await told(tmp_path, old, (old / "ca.pem").read_text() + (new / "ca.pem").read_text(), learned)
    async with serving(tls=server_context(new)) as stand:
        stand.publish(compiled())
        with pytest.raises(PollFailed, match="CertificateError"):
            await polled(access(tmp_path, stand.url, old, None))
        await polled(access(tmp_path, stand.url, old, learned))  # also after a restart, which this is


@pytest.mark.parametrize(
    "nonsense", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
async def test_what_is_no_authority_is_not_learned(tmp_path: Path, old: Path, nonsense: str):
    learned = tmp_path / "learned.pem"
    await told(tmp_path, old, nonsense, learned)
    assert not learned.exists()


async def test_a_directory_that_is_not_there_stops_nobody(tmp_path: Path, old: Path):
    await told(tmp_path, old, (old / "ca.pem").read_text(), tmp_path / "missing" / "learned.pem")


async def test_a_router_whose_authority_is_mounted_keeps_nothing(tmp_path: Path, old: Path):
    await told(tmp_path, old, (old / "ca.pem").read_text(), None)
    assert sorted(os.listdir(tmp_path)) == ["old", "token"]
