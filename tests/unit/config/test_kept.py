"""The config that a sidecar keeps for its next container."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from support.published import VALUES, compiled, policy
from weir_router.config.kept import FILE, KeptConfig
from weir_router.config.store import ConfigStore
from weir_router.contract import CompiledConfig, Secrets

ONE = compiled(policy(models=("one",)), revision=7)


def restored(folder: Path) -> ConfigStore:
    store = ConfigStore()
    KeptConfig(folder, store).restore()
    return store


def test_what_was_applied_is_there_after_a_restart(tmp_path: Path):
    restored(tmp_path).apply(ONE.config, ONE.secrets)
    after = restored(tmp_path)
    assert after.config is not None
    assert after.config.policies == ONE.config.policies
    assert after.secrets == ONE.secrets


def test_what_is_kept_is_older_than_whatever_a_server_says(tmp_path: Path):
    """An operator that has lost its state begins at revision 1, which counts as newer, too."""
    restored(tmp_path).apply(ONE.config, ONE.secrets)
    assert (it := restored(tmp_path).config) is not None
    assert it.revision == 0


def test_a_second_restart_finds_the_same(tmp_path: Path):
    restored(tmp_path).apply(ONE.config, ONE.secrets)
    restored(tmp_path)
    assert (it := restored(tmp_path).config) is not None
    assert it.policies == ONE.config.policies


def test_only_we_can_read_it(tmp_path: Path):
    restored(tmp_path).apply(ONE.config, ONE.secrets)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert [it.name for it in tmp_path.iterdir()] == [FILE]


def test_a_new_pod_has_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert restored(tmp_path).config is None
    assert not caplog.records


@pytest.mark.parametrize("content", [b"", b"{", b'{"config": {"apiVersion": "config.weir.dev/v9"}}'])
def test_what_cannot_be_read_is_said_and_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes):
    (tmp_path / FILE).write_bytes(content)
    store = restored(tmp_path)
    assert store.config is None
    assert "cannot use the config kept in" in caplog.text
    store.apply(ONE.config, ONE.secrets)
    assert restored(tmp_path).config is not None


def test_a_directory_that_cannot_be_written_keeps_nobody_from_serving(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = restored(tmp_path / "missing")
    with caplog.at_level(logging.WARNING):
        store.apply(ONE.config, ONE.secrets)
    assert store.config == ONE.config
    assert "cannot keep the config in" in caplog.text
    assert not any(value in caplog.text for value in VALUES)


def test_an_empty_config_is_a_config(tmp_path: Path):
    restored(tmp_path).apply(CompiledConfig(revision=1), Secrets())
    assert restored(tmp_path).config is not None
