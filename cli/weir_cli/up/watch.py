"""Says when manifests may have changed. Called by `weir_cli.up.command`; reads none of them.

A directory may be replaced as a whole (git, `mv`), an editor may replace the file that is watched, a mounted ConfigMap
swaps the symbolic link behind all of its files: each of them would silence a plain watch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import watchfiles

DEBOUNCE = 100
"""Milliseconds of quiet after a save: editors write in several steps."""

TICK = 500
"""Milliseconds between two looks at whether what is watched is still what the path names."""

CONFIG_MAP_LINK = "..data"
"""Name of the link that the kubelet swaps when a mounted ConfigMap or Secret changes."""


async def saves(path: Path, stopped: asyncio.Event) -> AsyncIterator[None]:
    """Yields after every change at `path` until `stopped`, and once at the start, for earlier changes."""
    polling = False
    while not stopped.is_set():
        seen = _identity(path)
        folder = _folder(path)
        fresh = True
        try:
            async for changes in watchfiles.awatch(
                folder,
                watch_filter=None,
                stop_event=stopped,
                debounce=DEBOUNCE,
                rust_timeout=TICK,
                yield_on_timeout=True,
                recursive=folder == path,
                force_polling=polling or None,
            ):
                if fresh or any(_concerns(path, Path(changed)) for _, changed in changes):
                    fresh = False
                    yield
                if folder == path and _identity(path) != seen:
                    break
        except FileNotFoundError:  # gone for the moment
            await asyncio.sleep(TICK / 1000)
        except RuntimeError:  # the system's limit of watches is reached
            polling = True


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _folder(path: Path) -> Path:
    """The folder to watch. The watch of a file would end with the file, which an editor replaces."""
    return path if path.is_dir() else path.parent


def _concerns(path: Path, changed: Path) -> bool:
    return path.is_dir() or changed.name == path.name or changed.name.startswith(CONFIG_MAP_LINK)
