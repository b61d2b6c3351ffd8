"""Decodes answers of the config server. Used by `longpoll`, and by `kept`, which reads one from a file."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec

from weir_router.contract import ConfigRejected, Delivery, check_version, prepare
from weir_router.contract.delta import Delta

T = TypeVar("T", Delivery, Delta)

THREAD_BYTES = 256 * 1024
"""Bytes of an answer above which it is decoded in a thread, since callers would wait longer than a millisecond."""


async def decoded(data: bytes, kind: type[T]) -> T:
    """Like `decode`, without keeping callers waiting."""
    return await asyncio.to_thread(decode, data, kind) if len(data) > THREAD_BYTES else decode(data, kind)


def decode(data: bytes, kind: type[T]) -> T:
    """A `Delivery` or `Delta` of the config server. Raises `ConfigRejected`, which quotes nothing of it."""
    try:
        check_version(msgspec.json.decode(data, type=_Head).config.api_version)
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigRejected(f"the config server's answer is not a config: {error}") from error


class _Version(msgspec.Struct, rename="camel"):
    api_version: str = "missing"


class _Head(msgspec.Struct):
    config: _Version


prepare(_Head)
