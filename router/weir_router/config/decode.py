"""Bytes of the config server as a config. Used by `longpoll`, and by `kept`, which has them from a file."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec

from weir_router.contract import ConfigRejected, Delivery, check_version, prepare
from weir_router.contract.delta import Delta

T = TypeVar("T", Delivery, Delta)

THREAD_BYTES = 256 * 1024
"""Of an answer; a larger one is decoded in a thread, because callers would wait longer than a millisecond."""


async def decoded(data: bytes, kind: type[T]) -> T:
    """As `decode`, without keeping callers waiting."""
    return await asyncio.to_thread(decode, data, kind) if len(data) > THREAD_BYTES else decode(data, kind)


def decode(data: bytes, kind: type[T]) -> T:
    """An answer of the config server: a `Delivery` or a `Delta`. Raises `ConfigRejected`, which holds nothing of it."""
    try:
        check_version(msgspec.json.decode(data, type=_Head).config.api_version)
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise ConfigRejected(f"what the config server sent is not a config: {error}") from error


class _Version(msgspec.Struct, rename="camel"):
    api_version: str = "missing"


class _Head(msgspec.Struct):
    config: _Version


prepare(_Head)
