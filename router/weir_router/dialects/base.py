"""The interface of a format and of a host. No I/O, no clock.

A `FormatRecord` holds all that depends on a format: `serve` reads callers' requests and writes their errors with it,
`call.attempt` speaks to an upstream with it. A `StreamedRecord` adds streams, a `ConversationRecord` translation.

For one attempt it asks for an `Outgoing`, sends it, and then hands the failed answer to `failure`, the whole answer to
`read_whole`, or each event of the stream to a `Reader` (what does it mean?) and to a `Renderer` (what does the caller
get?).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntFlag
from typing import Any, NamedTuple, Protocol

import msgspec

from weir_router.contract import Backend, Operation, WireFormat
from weir_router.dialects.ask import Ask
from weir_router.dialects.axes import Format
from weir_router.dialects.counting import Counting
from weir_router.dialects.listed import Listed
from weir_router.dialects.neutral import answer
from weir_router.dialects.neutral.answer import Answer
from weir_router.dialects.neutral.checked import Checked
from weir_router.dialects.neutral.conversation import Conversation
from weir_router.dialects.neutral.table import Table
from weir_router.dialects.neutral.target import ANY, Target
from weir_router.dialects.usage import Usage
from weir_router.dialects.wire.frame import Frame
from weir_router.dialects.wire.headers import Kept
from weir_router.dialects.wire.look import Look
from weir_router.dialects.wire.outgoing import Body
from weir_router.errors import AttemptFailed, WeirError


class Outgoing(msgspec.Struct, frozen=True):
    """An upstream request. Its headers hold the credential, and are never logged."""

    path: str  # below the backend's base URL
    headers: dict[str, str]  # with the credential
    body: Body
    added: frozenset[str]  # top-level parameters that Weir added to the caller's
    dropped: tuple[str, ...] = ()  # fields of the caller's that it does not carry


class Event(NamedTuple):
    """One SSE event."""

    raw: bytes  # unchanged, with the blank line
    name: str | None  # the `event:` field
    data: bytes  # the `data:` lines joined; empty for comments


class Signal(IntFlag):
    """The meaning of an event. `DONE` and `HIDE` come alone and are tested with `is`: a flag's operators are slow."""

    NONE = 0  # comments, pings, metadata
    CONTENT = 1  # content, refusal, reasoning or a tool call: the commit point
    STOP = 2  # a terminal stop reason
    DONE = 4  # the format's own end of stream ([DONE], message_stop)
    HIDE = 8  # holds only data for which the caller did not ask


class Reader(Protocol):
    """Reads one stream. Raises `AttemptFailed` for an error event or a malformed one."""

    usage: Usage | None
    stop_reason: str | None  # in the upstream's own words
    content_events: int

    def read(self, payload: dict[str, Any]) -> Signal:
        """The meaning of the decoded event; keeps usage and stop reason."""

    def skim(self, part: bytes) -> Signal | None:
        """Like `read`, for bytes that a typed look identifies as one whole event of a common kind (see `skim`). None:
        they may be something else.

        It does not count contents, and may keep data twice, since the part may still be read afterwards.
        """


class Place(NamedTuple):
    """The place in a stream at which it breaks, for formats whose events are numbered."""

    id: str  # of the response
    model: str
    created: int  # seconds since the epoch
    number: int  # of the last event; -1: none


class Renderer(Protocol):
    """Turns one upstream stream into the caller's bytes."""

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        """Bytes for a streaming caller (empty: nothing yet). `payload` is None for `[DONE]` and events without data."""

    skims: bool
    """Whether `pass_on` may take a part. False: every part that the frame does not take is read."""

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        """Like `feed`, for a part that `Reader.skim` has identified as one event with this signal. None: read it."""

    def frame(self) -> Frame:
        """The frame that takes parts of this stream with the same bytes around their text."""

    def end(self) -> bytes:
        """The bytes that complete the answer: the rest of a stream, or the whole body for a plain caller."""

    def place(self) -> Place | None:
        """The place that a caller's stream has reached; None: its events have no numbers, or none has been sent."""


class Whole(NamedTuple):
    """The facts read from a whole (unstreamed) upstream answer."""

    usage: Usage | None
    stop_reason: str | None
    empty: bool = False  # it has ended normally without content, call, refusal or output tokens


class Splitter(Protocol):
    """Cuts one stream into events."""

    between: bool  # the next byte begins an event

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes."""

    def finish(self) -> list[Event]:
        """The last event of a stream, if only its blank line is missing."""


GREETING = b'{"model": "-", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}'
"""The tiny request of `call.confirm` in chat completions, and in messages."""

JSON = "application/json"
"""The type of nearly all whole answers. An attempt that sees it does not ask `Framing.reads`."""

MISLABELLED = ("", "text/plain", "application/octet-stream")
"""Types under which relays send event streams that were asked for. The SDKs do not look at the type."""


class Framing(msgspec.Struct, frozen=True):
    """How a host's stream is cut into events, e.g. server-sent events."""

    media_type: str  # of the answer's content-type, e.g. "text/event-stream"
    splitter: Callable[[], Splitter]
    decode: Callable[[Event], dict[str, Any] | None]  # None: no payload. Raises `AttemptFailed` (malformed)
    is_end: Callable[[Event], bool]  # whether an event for which `decode` gives None ends the stream

    def reads(self, content_type: str, asked: bool) -> bool:
        """Whether an answer of this type is a stream. `asked`: a stream was asked for."""
        if content_type.startswith(self.media_type):
            return True
        kind = content_type.partition(";")[0].strip().lower()
        return kind == self.media_type or (asked and kind in MISLABELLED)


class Host(msgspec.Struct, frozen=True):
    """The properties of an upstream that depend on its host, and not on its format."""

    paths: dict[Format, str]  # below the backend's base URL, e.g. "/chat/completions"; the first is the default
    headers: Callable[[str | None, tuple[tuple[str, str], ...]], Kept]  # from a credential and the caller's headers
    forget: Callable[[], None]  # drops kept headers, which hold credentials
    framing: Framing
    platforms: tuple[str, ...]  # host names, with *, that take each other's opaque state: see `neutral.opaque`


class Pairing(msgspec.Struct, frozen=True):
    """A caller's format, and the host and format of an upstream: all that an attempt depends on."""

    caller: FormatRecord
    format: FormatRecord  # of the upstream
    host: Host
    path: str  # at the host
    same: bool  # the formats are the same: bytes stay unchanged, and nothing is translated
    streams: StreamedRecord | None  # `format`, if its answers may be streams

    def both(self) -> tuple[ConversationRecord, ConversationRecord]:
        """The formats of caller and upstream, between which a conversation is translated."""
        assert isinstance(self.caller, ConversationRecord)
        assert isinstance(self.format, ConversationRecord)
        return self.caller, self.format


class Prepare(Protocol):
    """Makes the upstream request: translated if the formats differ, with parameters that fit the backend's model."""

    def __call__(
        self,
        ask: Ask,
        backend: Backend,
        pairing: Pairing,
        credential: str | None,
        *,
        stream: bool,
        without: frozenset[str] = frozenset(),
    ) -> Outgoing:
        """`stream`: ask the upstream for a stream, with usage. `without`: fields that its model refuses. Weir adds none
        of them; those that only tune are left out, or renamed if there is another name.
        Raises `BadRequest` for values that the format cannot express.
        """


class MakeRenderer(Protocol):
    """Makes the renderer of a stream: it relays, translates, or (for a plain caller) assembles."""

    def __call__(self, ask: Ask, pairing: Pairing, backend: Backend, *, created: int = 0) -> Renderer:
        """`created`: seconds since the epoch, for answers from a format without a time."""


class RenderWhole(Protocol):
    """Makes the body for a plain caller: `raw` if the formats are the same, otherwise translated."""

    def __call__(
        self, ask: Ask, pairing: Pairing, backend: Backend, raw: bytes, payload: dict[str, Any], *, created: int = 0
    ) -> bytes:
        """`payload` is the decoded `raw`; `created` as for `MakeRenderer`."""


class Write(Protocol):
    """Writes a request's fields. Raises `BadRequest` for values that the format cannot express."""

    def __call__(self, asked: Conversation, target: Target = ANY, dropped: list[str] | None = None) -> dict[str, Any]:
        """`target`: the backend that gets it. `dropped` gets the caller's names of fields that are left out."""


class EventReader(Protocol):
    """Reads one stream as neutral events. Raises `AttemptFailed` (malformed)."""

    stopped: bool  # a stop reason has come
    over: bool  # the stream is complete

    def read(self, payload: dict[str, Any]) -> list[answer.Event]:
        """The neutral events of one decoded event."""

    def check(self) -> None:
        """Raises an error at the end of a stream with incomplete content."""


class EventWriter(Protocol):
    """Writes one stream of neutral events for a caller."""

    def write(self, event: answer.Event) -> bytes:
        """The bytes of an event; empty: nothing yet."""

    def end(self) -> bytes:
        """The end of the stream, after the stop reason."""

    def place(self) -> Place | None:
        """See `Renderer`."""


class FormatRecord(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All properties that every format has. Every field is required, so no format can lack one."""

    format: Format
    operation: Operation  # of its callers
    title: str  # for messages, e.g. "OpenAI"

    # Callers of this format.
    path: str  # e.g. "/v1/chat/completions"
    key: str  # header in which its SDK sends an API key, e.g. "x-api-key"; see `identify.keys.presented_key`
    request_id: str  # header in which its SDK looks for the id of a request
    look: Callable[[bytes], Look]  # the model in a body that is not decoded yet. Raises `BadRequest`
    read: Callable[[bytes, dict[str, str]], Ask]  # body and headers. Raises `BadRequest`
    error_body: Callable[[WeirError, str], bytes]  # with the request's id

    # Upstreams of this format.
    question: bytes | None  # the tiny request of `call.confirm`: a token or two; None: the smallest is dear
    answer_headers: tuple[str, ...]  # headers of an upstream's answer that the caller gets
    prepare: Prepare
    skim_whole: Callable[[Ask, bytes], Usage | None]  # usage of an answer that stays unchanged; None: read it
    read_whole: Callable[[Any], Whole]  # raises `AttemptFailed` for an error inside a 200 or a malformed body
    render_whole: RenderWhole
    failure: Callable[[int, Mapping[str, str], bytes, frozenset[str]], AttemptFailed]  # the failure in an error answer


class RelayedRecord(FormatRecord, frozen=True, kw_only=True, eq=False):
    """A format whose answers may reach the caller in parts."""

    error_event: Callable[[WeirError, str, Place | None], bytes]  # the last event of a stream, broken at this place


class StreamedRecord(RelayedRecord, frozen=True, kw_only=True, eq=False):
    """A format whose answers may be streams, which Weir reads."""

    reader: Callable[[], Reader]
    normal_ends: frozenset[str]  # stop reasons of answers that are neither cut off nor filtered
    renderer: MakeRenderer


class ConversationRecord(StreamedRecord, frozen=True, kw_only=True, eq=False):
    """A format of conversations. Any two of them are translated into each other, through the neutral form."""

    name: WireFormat  # in a backend's `formats`
    turns: str  # field of a request that holds the conversation, e.g. "messages"
    mark: str | None  # header that identifies such a caller on a path of all formats; None: none does
    model: Callable[[Listed], dict[str, Any]]  # one entry of GET /v1/models
    listing: Callable[[Sequence[Listed], Mapping[str, str]], dict[str, Any]]  # sorted by name, and the query
    counting: Counting | None  # of tokens, without an answer; None: it has no such path
    understand: Callable[[Checked, str], Conversation]  # a body, and the model's name. Raises `BadRequest`
    fields: frozenset[str]  # names of a request's fields that it knows, at any depth
    write: Write
    table: Table  # the fate of each field of a conversation in `write`
    read_answer: Callable[[dict[str, Any]], Answer]  # raises `AttemptFailed` (malformed)
    write_answer: Callable[[Answer, Ask, int, str], dict[str, Any]]  # for the caller; seconds since the epoch, realm
    event_reader: Callable[[], EventReader]
    event_writer: Callable[[Ask, int, str], EventWriter]  # for the caller; seconds since the epoch, realm
    needs_state: Callable[[bytes], bool] | None  # whether a body uses or leaves state; None: servers keep none
