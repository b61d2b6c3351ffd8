"""The tap on an answer: its text, decoded, for subscribers and for checks after the call. Used by `call.attempt`.

Only an attempt with subscribers or checks has one. It reads every event of the upstream's stream, so a chunk costs what
decoding costs; without a tap, most chunks are not decoded at all.

Subscribers hear the answer that goes to the caller, from its first word to its last, and nothing of attempts that
failed before their commit point. Checks see the text before: it is held back until each of them has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from weir_router.check.checks import After, Sample
from weir_router.decide.types import Decision
from weir_router.dialects.base import EventReader, Reader, Signal
from weir_router.dialects.neutral.answer import Answer
from weir_router.dialects.neutral.conversation import Text
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptFailed, FailureKind

HOLD_BYTES = 64 * 1024
"""Bytes of a stream that are held back at most while checks want to see more."""

Listener = Callable[[str], None]
"""Hears each piece of text. It must neither raise nor block."""


class Subscriber(NamedTuple):
    """A part of the router that may want to read an answer. It is asked before the call."""

    name: str
    begin: Callable[[Decision], Listener | None]  # None: not this one


class Tap:
    """The text of one attempt."""

    def __init__(self, listeners: Sequence[Listener], checks: Sequence[After]) -> None:
        self.listeners = listeners
        self._undecided = list(checks)
        self._held: list[str] = []
        self._committed = False

    def text(self, piece: str) -> None:
        """Takes the next piece."""
        if not self._committed:
            self._held.append(piece)
            return
        for listener in self.listeners:
            listener(piece)

    def answer(self, whole: Answer) -> None:
        """Takes the text of an answer that came as a whole."""
        for part in whole.parts:
            if isinstance(part, Text):
                self.text(part.text)

    def passes(self, *, last: bool) -> bool:
        """Whether every check has passed. Raises `AttemptFailed` for one that does not."""
        if not self._undecided:
            return True
        sample = Sample("".join(self._held), last)
        for check in self._undecided.copy():
            verdict = check.check(sample)
            if verdict is not None and not verdict.passes:
                raise AttemptFailed(
                    FailureKind.REJECTED, f"the check {check.name} rejects the answer: {verdict.reason}"
                )
            if verdict is not None or last:
                self._undecided.remove(check)
        return not self._undecided

    def commit(self) -> None:
        """Gives the held text, and all that follows, to the subscribers. Raises as `passes`."""
        self.passes(last=True)
        self._committed = True
        for piece in self._held:
            self.text(piece)
        self._held.clear()


class TappedReader:
    """A `Reader` that hands the text to a tap. It skims nothing: every event is read."""

    def __init__(self, reader: Reader, events: EventReader, tap: Tap) -> None:
        self.reader = reader
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.content_events = 0
        self._events = events
        self._tap = tap

    def read(self, payload: dict[str, Any]) -> Signal:
        """See `Reader`."""
        reader = self.reader
        signal = reader.read(payload)
        self.usage, self.stop_reason, self.content_events = reader.usage, reader.stop_reason, reader.content_events
        for event in self._events.read(payload):
            if isinstance(event, Text):
                self._tap.text(event.text)
        return signal

    def skim(self, part: bytes) -> Signal | None:
        """See `Reader`."""
        return None
