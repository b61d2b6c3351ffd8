"""One try at one backend: from the request to the last byte, under its clocks. Used by `call.journey` and `serve`.

`start` returns at the commit point: at the first content for a streaming caller, and with the whole answer for a plain
one. Failures before it raise `AttemptFailed`, and nothing has reached the caller. After it, `relay` writes the rest.
Exactly one outcome reaches the guard of `health`, and only when the stream ends: a stall after the first token must
not hide behind an early success.
"""

from __future__ import annotations

from typing import Any

from weir_router.admit.ledger import Hold
from weir_router.call.answering import Sink
from weir_router.call.clocks import Clocks, Others, Timers, Watchdog
from weir_router.call.conceal import conceal, concealed, passed_on
from weir_router.call.ends import check_end, failed, has_tokens, idle, report
from weir_router.call.held import Held
from weir_router.call.load import Load
from weir_router.call.tap import HOLD_BYTES, Tap, TappedReader
from weir_router.call.tokens import counted
from weir_router.call.transport import Receive, Response, Transport
from weir_router.clock import Clock
from weir_router.contract import Backend
from weir_router.decide.types import Candidate
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import JSON, ConversationRecord, Event, Place, Reader, Signal, Splitter, StreamedRecord
from weir_router.dialects.registry import ANSWER_HEADERS, pairing_of
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire.frame import Frame
from weir_router.dialects.wire.sse import loads
from weir_router.errors import AttemptFailed, AttemptRecord, FailureKind, forget_frames
from weir_router.health.board import Guard


class Attempt:
    """One try at one backend. It ends with exactly one of: `done`, an `AttemptFailed`, or `cancel`."""

    def __init__(
        self,
        ask: Ask,
        candidate: Candidate,
        *,
        guard: Guard,
        hold: Hold,
        clocks: Clocks,
        transport: Transport,
        clock: Clock,
        timers: Timers,
        prompt_tokens: int,
        held: Held,
        load: Load | None = None,
        others: Others,
        tap: Tap | None = None,
    ) -> None:
        # Fields used for every chunk come first, so that they share cache lines.
        self._received = 0  # bytes of a stream
        self._held = held
        self._unread = 0  # contents that the reader has not counted
        self.done = False
        self.empty = False  # the answer has ended normally without anything in it
        self._between = True  # events: the next byte begins one
        self._idle = 0  # bytes without an event
        self.content_at: float | None = None  # monotonic
        self._failure: AttemptFailed | None = None  # found after content that must be sent first
        self._watchdog = Watchdog(clock, clocks, self, timers)
        self.candidate = candidate
        self.backend: Backend = candidate.backend
        self.tier: str | None = candidate.tier
        self.name = candidate.backend.name
        self.body = b""  # bytes for the caller at the commit point
        self.headers: dict[str, str] = {}  # headers of the upstream's answer that go to the caller
        self.dropped: tuple[str, ...] = ()  # fields of the caller's request that the upstream does not get
        self.usage: Usage | None = None
        self.ttft: float | None = None  # seconds
        self.seconds = 0.0
        self.failure: AttemptFailed | None = None  # its end, if it failed
        self._ask = ask
        self._pairing = pairing = pairing_of(ask, candidate.backend)
        self._format = pairing.format
        self._framing = pairing.host.framing
        self.guard = guard
        self._hold, self._clocks = hold, clocks
        self._transport, self._clock = transport, clock
        self._prompt_tokens = prompt_tokens
        self._load, self._others, self._tap = load, others, tap
        self._splitter: Splitter | None = None  # only for a stream that must be read
        self._response: Response | None = None
        self._open = True
        self._credential: str | None = None

    async def start(self, credential: str | None, *, streamed: bool, without: frozenset[str]) -> None:
        """Runs to the commit point. `without`: see `base.Prepare`. Raises `AttemptFailed`."""
        self._credential = credential
        try:
            if self._load is not None:
                self._load.needed()
            prepare, ask = self._format.prepare, self._ask
            outgoing = prepare(ask, self.backend, self._pairing, credential, stream=streamed, without=without)
            url, added, self.dropped = self.backend.base_url + outgoing.path, outgoing.added, outgoing.dropped
            sent = {**outgoing.headers, "via": ask.via} if ask.via else outgoing.headers
            post = self._transport.post(url, sent, outgoing.body, self._clocks.connect)
            if self._load is not None:
                self._load.prepared(outgoing.body)
                del outgoing
            self._response = response = await self._watchdog.waits_for(post)
            if self._load is not None:
                self._load.sent()
            await self._answered(response, added, streamed)
        except AttemptFailed as failure:
            self._end(failure)
            raise
        except BaseException:
            self.cancel()
            raise

    async def _answered(self, response: Response, added: frozenset[str], streamed: bool) -> None:
        """Reads the answer up to the commit point."""
        self.headers = passed_on(response.headers, ANSWER_HEADERS, self._credential)
        kind, streams = response.headers.get("content-type", ""), self._pairing.streams
        if response.status == 200 and kind != JSON and streams is not None and self._framing.reads(kind, streamed):
            head: list[bytes] = []
            await self._flow(self._opening(head, streams))
            self.body = b"".join(head) if self._ask.stream else concealed(b"".join(head), self._credential)
            self._commit()
            self.empty = self.done and self._ends_empty() and not has_tokens(self.usage)
            return
        rest = response.read_all(self._held.grow)
        body = await (rest if response.ended() else self._watchdog.waits_for(rest))
        if response.status != 200:
            raise self._format.failure(response.status, response.headers, body, added).at(self._ask.below)
        self._take_whole(body)

    async def relay(self, sink: Sink) -> None:
        """Writes each part after the commit point as soon as it comes, and ends `sink`.

        Raises `AttemptFailed` for a stream that breaks.
        """
        if self.done:
            sink.end(b"")
            return

        def receive(data: bytes) -> bool:
            part = self._take(data)
            if self.done:
                sink.end(part)
                return False
            sink.write(part)
            return self._failure is None

        self._watchdog.caller = sink
        sink.on_pressure(self._press)
        try:
            await self._flow(receive)
        except AttemptFailed as failure:
            self._end(failure)
            raise
        except BaseException:
            self.cancel()
            raise

    def place(self) -> Place | None:
        """See `Answering`. It is asked of streams only."""
        return self._renderer.place()

    def cancel(self) -> None:
        """Stops the upstream call because the caller went away; no one is to blame. Does nothing after the end."""
        if self._open:
            self.usage = self._usage()
            self._close()
            self.guard.cancelled()

    def record(self) -> AttemptRecord:
        """The record of the attempt so far, for the trail."""
        if self.failure is not None:
            return failed(self.candidate.tier, self.name, self.failure, self.seconds, self.ttft)
        outcome, lost = "ok" if self.done or self._open else "cancelled", self.dropped
        return AttemptRecord(self.candidate.tier, self.name, outcome, self.seconds, 200, None, None, self.ttft, lost)

    def _take_whole(self, raw: bytes) -> None:
        raw = concealed(raw, self._credential)
        self.usage = None if self._tap is not None else self._format.skim_whole(self._ask, raw)
        self.body = self._read_whole(raw) if self.usage is None else raw
        self._held.whole(len(self.body))
        if self._tap is not None:
            self._tap.commit()
        self._succeed()

    def _read_whole(self, raw: bytes) -> bytes:
        """The caller's answer from any body of the upstream; keeps its usage."""
        try:
            payload = loads(raw)
        except ValueError as error:
            raise AttemptFailed(FailureKind.MALFORMED, f"the answer is not JSON: {error}") from error
        whole = self._format.read_whole(payload)
        self.usage, self.empty = whole.usage, whole.empty
        if self._ask.stream:
            raise AttemptFailed(FailureKind.MALFORMED, "a stream was asked for, and a whole answer came")
        if self._tap is not None and isinstance(self._format, ConversationRecord):
            self._tap.answer(self._format.read_answer(payload))
        render, created = self._format.render_whole, int(self._clock.wall())
        return render(self._ask, self._pairing, self.backend, raw, payload, created=created)

    def _opening(self, head: list[bytes], streams: StreamedRecord) -> Receive:
        """A receiver that takes a stream up to the commit point, and keeps the caller's bytes in `head`."""
        self._reader = streams.reader()
        self._normal_ends = streams.normal_ends
        self._renderer = streams.renderer(self._ask, self._pairing, self.backend, created=int(self._clock.wall()))
        self._frame = self._renderer.frame()
        self._skims = self._renderer.skims
        tap = self._tap
        if tap is not None and isinstance(streams, ConversationRecord):
            self._reader = TappedReader(self._reader, streams.event_reader(), tap)
            self._frame, self._skims = Frame(), False

        def receive(data: bytes) -> bool:
            head.append(self._take(data))
            if self.done or self._failure is not None:
                return False
            begun = self._contents() > 0 or (self._reader.stop_reason is not None and not self._ends_empty())
            return not (begun and self._ask.stream) or (tap is not None and not self._passes(tap))

        return receive

    def _ends_empty(self) -> bool:
        """Whether the stream ends normally, and has brought no content so far."""
        return self._reader.stop_reason in self._normal_ends and not self._contents()

    def _passes(self, tap: Tap) -> bool:
        """Whether what has come so far may go to the caller, or has failed."""
        try:
            return tap.passes(last=self._received > HOLD_BYTES)
        except AttemptFailed as rejected:
            forget_frames(rejected)
            self._failure = rejected
            return True

    def _commit(self) -> None:
        """The commit point of a stream. Raises `AttemptFailed` if a check rejects it."""
        tap = self._tap
        if tap is None:
            return
        tap.commit()
        if self._splitter is not None and not tap.listeners and isinstance(self._reader, TappedReader):
            self._reader = self._reader.reader
            self._frame, self._skims = self._renderer.frame(), self._renderer.skims

    async def _flow(self, receive: Receive) -> None:
        assert self._response is not None
        try:
            await self._watchdog.waits_for(self._response.each(receive))
        except AttemptFailed:
            if self._reader.stop_reason is None or self._failure is not None:
                raise
            receive(b"")  # the answer is whole: only its end is missing
        if self._failure is not None:
            raise self._failure

    def _press(self, pressed: bool) -> None:
        if self._response is not None and self._open:
            self._response.hold(pressed)
            self._watchdog.hold(pressed)

    def _take(self, data: bytes) -> bytes:
        """The caller's bytes for one part of the upstream's stream (empty at its end)."""
        self._received += len(data)
        if self._received > self._held.until:
            self._held.stretch(self._received)
        passed = self._passed(data) if self._between else None
        return self._read(data) if passed is None else passed

    def counted(self) -> int:
        """See `Answering`."""
        return self._held.handed_over()

    def forget(self) -> None:
        """Gives back the bytes that are counted for an answer that may not be sent."""
        self._held.give_back()

    def _passed(self, part: bytes) -> bytes | None:
        """The caller's bytes for one whole event of a common kind, as nearly every part is; None: read it."""
        passed = self._frame.passed(part)
        if passed is None:
            return self._skimmed(part) if self._skims else None
        self._unread += 1
        self._content()
        return passed

    def _skimmed(self, part: bytes) -> bytes | None:
        signal = self._reader.skim(part)
        passed = None if signal is None else self._renderer.pass_on(part, signal)
        if passed is None:
            return None
        if signal is Signal.CONTENT:
            self._unread += 1
            self._content()
        elif signal is Signal.DONE:
            self._succeed()
        elif self.content_at is not None and self._reader.stop_reason is None:
            self._watchdog.works()
        return passed

    def _read(self, data: bytes) -> bytes:
        """Like `_take`, for any part."""
        splitter = self._splitter = self._splitter or self._framing.splitter()
        events = splitter.feed(data) if data else splitter.finish()
        self._between = splitter.between
        contents = self._reader.content_events
        out: list[bytes] = []
        finished = False
        try:
            for event in events:
                payload, signal = self._understand(event)
                out.append(self._renderer.feed(event, payload, signal))
                if signal is Signal.DONE:
                    finished = True
                    break
            if not data and not finished:
                check_end(self._reader, plain=not self._ask.stream, said=False)
                finished = True
            if self._reader.content_events > contents:
                self._content()
            elif events and self.content_at is not None and self._reader.stop_reason is None:
                self._watchdog.works()
            if finished:
                out.append(self._renderer.end())
                if self._tap is not None:
                    self._tap.commit()
        except AttemptFailed as failure:
            forget_frames(failure)  # they hold this attempt, which keeps the failure where its caller has left
            self._failure = failure
        if finished and self._failure is None:
            self._succeed()
        return out[0] if len(out) == 1 else b"".join(out)

    def _understand(self, event: Event) -> tuple[dict[str, Any] | None, Signal]:
        payload = self._framing.decode(event)
        if payload is not None:
            self._idle = 0
            return payload, self._reader.read(payload)
        if not self._framing.is_end(event):
            self._idle = idle(self._idle + len(event.raw))
            return None, Signal.NONE
        check_end(self._reader, plain=not self._ask.stream, said=True)
        return None, Signal.DONE

    def _content(self) -> None:
        self._watchdog.content()
        if self.content_at is None:
            self.content_at = self._clock.monotonic()
            self._held.flows()
            self.ttft = self.content_at - self._watchdog.started
            self.guard.first_content()

    def slow(self) -> None:
        """See `Watched`."""
        self.guard.slow()

    def flows(self) -> None:
        """See `Watched`."""
        self.guard.flowing(self._contents(), self._watchdog.held_up)

    def alone(self) -> bool:
        """See `Watched`."""
        whole = getattr(getattr(self, "_reader", None), "stop_reason", None)  # only its end is missing
        return not (whole or self._others.available(self.candidate.key))

    def _contents(self) -> int:
        """The number of contents of the stream so far."""
        return self._reader.content_events + self._unread

    def _succeed(self) -> None:
        if self.usage is None:
            self.usage = self._usage()
        self.done = True
        self._close()
        events = self._contents() if self.ttft is not None else 0
        self.guard.succeeded(self.usage.output if self.usage else 0, self._watchdog.held_up, events)

    def _end(self, failure: AttemptFailed) -> None:
        conceal(failure, self._credential)
        self.failure = failure
        if self._open:
            self.usage = self._usage()
            self._close()
            report(self.guard, failure, self._ask.via)

    def _usage(self) -> Usage | None:
        reader: Reader | None = getattr(self, "_reader", None)
        return self.usage if reader is None else counted(reader, self._contents(), self._prompt_tokens)

    def _close(self) -> None:
        self._open = False
        if not self.done:
            self._held.give_back()
        self.seconds = self._clock.monotonic() - self._watchdog.started
        self._watchdog.stop()
        self._hold.settle(self.usage)
        if self._response is not None:
            (self._response.finish if self.done else self._response.release)()
