"""OpenAI chat completions as an upstream, as every compatible server speaks it.

Satisfies `base.Provider`; used by `call.attempt`. No I/O, and nothing of failover: see `failures` for what errors mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from weir_router.contract import Backend, Dialect
from weir_router.dialects import translate
from weir_router.dialects.ask import Ask
from weir_router.dialects.base import Outgoing, Reader, Renderer, Signal, Whole
from weir_router.dialects.openai_chat.assemble import OpenAIAssembler
from weir_router.dialects.openai_chat.failures import TABLE
from weir_router.dialects.wire import failures, skim
from weir_router.dialects.wire.fit import fit
from weir_router.dialects.wire.headers import Kept
from weir_router.dialects.wire.outgoing import HEADERS_KEPT, body_of, count
from weir_router.dialects.wire.relay import Assembled, Relay, UsageHidingRelay, encode
from weir_router.dialects.wire.skim import Choice
from weir_router.dialects.wire.sse import is_text, skimmed
from weir_router.errors import AttemptFailed, FailureKind
from weir_router.record.events import Usage

PATH = "/chat/completions"
DONE_EVENT = b"data: [DONE]\n\n"

_EVENT = b"data: {"

_CONTENT_FIELDS = tuple(name for name in skim.Delta.__struct_fields__ if name != "content")
"""Of a delta, besides `content`: any of them, not empty, is the commit point."""

_FAILED_REASONS = {
    "error": FailureKind.SERVER,  # OpenRouter
    "insufficient_system_resource": FailureKind.OVERLOAD,  # DeepSeek
}
"""Finish reasons that say that the answer broke off, not that it ended."""

# Bound once: an IntFlag's members and operators are slow, and `read` runs for every chunk.
_OPENAI = Dialect.OPENAI
_NOTHING: frozenset[str] = frozenset()
_STREAM, _USAGE = frozenset({"stream"}), frozenset({"stream_options"})
_NONE, _CONTENT, _STOP, _DONE, _HIDE = Signal.NONE, Signal.CONTENT, Signal.STOP, Signal.DONE, Signal.HIDE
_CONTENT_AND_STOP = Signal.CONTENT | Signal.STOP


def prepare(ask: Ask, backend: Backend, credential: str | None, *, stream: bool, as_asked: bool = False) -> Outgoing:
    """See `base.Provider`. Raises `BadRequest` for what the dialect cannot say."""
    same = ask.dialect is _OPENAI
    fields: dict[str, Any] = dict(ask.raw) if same else translate.request(ask, _OPENAI)
    stream = ask.stream if as_asked else stream
    added = _NOTHING
    if stream != ask.stream or not same:
        fields["stream"] = stream
        if stream and not ask.stream:
            added = _STREAM
    if stream and not as_asked:
        added |= _ask_for_usage(fields, ask.body.get("stream_options") if same else None)
    elif not stream and ask.stream:
        fields.pop("stream_options", None)  # refused without a stream
    fields["model"] = backend.model
    fit(fields, backend, ask.prompt)
    headers = _headers(credential, tuple(ask.headers.items()) if same and ask.headers else ())
    return Outgoing(PATH, headers, body_of(fields), added.intersection(fields) if added else added)


@lru_cache(HEADERS_KEPT)  # all requests with a credential have the same, but for what callers' own headers add
def _headers(credential: str | None, passed_on: tuple[tuple[str, str], ...]) -> Kept:
    headers = {"content-type": "application/json", **dict(passed_on)}
    if credential is not None:
        headers["authorization"] = f"Bearer {credential}"
    return Kept(headers)


def _ask_for_usage(fields: dict[str, Any], asked: Any) -> frozenset[str]:
    """Usage at the end of a stream, whoever wants it: without it nothing can be accounted for."""
    options = asked if isinstance(asked, dict) else {}
    if options.get("include_usage") is True:
        return _NOTHING
    fields["stream_options"] = {**options, "include_usage": True}
    return _USAGE


def reader() -> Reader:
    """See `base.Provider`."""
    return OpenAIReader()


class OpenAIReader:
    """Reads one stream."""

    __slots__ = ("_finished", "_seen", "content_events", "stop_reason", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.stop_reason: str | None = None  # once every choice that was seen has its own
        self.content_events = 0
        self._seen: set[object] = set()  # indexes of choices
        self._finished: set[object] = set()

    def read(self, payload: Any) -> Signal:
        """See `base.Reader`."""
        try:
            choices = payload.get("choices")
            if payload.get("error") or not choices:
                return self._without_choices(payload)
            content = stop = False
            for choice in choices:
                delta = choice.get("delta")
                if delta and _carries_content(delta):
                    content = True
                index = choice.get("index")
                if index is None:  # some servers leave it out
                    index = 0
                self._see(index)
                if choice.get("finish_reason"):
                    stop = self._finish(_finish_reason(choice), index)
            if payload.get("usage") is not None:
                self.usage = usage_of(payload) or self.usage
        except (TypeError, AttributeError, KeyError):
            raise failures.malformed("a chunk that is not what the dialect says") from None
        if content:
            self.content_events += 1
            return _CONTENT_AND_STOP if stop else _CONTENT
        return _STOP if stop else _NONE

    def skim(self, part: bytes) -> Signal | None:
        """See `base.Reader`."""
        if part == DONE_EVENT:
            return None if self.stop_reason is None else _DONE
        chunk = skimmed(part, _EVENT, skim.chunk)
        if chunk is None or chunk.error:
            return None
        choices, usage = chunk.choices, chunk.usage
        if len(choices) == 1 and usage is None:
            return self._skim_choice(choices[0])
        if choices or type(usage) is not dict or chunk.object == "error":
            return None
        self.usage = _counted(usage)
        return _HIDE

    def _skim_choice(self, choice: Choice) -> Signal | None:
        text, reason = choice.delta.content, choice.finish_reason
        if choice.error or choice.object == "error" or _says_more(choice.delta):
            return None
        if reason and (text or reason in _FAILED_REASONS):
            return None
        self._see(choice.index)
        if not reason:
            return _CONTENT if text else _NONE  # the role
        return _STOP if self._finish(reason, choice.index) else _NONE

    def _without_choices(self, payload: dict[str, Any]) -> Signal:
        if failures.is_error(payload):
            raise failures.from_payload(TABLE, payload)
        if payload.get("choices") not in (None, []):
            raise failures.malformed("`choices` that are no list")
        usage = usage_of(payload)
        if usage is None:
            return _NONE  # Azure's prompt filter results, and pings
        self.usage = usage
        return _HIDE

    def _see(self, index: object) -> None:
        if index not in self._seen:
            self._seen.add(index)
            self.stop_reason = None

    def _finish(self, reason: str | None, index: object) -> bool:
        self._finished.add(index)
        if self._finished < self._seen:
            return False
        self.stop_reason = reason
        return True


def _says_more(delta: skim.Delta) -> bool:
    """Whether there is content besides text."""
    thought = delta.reasoning_content or delta.reasoning or delta.reasoning_details
    return bool(thought or delta.refusal or delta.tool_calls or delta.function_call or delta.audio or delta.images)


def _carries_content(delta: dict[str, Any]) -> bool:
    content = delta.get("content")
    if content:
        if type(content) is not str and type(content) is not list:
            raise failures.malformed("content that is no text")
        return True
    if len(delta) == 1:  # {"content": ""}, or the role alone
        return any(delta.get(name) for name in _CONTENT_FIELDS) if content is None else False
    return any(delta.get(name) for name in _CONTENT_FIELDS)


def _finish_reason(choice: dict[str, Any]) -> str | None:
    reason = choice.get("finish_reason")
    if reason is not None and not isinstance(reason, str):
        raise failures.malformed("a finish reason that is no text")
    if failures.is_error(choice):
        raise failures.from_payload(TABLE, choice)
    if reason in _FAILED_REASONS:
        raise AttemptFailed(
            _FAILED_REASONS[reason], f"The upstream ended its answer with the reason {reason!r}.", code=reason
        )
    return reason or None


def usage_of(payload: dict[str, Any]) -> Usage | None:
    """The answer's `usage`, in the variants of OpenAI, DeepSeek, xAI, OpenRouter and vLLM; None where there is none."""
    usage = payload.get("usage")
    return _counted(usage) if isinstance(usage, dict) else None


def _counted(usage: dict[str, Any]) -> Usage:
    prompt_details = _object(usage, "prompt_tokens_details")
    given, output = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    details = _object(usage, "completion_tokens_details")
    reasoning = count(details, "reasoning_tokens") if details else 0
    if reasoning and count(usage, "total_tokens") == given + output + reasoning:
        output += reasoning  # xAI counts them apart
    cached = write = 0
    if prompt_details:
        cached, write = count(prompt_details, "cached_tokens"), count(prompt_details, "cache_write_tokens")
    if not cached and "prompt_cache_hit_tokens" in usage:
        cached = count(usage, "prompt_cache_hit_tokens")
    return Usage(given, cached, write, output, reasoning)


def _object(fields: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = fields.get(name)
    return value if isinstance(value, dict) else None


def renderer(ask: Ask, backend: Backend, *, created: int = 0) -> Renderer:
    """See `base.Provider`."""
    if ask.dialect is not _OPENAI:
        if ask.stream:
            return translate.stream(ask.dialect, ask, created=created)
        return Assembled(OpenAIAssembler(), partial(translate.response, to=ask.dialect, ask=ask, created=created))
    if not ask.stream:
        return Assembled(OpenAIAssembler())
    return (Relay if ask.include_usage else UsageHidingRelay)(DONE_EVENT, b"content")


def skim_whole(ask: Ask, raw: bytes) -> Usage | None:
    """See `base.Provider`."""
    if ask.stream or ask.dialect is not _OPENAI:
        return None
    if not is_text(raw):
        return None
    try:
        whole = skim.whole(raw)
    except ValueError:
        return None
    if len(whole.choices) != 1:
        return None
    choice = whole.choices[0]
    if whole.error or choice.error or whole.object == "error" or choice.object == "error":
        return None
    ended = choice.message.content and choice.finish_reason and choice.finish_reason not in _FAILED_REASONS
    return _counted(whole.usage) if ended else None


def read_whole(payload: Any) -> Whole:
    """See `base.Provider`."""
    if not isinstance(payload, dict):
        raise failures.malformed("an answer that is not a JSON object")
    if failures.is_error(payload):
        raise failures.from_payload(TABLE, payload)
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices:
        raise failures.malformed("an answer without choices")
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise failures.malformed("a choice without a message")
    reasons = [_finish_reason(choice) for choice in choices]
    for reason, choice in zip(reasons, choices, strict=True):
        if not reason and not _carries_content(choice["message"]):
            raise AttemptFailed(
                FailureKind.TRUNCATED, "The upstream answered with neither content nor a finish reason."
            )
    return Whole(usage_of(payload), reasons[0])


def render_whole(ask: Ask, raw: bytes, payload: dict[str, Any], *, created: int = 0) -> bytes:
    """See `base.Provider`."""
    if ask.dialect is _OPENAI:
        return raw
    return encode(translate.response(payload, ask.dialect, ask, created=created))


def failure(status: int, headers: Mapping[str, str], body: bytes, added: frozenset[str]) -> AttemptFailed:
    """See `base.Provider`."""
    return failures.from_answer(TABLE, status, headers, body, added)
