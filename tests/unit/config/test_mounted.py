"""A mounted directory: applied if complete, otherwise refused, and only read after a swap."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.published import Volume, compiled, policy, published
from weir_operator.publish.publication import Publication
from weir_router.config import mounted as module
from weir_router.config.mounted import POLL, MountedConfig, read
from weir_router.config.store import ConfigStore
from weir_router.contract import CompiledConfig, Secrets
from weir_router.contract.published import INDEX_FILE

FIRST = published(compiled(policy(models=("first",))), 1)
SECOND = published(compiled(policy(models=("second",))), 2)


def torn(publication: Publication) -> dict[str, bytes]:
    """The publication's files without a shard."""
    return {name: it for name, it in publication.files.items() if not name.startswith("shard-11")}


class Stand:
    """A volume, a store, and the `MountedConfig` between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "config"
        self.volume = Volume(self.folder)
        self.store = ConfigStore()
        self.swaps: list[int] = []
        self.store.subscribe(lambda config, _: self.swaps.append(config.revision))
        self.source = MountedConfig(self.folder, self.store)

    async def show(self, files: dict[str, bytes]) -> None:
        """Swaps the volume, and makes the source check it."""
        self.volume.swap(files)
        await self.source.look()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def test_what_is_mounted_is_applied_with_its_secrets(stand: Stand):
    await stand.show(FIRST.files)
    assert stand.swaps == [1]
    assert stand.store.config.policies[0].models == ("first",)
    assert stand.store.secrets.credentials
    assert stand.store.secrets.caller_keys


async def test_a_swap_is_followed(stand: Stand):
    await stand.show(FIRST.files)
    await stand.show(SECOND.files)
    assert stand.swaps == [1, 2]


async def test_a_directory_that_is_not_there_yet_is_waited_for(stand: Stand):
    await stand.source.look()
    assert "no index.json" in stand.store.waiting
    assert stand.store.config is None
    await stand.show(FIRST.files)
    assert (stand.swaps, stand.store.waiting) == ([1], None)


async def test_an_empty_volume_is_waited_for(stand: Stand):
    await stand.show({})
    assert "the operator publishes it" in stand.store.waiting
    assert stand.store.rejected is None


async def test_a_torn_config_is_refused_and_the_last_good_one_goes_on(stand: Stand):
    await stand.show(FIRST.files)
    await stand.show(torn(SECOND))
    assert "shard 11 of revision 2 is not there yet" in stand.store.rejected
    assert stand.store.config.revision == 1
    await stand.show(SECOND.files)
    assert (stand.swaps, stand.store.rejected) == ([1, 2], None)


async def test_config_that_is_withdrawn_whole_is_no_reason_to_stop(stand: Stand):
    await stand.show(FIRST.files)
    await stand.show({})
    assert stand.store.config.revision == 1
    assert "no index.json" in stand.store.rejected


async def test_back_to_what_runs_is_no_swap_and_no_longer_refused(stand: Stand):
    await stand.show(FIRST.files)
    await stand.show(torn(SECOND))
    await stand.show(FIRST.files)
    assert (stand.swaps, stand.store.rejected) == ([1], None)


async def test_files_that_are_cleared_away_are_no_swap(stand: Stand):
    await stand.show(SECOND.files | FIRST.files | {INDEX_FILE: SECOND.files[INDEX_FILE]})
    await stand.show(SECOND.files)
    assert stand.swaps == [2]


async def test_an_older_revision_is_followed_where_it_is_the_only_source(stand: Stand):
    """A backup was restored, or the index was deleted while the operator was down."""
    await stand.show(SECOND.files)
    await stand.show(FIRST.files)
    assert stand.swaps == [2, 1]


async def test_a_source_that_is_ahead_is_left_alone(stand: Stand):
    stand.store.apply(CompiledConfig(revision=9), Secrets())
    await stand.show(SECOND.files)
    assert stand.swaps == [9]


async def test_a_source_that_is_behind_is_overtaken(stand: Stand):
    stand.store.apply(CompiledConfig(revision=1), Secrets())
    await stand.show(SECOND.files)
    assert stand.swaps == [1, 2]


async def test_trouble_here_is_no_refusal_while_another_source_serves(stand: Stand):
    stand.store.apply(CompiledConfig(revision=1), Secrets())
    await stand.source.look()
    await stand.show(torn(SECOND))
    assert stand.store.rejected is None


async def test_what_was_not_swapped_is_not_read_again(stand: Stand):
    await stand.show(FIRST.files)
    (stand.folder / "..data" / INDEX_FILE).unlink()
    await stand.source.look()
    assert stand.store.rejected is None


async def test_a_plain_directory_will_do(stand: Stand):
    stand.folder.mkdir()
    for name, content in FIRST.files.items():
        (stand.folder / name).write_bytes(content)
    await stand.source.look()
    for name, content in SECOND.files.items():
        (stand.folder / name).write_bytes(content)
    await stand.source.look()
    assert stand.swaps == [1, 2]


def test_a_swap_under_the_reader_s_hands_is_read_again(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    stand.volume.swap(FIRST.files)
    content, swaps = module._content, iter([SECOND.files])

    def swapping(path: Path) -> bytes | None:
        if path.name != INDEX_FILE and (files := next(swaps, None)):
            stand.volume.swap(files)
        return content(path)

    monkeypatch.setattr(module, "_content", swapping)
    index, config, _ = read(stand.folder)
    assert (index.revision, config.policies[0].models) == (2, ("second",))


async def test_a_file_that_cannot_be_read_is_a_reason_like_any_other(stand: Stand):
    (stand.folder / INDEX_FILE).mkdir(parents=True)
    await stand.source.look()
    assert "cannot be read: Is a directory" in stand.store.rejected


async def test_a_refusal_is_logged_once_without_values(stand: Stand, caplog: pytest.LogCaptureFixture):
    await stand.show(torn(FIRST))
    await stand.source.look()
    (line,) = caplog.messages
    assert "shard 11 of revision 1" in line
    assert "sk-first" not in line


async def test_it_looks_again_after_every_pause(stand: Stand):
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise asyncio.CancelledError
        stand.volume.swap(FIRST.files)

    with pytest.raises(asyncio.CancelledError):
        await MountedConfig(stand.folder, stand.store, sleep=sleep).run()
    assert pauses == [POLL, POLL]
    assert stand.swaps == [1]
