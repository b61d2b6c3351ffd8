"""The keys with which routers seal ids of stored answers: made, kept in a published Secret, and replaced. Used by
`publisher`.

The Secret that routers mount is also the only place where the keys are kept. Those that the index names count. A Secret
that was deleted or spoilt is written back from memory, the leader's own or that of its mirror. Only if no
process knows the keys any more, there is a new one, and ids of before are lost.

A new key is made every `ROTATE_SECONDS`. It proves at once, and seals `SPREAD` seconds later, when every router has it.
The one before goes when it has not sealed for `KEEP_SECONDS`. Pure but for `StateKeys`, which reads the clock.
"""

from __future__ import annotations

import gzip
import secrets
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping

import msgspec

from weir_router.contract import StateKey, digest, prepare
from weir_router.contract.published import Index, state_keys_file

Keys = tuple[StateKey, ...]

KEY_BYTES = 32
"""Bytes of a key: as many as SHA-256 gives."""

DAY = 24 * 3600

ROTATE_SECONDS = 30 * DAY
"""Seconds for which a key seals: a key that leaks unnoticed is good for two months at most."""

KEEP_SECONDS = 30 * DAY
"""Seconds for which a key that no longer seals still proves: OpenAI keeps an answer for 30 days."""

SPREAD = 3600
"""Seconds from a new key until it seals. A kubelet takes two minutes to bring it; a stopped config server may need
someone to look."""

MOST_KEYS = 4
"""Keys that count. There are two, and three for an hour."""


class StateKeys:
    """The keys of one installation."""

    def __init__(
        self,
        *,
        mirrored: Callable[[], Keys] = tuple,
        wall: Callable[[], float] = time.time,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`mirrored`: the keys that this replica has seen published last, from any thread."""
        self._mirrored = mirrored
        self._wall = wall
        self._draw = draw
        self._kept: Keys = ()

    def wanted(self, files: Mapping[str, bytes], index: Index | None) -> Keys:
        """The keys to publish. `files`: of the Secret as it is there; `index`: the one that is there."""
        found = read(files, index) or self._kept or self._mirrored()
        self._kept = renewed(found, self._wall(), self._draw)
        return self._kept

    def due_in(self) -> float:
        """Seconds until `wanted` gives other keys by itself."""
        return max(0.0, next_change(self._kept) - self._wall())


def read(files: Mapping[str, bytes], index: Index | None) -> Keys:
    """The keys that the index names, or else the newest that are there as they were written; empty: there are none."""
    named = "" if index is None or index.state_keys is None else state_keys_file(index.state_keys)
    found = {name: keys for name, content in files.items() if (keys := _keys(name, content))}
    return found.get(named) or max(found.values(), key=lambda keys: keys[-1].since, default=())


def _keys(name: str, content: bytes) -> Keys:
    """The keys in one file; empty: it is none, or damaged."""
    try:
        unpacked = gzip.decompress(content)
        keys = msgspec.json.decode(unpacked, type=Keys)
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError, UnicodeDecodeError):
        return ()
    return keys[-MOST_KEYS:] if name == state_keys_file(digest(unpacked)) else ()


def renewed(keys: Keys, now: float, draw: Callable[[int], bytes]) -> Keys:
    """The keys as they should be now, oldest first. A key that a wrong clock has dated far ahead is dated anew."""
    soon = int(now) + SPREAD
    dated = tuple([it if it.since <= soon else msgspec.structs.replace(it, since=soon) for it in keys])
    kept = tuple([it for number, it in enumerate(dated) if not any(_replaced(by, now) for by in dated[number + 1 :])])
    if not kept:
        return (_made(int(now), draw),)
    return kept if now < kept[-1].since + ROTATE_SECONDS else (*kept, _made(soon, draw))


def next_change(keys: Keys) -> float:
    """The moment at which `renewed` gives other keys, in seconds since the epoch."""
    ends = [after.since + KEEP_SECONDS for after in keys[1:]]
    return min([keys[-1].since + ROTATE_SECONDS, *ends]) if keys else 0.0


def _replaced(by: StateKey, now: float) -> bool:
    """Whether a key has sealed in place of earlier ones for so long that those prove no more."""
    return now >= by.since + KEEP_SECONDS


def _made(since: int, draw: Callable[[int], bytes]) -> StateKey:
    return StateKey(key=b64encode(draw(KEY_BYTES)).decode(), since=since)


prepare(StateKey)
