"""Anthropic Messages as an upstream. Satisfies `base.Provider`; used by `call.attempt`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from weir_router.contract import Backend, Dialect
from weir_router.dialects import translate
from weir_router.dialects.anthropic.assemble import AnthropicAssembler
from weir_router.dialects.anthropic.failures import TABLE
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Outgoing, Reader, Renderer, Signal, Whole
from weir_router.dialects.wire import failures, skim
from weir_router.dialects.wire.fit import fit
from weir_router.dialects.wire.headers import Kept
from weir_router.dialects.wire.outgoing import HEADERS_KEPT, body_of, count
from weir_router.dialects.wire.relay import Assembled, Relay, encode
from weir_router.dialects.wire.sse import skimmed
from weir_router.errors import AttemptFailed, FailureKind
from weir_router.record.events import Usage

PATH = "/v1/messages"
DEFAULT_VERSION = "2023-06-01"
"""`anthropic-version` where the caller named none: the only one that knows today's streams."""

_EVENT = b"event: content_block_delta\ndata: {"
STOP_EVENT = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

_FILLED_BY_DELTAS = {"text": "text", "thinking": "thinking"}
"""Blocks that start empty, and the field that their deltas fill; every other block is content from its start."""

# Bound once: an IntFlag's members are slow to look up, and `read` runs for every chunk.
_NONE, _CONTENT, _STOP, _DONE = Signal.NONE, Signal.CONTENT, Signal.STOP, Signal.DONE


def prepare(ask: Ask, backend: Backend, credential: str | None, *, stream: bool, as_asked: bool = False) -> Outgoing:
    """See `base.Provider`. Raises `BadRequest` for what the dialect cannot say."""
    same = ask.dialect is Dialect.ANTHROPIC
    fields: dict[str, Any] = dict(ask.raw) if same else translate.request(ask, Dialect.ANTHROPIC)
    stream = ask.stream if as_asked else stream
    if stream != ask.stream or not same:
        fields["stream"] = stream
    if same and (messages := _without_borrowed_thinking(ask.body["messages"])) is not None:
        fields["messages"] = messages
    fields["model"] = backend.model
    fit(fields, backend, ask.prompt)
    headers = _headers(credential, tuple(ask.headers.items()) if same else ())
    added = frozenset({"stream"}) if stream and not ask.stream else frozenset()
    return Outgoing(PATH, headers, body_of(fields), added.intersection(fields))


@lru_cache(HEADERS_KEPT)  # see `openai`
def _headers(credential: str | None, passed_on: tuple[tuple[str, str], ...]) -> Kept:
    headers = {"content-type": "application/json", "anthropic-version": DEFAULT_VERSION, **dict(passed_on)}
    if credential is not None:
        headers["x-api-key"] = credential
    return Kept(headers)


def _without_borrowed_thinking(messages: list[Any]) -> list[Any] | None:
    """The conversation without thinking that another dialect's model did; None: there is none of it.

    `translate` shows such thinking to an Anthropic caller with an empty signature. The caller's SDK sends it back with
    the next turn, perhaps to another model, and Anthropic refuses a thinking block that it did not sign.
    """

    def borrowed(block: Any) -> bool:
        return isinstance(block, dict) and block.get("type") == "thinking" and block.get("signature") == ""

    result, found = [], False
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list) and any(map(borrowed, content)):
            found = True
            kept = [block for block in content if not borrowed(block)]
            message = {**message, "content": kept} if kept else None
        if message is not None:
            result.append(message)
    return result if found else None


def reader() -> Reader:
    """See `base.Provider`."""
    return AnthropicReader()


class AnthropicReader:
    """Reads one stream."""

    __slots__ = ("_counts", "content_events", "stop_reason", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.stop_reason: str | None = None
        self.content_events = 0
        self._counts: dict[str, Any] = {}

    def read(self, payload: dict[str, Any]) -> Signal:
        """See `base.Reader`."""
        try:
            if payload["type"] == "content_block_delta":
                carries = _delta_carries_content(payload["delta"])
            else:
                read = _READ.get(payload["type"])
                signal = _NONE if read is None else read(self, payload)
                carries = signal is _CONTENT
        except (TypeError, AttributeError, KeyError):
            if isinstance(payload, dict) and failures.is_error(payload):  # an error without the dialect's envelope
                raise failures.from_payload(TABLE, payload) from None
            raise failures.malformed("an event that is not what the dialect says") from None
        if carries:
            self.content_events += 1
            return _CONTENT
        return _NONE if payload["type"] == "content_block_delta" else signal

    def skim(self, part: bytes) -> Signal | None:
        """See `base.Reader`."""
        if part == STOP_EVENT:
            return None if self.stop_reason is None else _DONE
        event = skimmed(part, _EVENT, skim.block_delta)
        brings_text = event is not None and event.type == "content_block_delta" and event.delta.text
        return _CONTENT if brings_text else None

    def _message_start(self, payload: dict[str, Any]) -> Signal:
        message = payload["message"]
        self._add_usage(message.get("usage"))
        return _CONTENT if message.get("content") else _NONE

    def _block_start(self, payload: dict[str, Any]) -> Signal:
        block = payload["content_block"]
        field = _FILLED_BY_DELTAS.get(block["type"])
        return _CONTENT if field is None or block.get(field) else _NONE

    def _message_delta(self, payload: dict[str, Any]) -> Signal:
        self._add_usage(payload.get("usage"))
        reason = (payload.get("delta") or {}).get("stop_reason")
        if not reason:
            return _NONE
        if not isinstance(reason, str):
            raise TypeError
        self.stop_reason = reason
        return _STOP

    def _message_stop(self, payload: dict[str, Any]) -> Signal:
        if self.stop_reason is None:
            raise AttemptFailed(FailureKind.TRUNCATED, "The upstream ended its stream without a stop reason.")
        return _DONE

    def _error(self, payload: dict[str, Any]) -> Signal:
        raise failures.from_payload(TABLE, payload)

    def _add_usage(self, usage: Any) -> None:
        """Counts are of the whole answer so far: the last one that is given stands."""
        if isinstance(usage, dict):
            self._counts.update({name: value for name, value in usage.items() if value is not None})
            self.usage = usage_of({"usage": self._counts})


_READ = {
    "message_start": AnthropicReader._message_start,
    "content_block_start": AnthropicReader._block_start,
    "message_delta": AnthropicReader._message_delta,
    "message_stop": AnthropicReader._message_stop,
    "error": AnthropicReader._error,
}
"""By event type; unknown ones mean nothing to us and are relayed."""


def _delta_carries_content(delta: dict[str, Any]) -> bool:
    text = delta.get("text")
    if text is None:
        return any(value for name, value in delta.items() if name != "type")
    if type(text) is not str:
        raise TypeError
    return text != ""


def usage_of(payload: dict[str, Any]) -> Usage | None:
    """The answer's `usage`; Anthropic counts cached input beside `input_tokens`, here it is part of it."""
    usage = payload.get("usage")
    if not isinstance(usage, dict):
        return None
    cached, written = count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens")
    return Usage(
        input=count(usage, "input_tokens") + cached + written,
        cached_input=cached,
        cache_write=written,
        output=count(usage, "output_tokens"),
    )


def renderer(ask: Ask, backend: Backend, *, created: int = 0) -> Renderer:
    """See `base.Provider`."""
    if ask.dialect is not Dialect.ANTHROPIC:
        if ask.stream:
            return translate.stream(ask.dialect, ask, created=created)
        return Assembled(AnthropicAssembler(), partial(translate.response, to=ask.dialect, ask=ask, created=created))
    return Relay(STOP_EVENT, b"text") if ask.stream else Assembled(AnthropicAssembler())


def skim_whole(ask: Ask, raw: bytes) -> Usage | None:
    """See `base.Provider`. Its answers have blocks of many kinds, and are all read."""
    return None


def read_whole(payload: Any) -> Whole:
    """See `base.Provider`."""
    if not isinstance(payload, dict):
        raise failures.malformed("an answer that is not a JSON object")
    if payload.get("type") == "error" or failures.is_error(payload):
        raise failures.from_payload(TABLE, payload)
    content, reason = payload.get("content"), payload.get("stop_reason")
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise failures.malformed("an answer without content blocks")
    if reason is not None and not isinstance(reason, str):
        raise failures.malformed("a stop reason that is no text")
    return Whole(usage_of(payload), reason)


def render_whole(ask: Ask, raw: bytes, payload: dict[str, Any], *, created: int = 0) -> bytes:
    """See `base.Provider`."""
    if ask.dialect is Dialect.ANTHROPIC:
        return raw
    return encode(translate.response(payload, ask.dialect, ask, created=created))


def failure(status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
    """See `base.Provider`."""
    return failures.from_answer(TABLE, status, headers, body, added)
