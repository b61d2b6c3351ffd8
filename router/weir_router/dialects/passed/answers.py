"""The answers of passed endpoints: which bytes may go to the caller, when, and which tokens they state.

Bytes pass unchanged. JSON of usual size is held until it is whole, so that one that is cut off or holds an error is
asked of another backend; a stream of events until its first event; all else, such as audio, until its first byte. That
which begins with a brace may be an error, and is held like JSON.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from weir_router.contract import Backend
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Pairing, Whole
from weir_router.dialects.openai_chat.failures import TABLE
from weir_router.dialects.passed.usage import Finder, usage_of
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire import failures
from weir_router.dialects.wire.sse import SSE, loads
from weir_router.errors import AttemptFailed, FailureKind

HELD = 256 * 1024
"""Bytes up to which JSON or a first event is held: a long list of results. Longer ones hold images, and pass as they
come."""

_ERROR_EVENT = re.compile(rb'[\r\n](?:event: ?error\b|data: ?\{ ?"error" ?: ?[{"])')
"""The beginning of an event that says that a stream has failed."""

_MARGIN = 32
"""Bytes of the longest `_ERROR_EVENT`."""


def skim_whole(ask: Ask, raw: bytes) -> Usage | None:
    """See `base.FormatRecord`. Each answer is read."""
    return None


def read_whole(payload: Any) -> Whole:
    """See `base.FormatRecord`. JSON of any kind passes, but for an error."""
    if not isinstance(payload, dict):
        return Whole(None, None)
    if failures.is_error(payload):
        raise failures.from_payload(TABLE, payload)
    return Whole(usage_of(payload), None)


def render_whole(
    ask: Ask, pairing: Pairing, backend: Backend, raw: bytes, payload: dict[str, Any], *, created: int = 0
) -> bytes:
    """See `base.FormatRecord`."""
    return raw


class Answer(Protocol):
    """One answer as it comes. Its methods raise `AttemptFailed`."""

    events: bool  # server-sent events

    def feed(self, data: bytes) -> bool:
        """Reads the next bytes; returns whether all that have come may go to the caller."""

    def end(self) -> None:
        """The answer has come to its end."""

    def usage(self) -> Usage | None:
        """The tokens that it states so far."""


def answer_of(content_type: str) -> Answer:
    """The reader for an answer of this type. Raises `AttemptFailed` for a page, which no such endpoint gives."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == SSE.media_type:
        return _Events()
    if kind == "application/json" or kind.endswith("+json"):
        return _Json()
    if kind == "text/html":
        raise failures.malformed("a web page in place of an answer")
    return _Bytes()


class _Bytes:
    """Audio, an image or plain text. It states no tokens."""

    events = False

    def __init__(self) -> None:
        self._held: bytearray | None = bytearray()  # None: it is no JSON, or a long one
        self._object = False  # it begins like an object

    def feed(self, data: bytes) -> bool:
        held = self._held
        if held is None:
            return True
        held += data
        if not self._object and (begins := data.lstrip()[:1]):
            self._object = begins == b"{"
            if not self._object:
                self._held = None
        if len(held) > HELD:
            self._held = None
        return self._held is None

    def end(self) -> None:
        """Some servers write an error in place of audio, under the type of audio."""
        if self._held:
            try:
                payload = loads(bytes(self._held))
            except ValueError:
                return
            read_whole(payload)

    def usage(self) -> Usage | None:
        return None


class _Json:
    events = False

    def __init__(self) -> None:
        self._held = bytearray()
        self._finder: Finder | None = None  # once it is not held any more
        self._usage: Usage | None = None

    def feed(self, data: bytes) -> bool:
        if self._finder is not None:
            self._finder.feed(data)
            return True
        self._held += data
        if len(self._held) <= HELD:
            return False
        self._finder = Finder()
        self._finder.feed(bytes(self._held))
        self._held.clear()
        return True

    def end(self) -> None:
        if self._finder is not None:
            return
        try:
            payload = loads(bytes(self._held))
        except ValueError as error:
            raise AttemptFailed(FailureKind.MALFORMED, f"the answer is not JSON: {error}") from None
        self._usage = read_whole(payload).usage

    def usage(self) -> Usage | None:
        return self._usage if self._finder is None else self._finder.usage()


class _Events:
    events = True

    def __init__(self) -> None:
        self._splitter = SSE.splitter()
        self._begun = False
        self._size = 0
        self._finder = Finder()
        self._tail = b""
        self._failed = False

    def feed(self, data: bytes) -> bool:
        self._finder.feed(data)
        if self._begun:
            window = self._tail + data
            self._failed = self._failed or _ERROR_EVENT.search(window) is not None
            self._tail = window[-_MARGIN:]
            return True
        for event in self._splitter.feed(data):
            if event.data and (payload := SSE.decode(event)) is not None and failures.is_error(payload):
                raise failures.from_payload(TABLE, payload)
            self._begun = self._begun or bool(event.data)
        self._size += len(data)
        self._begun = self._begun or self._size > HELD
        self._tail = data[-_MARGIN:]
        return self._begun

    def end(self) -> None:
        if self._failed:
            raise AttemptFailed(FailureKind.SERVER, "The upstream reported an error in its stream.")
        if not self._begun and not any(event.data for event in self._splitter.finish()):
            raise AttemptFailed(FailureKind.TRUNCATED, "the stream ended without an event")

    def usage(self) -> Usage | None:
        return self._finder.usage()
