"""Config from a mounted directory, with which a router starts, and which it follows while no config server answers.

Run by `weir router`. The directory is a projected volume of the ConfigMaps and Secrets that the operator publishes, all
of them optional; any other directory with the same files will do. The kubelet swaps such a volume as a whole: it fills
a new folder and points the link `..data` to it. So this module watches that link, and reads the files behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from weir_router.config.store import ConfigStore
from weir_router.contract import CompiledConfig, ConfigRejected, Secrets
from weir_router.contract.published import INDEX_FILE, Index, assemble, parse_index

DATA_LINK = "..data"
"""Name of the link that the kubelet swaps."""

POLL = 1.0
"""Seconds between two checks: reading one link takes microseconds, and the kubelet itself takes up to a minute."""

READS = 3
"""Times that a directory is read if it changes meanwhile; the kubelet swaps it once a minute at most."""

_log = logging.getLogger("weir.config")

_Identity = tuple[object, ...]


class NotPublished(ConfigRejected):
    """There is no config: a new installation, or the kubelet has not mounted it yet."""


class MountedConfig:
    """Keeps a `ConfigStore` up to date with a directory. If a config is refused, the store remembers why and keeps the
    last good one.
    """

    def __init__(
        self, directory: Path, store: ConfigStore, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._directory = directory
        self._store = store
        self._sleep = sleep
        self._seen: _Identity | None = None
        self._index: Index | None = None
        self._applied: CompiledConfig | None = None

    async def run(self) -> None:
        """Checks the directory repeatedly until cancelled."""
        while True:
            await self.look()
            await self._sleep(POLL)

    async def look(self) -> None:
        """Reads the directory if it has changed, and applies its config unless the store has a newer one."""
        identity = _identity(self._directory)
        if identity == self._seen:
            return
        self._seen = identity
        try:
            # In a thread: thousands of policies take a while to read, and callers must not wait for it.
            index, config, secrets = await asyncio.to_thread(read, self._directory)
            self._apply(index, config, secrets)
        except NotPublished as error:
            self._missing(str(error))
        except ConfigRejected as error:
            _log.warning("config in %s refused: %s", self._directory, error)
            if not self._another_source_runs():
                self._store.reject(str(error))

    def _apply(self, index: Index, config: CompiledConfig, secrets: Secrets) -> None:
        running = self._store.config
        if self._another_source_runs():
            if running is not None and running.revision >= config.revision:
                return  # the store is ahead: the kubelet may be a minute late
        elif index == self._index:  # the config in use again, or only a file was removed
            self._store.reject(None)
            return
        self._store.apply(config, secrets)
        self._index, self._applied = index, config
        _log.info("revision %d applied from %s", config.revision, self._directory)

    def _missing(self, why: str) -> None:
        if self._store.config is None:
            _log.info("waiting for config: %s", why)
            self._store.waiting = why
        elif not self._another_source_runs():
            _log.warning("the config in use was withdrawn: %s", why)
            self._store.reject(why)

    def _another_source_runs(self) -> bool:
        """Whether the config in use came from elsewhere, for example the long poll: then errors here do not matter."""
        return self._store.config is not None and self._store.config is not self._applied


def read(directory: Path) -> tuple[Index, CompiledConfig, Secrets]:
    """The config in a directory, all files from the same moment. Raises `ConfigRejected`."""
    for _ in range(READS - 1):
        before = _identity(directory)
        try:
            return _read(directory)
        except ConfigRejected:
            if _identity(directory) == before:
                raise  # it was not swapped meanwhile: the config itself is bad
    return _read(directory)


def _read(directory: Path) -> tuple[Index, CompiledConfig, Secrets]:
    # Resolved once: all files come from the same swap, or are gone together.
    folder = (directory / DATA_LINK).resolve() if (directory / DATA_LINK).is_symlink() else directory
    try:
        text = _content(folder / INDEX_FILE)
        if text is None:
            raise NotPublished(f"there is no {INDEX_FILE} in {directory} yet; the operator publishes it")
        index = parse_index(text)
        found = {name: _content(folder / name) for name in index.files}
    except OSError as error:
        raise ConfigRejected(f"{directory} cannot be read: {error.strerror}") from error
    return index, *assemble(index, {name: content for name, content in found.items() if content is not None})


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _identity(directory: Path) -> _Identity:
    """A value that changes with any file of the directory."""
    try:
        return ((directory / DATA_LINK).readlink(),)
    except OSError:
        return tuple(sorted(_stamps(directory)))


def _stamps(directory: Path) -> list[tuple[str, int, int, int]]:
    try:
        found = [(path.name, path.stat()) for path in directory.iterdir()]
    except OSError:  # missing, or a file went away meanwhile: the next check will see
        return []
    return [(name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in found]
