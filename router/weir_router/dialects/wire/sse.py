"""Server-sent events: bytes to events, and an event's data to JSON. Called by `call.attempt`.

The two forms that providers send (`data: {...}` alone, or after `event: name`) are cut out without a check of each
line; all others go through the general parser. No I/O, and no interpretation: see `Reader`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import msgspec

from weir_router.dialects.base import Event, Framing
from weir_router.dialects.wire.items import count
from weir_router.errors import AttemptFailed, FailureKind

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Bytes of the largest event, so that an endless one is cut off; an image in base64 fits."""

MAX_LINES = 4_096
"""Lines of one event. Providers write JSON in one line; a server that indents it writes a few hundred."""

MAX_ITEMS = 128 * 1024
"""Items of the JSON in one event, see `items`. They bound the time and memory for decoding it: about 20 ms and 16 MiB.
A chunk has ten, and a long tool call in one event some thousands."""

DONE = b"[DONE]"
"""Data of OpenAI's last event, in place of JSON."""

_BOM = b"\xef\xbb\xbf"
_OPENING_BRACE = ord("{")
_LF, _CR = ord("\n"), ord("\r")  # numbers are found faster, see fast.md
# Atomic groups: \r\n is one line end, and must never count as two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
# Blank lines, and before each of them lines that say nothing: comments, ids. Possessive: it never looks back.
_IDLE = re.compile(rb"(?:(?:(?!data|event|\xef\xbb\xbf)[^\r\n]++(?>\r\n|\n|\r))*+(?>\r\n|\n|\r))++")
_SAYS = b"de\xef"
"""First bytes of lines that may say something: `data`, `event` and a byte order mark."""


_decode = msgspec.json.Decoder().decode
_new = tuple.__new__  # half of the cost of `Event(...)`

T = TypeVar("T")


class Splitter:
    """Cuts one stream into events. The events' `raw` and then `rest` are together exactly the received bytes."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._rest = bytearray()
        self._any_line_end = False  # a \r was seen, which makes the slower search necessary
        self.between = True  # the next byte begins an event

    @property
    def rest(self) -> bytes:
        """Bytes of an incomplete event. If there are any at the end of a stream, an event was cut off."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises `AttemptFailed` (malformed) for an event without end."""
        if not self._any_line_end and _CR in data:
            self._any_line_end = True
        rest = self._rest
        if rest:
            scanned = len(rest) - 3  # a blank line of two \r\n may be cut after its third byte
            rest += data
            if not self._has_blank_line(max(scanned, 0)) and rest[0] not in b"\r\n":
                self._check_size()
                return []
            data = bytes(rest)
            rest.clear()
        events: list[Event] = []
        begun = data[_cut_any(data, events) :] if self._any_line_end else _cut(data, events)
        if begun:
            rest += begun
            self._check_size()
        self.between = not rest
        return events

    def finish(self) -> list[Event]:
        """The last event at the end of a stream, if only its blank line is missing, completed with one.

        Some servers leave it out after `data: [DONE]`. An event whose JSON is cut off stays in `rest`.
        """
        last = bytes(self._rest)
        event = _parse(last + b"\n\n")
        if not last.strip() or not (event.data == DONE or _is_json(event.data)):
            return []
        self._rest.clear()
        return [event]

    def _has_blank_line(self, scanned: int) -> bool:
        if self._any_line_end:
            return _BLANK_LINE.search(self._rest, scanned) is not None
        return self._rest.find(b"\n\n", scanned) >= 0

    def _check_size(self) -> None:
        if len(self._rest) > self._limit:
            raise AttemptFailed(
                FailureKind.MALFORMED, f"The upstream sent {len(self._rest)} bytes without completing an event."
            )


def _cut(data: bytes, events: list[Event]) -> bytes:
    """Appends the events that are complete in `data`, all of whose lines end in \\n; returns the rest."""
    blocks = data.split(b"\n\n")
    rest = blocks.pop()
    idle: list[bytes] = []
    for block in blocks:
        raw = block + b"\n\n"
        if block and block[0] in _SAYS:
            if idle:
                _cut_any(b"".join(idle), events)
                idle = []
        else:
            idle.append(raw)
            continue
        if block.startswith(b"data: ") and _LF not in block:
            events.append(_new(Event, (raw, None, block[6:])))
            continue
        name, _, data = block.partition(b"\n")
        if name.startswith(b"event: ") and data.startswith(b"data: ") and _LF not in data:
            events.append(_new(Event, (raw, name[7:].decode("utf-8", "replace"), data[6:])))
        else:
            _cut_any(raw, events)
    if idle:
        _cut_any(b"".join(idle), events)
    return rest[_cut_any(rest, events) :] if rest.startswith(b"\n") else rest


def _cut_any(data: bytes, events: list[Event]) -> int:
    """Like `_cut`, for any mixture of line ends and for extra blank lines; returns the offset of the rest.

    A run of comments, ids and blank lines becomes one event without data: a read may hold thousands of them.
    """
    start = 0
    while start < len(data):
        idle = _IDLE.match(data, start)
        if idle is not None:
            events.append(Event(idle.group(), None, b""))
            start = idle.end()
            continue
        blank = _BLANK_LINE.search(data, start)
        if blank is None:
            break
        raw = data[start : blank.end()]
        events.append(_parse(raw))
        start = blank.end()
    return start


def _parse(raw: bytes) -> Event:
    """Any event, parsed by the HTML standard; `id` and `retry` are ignored, comments stay in `raw` only."""
    name: str | None = None
    data: list[bytes] = []
    if raw.count(b"\n") > MAX_LINES or raw.count(b"\r") > MAX_LINES:
        raise AttemptFailed(FailureKind.MALFORMED, f"The upstream sent an event of more than {MAX_LINES} lines.")
    for line in _LINE_END.split(raw.removeprefix(_BOM)):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return Event(raw, name, b"\n".join(data))


def skimmed(part: bytes, head: bytes, look: Callable[[bytes], T]) -> T | None:
    """The result of `look` for the data of `part`, if it is exactly one event with one line of text that begins with
    `head`, whose last byte is the data's first. Otherwise None.
    """
    if not part.startswith(head) or not part.endswith(b"\n\n"):
        return None
    data = part[len(head) - 1 : -2]
    if _LF in data or _CR in data or not is_text(data):
        return None
    try:
        return look(data)
    except (ValueError, RecursionError):
        return None


def is_text(data: bytes) -> bool:
    """Whether it is UTF-8: a typed look at JSON does not check the fields that it skips."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(data: bytes) -> bool:
    try:
        loads(data)
    except ValueError:
        return False
    return True


def decode(event: Event) -> dict[str, Any] | None:
    """The event's payload; None for `[DONE]`, comments and events without data. Raises `AttemptFailed` (malformed)."""
    data = event.data
    if not data or (data[0] != _OPENING_BRACE and is_done(event)):
        return None
    if len(data) > MAX_ITEMS and count(data, MAX_ITEMS) is None:
        raise AttemptFailed(FailureKind.MALFORMED, f"The upstream sent an event with more than {MAX_ITEMS} items.")
    try:
        payload = loads(data)
    except ValueError as error:
        raise AttemptFailed(FailureKind.MALFORMED, f"The upstream sent an event that is not JSON: {error}") from None
    if type(payload) is not dict:
        raise AttemptFailed(FailureKind.MALFORMED, "The upstream sent an event that is not a JSON object.")
    return payload


def is_done(event: Event) -> bool:
    """Whether it is OpenAI's `[DONE]`, for which `decode` gives None."""
    return event.data.strip() == DONE


def loads(data: bytes) -> Any:
    """JSON from an upstream. Raises ValueError and nothing else.

    JSON that msgspec refuses gets a second chance, because SDKs read it: half a surrogate pair, where a server cut an
    emoji in two, and numbers beyond the range of a float.
    """
    try:
        return _decode(data)
    except ValueError:
        return _loads_leniently(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _loads_leniently(data: bytes) -> Any:
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


SSE = Framing("text/event-stream", Splitter, decode, is_done)
