"""The shape of a provider: wire translation only, no I/O, no clock.

`call.attempt` is the one caller. For one attempt it asks for an `Outgoing`, sends it, and then either hands the failed
answer to `failure`, the whole answer to `read_whole`, or each event of the stream to a `Reader` (what does it mean?)
and to a `Renderer` (what does the caller get?).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from typing import Any, NamedTuple, Protocol

import msgspec

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.wire.frame import Frame
from weir_router.errors import AttemptFailed
from weir_router.record.events import Usage


class Outgoing(msgspec.Struct, frozen=True):
    """An upstream request, but for its credential headers' values in any log."""

    path: str  # below the backend's base URL
    headers: dict[str, str]  # the credential included: never logged
    body: bytes
    added: frozenset[str]  # top-level parameters that Weir added and the caller did not ask for


class Event(NamedTuple):
    """One SSE event."""

    raw: bytes  # as it came, blank line included
    name: str | None  # the `event:` field
    data: bytes  # the `data:` lines joined; empty for comments


class Signal(IntFlag):
    """What an event means. `DONE` and `HIDE` come alone: compared with `is`, since a flag's operators are slow."""

    NONE = 0  # comments, pings, metadata
    CONTENT = 1  # content, refusal, reasoning or a tool call: the commit point
    STOP = 2  # a terminal stop reason
    DONE = 4  # the dialect's own end of stream ([DONE], message_stop)
    HIDE = 8  # carries only what the caller did not ask for


class Reader(Protocol):
    """Reads one stream. Raises `AttemptFailed` for an error event or a malformed one."""

    usage: Usage | None
    stop_reason: str | None  # in the upstream's own words
    content_events: int

    def read(self, payload: dict[str, Any]) -> Signal:
        """What the decoded event means; keeps usage and stop reason."""

    def skim(self, part: bytes) -> Signal | None:
        """`read`, for bytes that one typed look shows to be one whole event of a common kind (see `skim`). None: they
        are, or may be, something else.

        Contents are not counted, and what is kept may be kept twice: the part may be read all the same.
        """


class Renderer(Protocol):
    """Turns one upstream stream into what the caller gets."""

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        """Bytes for a streaming caller (empty: nothing yet). `payload` is None for `[DONE]` and events without data."""

    def frame(self) -> Frame:
        """What takes the parts of this stream that have the same bytes around their text."""

    def end(self) -> bytes:
        """What completes the answer: the rest of a stream, or the whole body for a plain caller."""


class Whole(NamedTuple):
    """A whole (unstreamed) upstream answer, understood."""

    usage: Usage | None
    stop_reason: str | None


class Provider(Protocol):
    """One upstream dialect; a module satisfies it."""

    def prepare(
        self, ask: Ask, backend: Backend, credential: str | None, *, stream: bool, as_asked: bool = False
    ) -> Outgoing:
        """The upstream request; translated when the dialects differ; parameters made to fit the backend's model.

        `stream`: ask the upstream for a stream, with usage. `as_asked`: the upstream refused something that Weir added,
        so nothing is: the caller's own `stream`, no `stream_options` (renames that the model demands stay).
        """

    def reader(self) -> Reader:
        """A fresh reader for one stream."""

    def renderer(self, ask: Ask, backend: Backend, *, created: int = 0) -> Renderer:
        """What the caller gets from a stream: relayed, translated, or (plain caller) put together.

        `created`: seconds since the epoch, for OpenAI answers made from another dialect, which carries no time.
        """

    def skim_whole(self, ask: Ask, raw: bytes) -> Usage | None:
        """The usage of a whole answer that is the caller's as it is; None: it has to be read."""

    def read_whole(self, payload: Any) -> Whole:
        """Understands a whole answer. Raises `AttemptFailed` for an error inside a 200 or a malformed body."""

    def render_whole(self, ask: Ask, raw: bytes, payload: dict[str, Any], *, created: int = 0) -> bytes:
        """The body for a plain caller: `raw` when the dialects agree, else translated; `created` as for `renderer`."""

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
        """Classifies an error answer by type, code, param and message before status."""
