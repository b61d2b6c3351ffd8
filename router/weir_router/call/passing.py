"""One try at a passed endpoint: an attempt whose answer reaches the caller in the bytes that came. Used by
`call.journey` and `serve`.

It shares an attempt's sending, clocks, guard and end. Its commit point is the first byte of a 2xx answer, or the end of
what `dialects.passed.answers` holds. Checks and listeners of `call.tap` do not see it, since it is no text.
"""

from __future__ import annotations

from weir_router.call.answering import Sink
from weir_router.call.attempt import Attempt
from weir_router.call.conceal import concealed, passed_on
from weir_router.call.transport import Response
from weir_router.dialects.base import Place
from weir_router.dialects.passed.answers import Answer, answer_of
from weir_router.dialects.registry import ANSWER_HEADERS
from weir_router.dialects.usage import Usage
from weir_router.errors import AttemptFailed

HEADERS = ("content-type", "content-disposition", *ANSWER_HEADERS)
"""Headers of an upstream's answer that the caller gets."""


class Passing(Attempt):
    """One try. `headers` has the answer's type."""

    async def _answered(self, response: Response, added: frozenset[str], streamed: bool) -> None:
        """See `Attempt`."""
        self.events = False  # the answer is a stream of events
        self._answer: Answer | None = None
        self.headers = passed_on(response.headers, HEADERS, self._credential)
        if not 200 <= response.status < 300:
            body = await self._watchdog.waits_for(response.read_all(self._held.grow))
            raise self._format.failure(response.status, response.headers, body, added)
        answer = self._answer = answer_of(response.headers.get("content-type", ""))
        self.events = answer.events
        head = bytearray()  # a list would take fifty bytes for each part, even of one byte

        def receive(data: bytes) -> bool:
            if not data:
                answer.end()
                self.done = True
                return False
            self._count(data)
            head.extend(data)
            return not answer.feed(data)

        await self._watchdog.waits_for(response.each(receive))
        body = bytes(head)
        self.body = concealed(body, self._credential)
        if self.done:
            self.empty = not body
            self._succeed()
        else:
            self._begins(answer)

    async def relay(self, sink: Sink) -> None:
        """See `Attempt`."""
        answer, response = self._answer, self._response
        if self.done or answer is None or response is None:
            sink.end(b"")
            return

        def receive(data: bytes) -> bool:
            if not data:
                sink.end(b"")
                answer.end()
                self._succeed()
                return False
            self._count(data)
            answer.feed(data)
            self._flows(answer)
            sink.write(concealed(data, self._credential))
            return True

        self._watchdog.caller = sink
        sink.on_pressure(self._press)
        try:
            await self._watchdog.waits_for(response.each(receive))
        except AttemptFailed as failure:
            self._end(failure)
            raise
        except BaseException:
            self.cancel()
            raise

    def place(self) -> Place | None:
        """See `Answering`. Its events have no numbers."""
        return None

    def _count(self, data: bytes) -> None:
        self._unread += 1
        self._received += len(data)
        if self._received > self._held.until:
            self._held.stretch(self._received)

    def _begins(self, answer: Answer) -> None:
        """The commit point of an answer that goes on. Only a stream that was asked for shows how fast a model is."""
        self._flows(answer)
        self.content_at = self._clock.monotonic()
        self._held.flows()
        if self._ask.stream:
            self.ttft = self.content_at - self._watchdog.started
            self.guard.first_content()

    def _flows(self, answer: Answer) -> None:
        self._watchdog.content()
        if answer.events and not self._ask.stream:
            self._watchdog.works()  # an image takes longer than the clock for stalls between its events

    def _contents(self) -> int:
        return self._unread

    def _usage(self) -> Usage | None:
        """The tokens that the answer states. They are unknown without, and never estimated."""
        answer: Answer | None = getattr(self, "_answer", None)
        return None if answer is None else answer.usage()
