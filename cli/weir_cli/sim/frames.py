"""The parts of a stream, as the dialects write them and as `weir_cli.sim.playback` sends them."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

import msgspec


class Part(Enum):
    """The role of a frame for a fault, which breaks before some frames and leaves others out."""

    LEAD = auto()  # before or around content: role chunk, message_start, a block's start and stop
    THOUGHT = auto()  # paced, as content; one token of reasoning each
    CONTENT = auto()  # paced; one token each
    FINISH = auto()  # the finish reason
    USAGE = auto()
    END = auto()  # [DONE], message_stop


class Frame(NamedTuple):
    """One SSE event."""

    part: Part
    data: bytes  # blank line included


def chunked(data: bytes) -> bytes:
    """`data` as one HTTP/1.1 chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def as_json(value: object) -> bytes:
    """Compact JSON; every byte that the simulator sends as JSON comes from here."""
    return _encode(value)


_encode = msgspec.json.Encoder().encode
