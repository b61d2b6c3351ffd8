"""Anthropic events → OpenAI chunks. Made by the package's `stream`, fed by `call.attempt`."""

from __future__ import annotations

from typing import Any

from weir_router.dialects.base import Event, Signal
from weir_router.dialects.translate.answers import NO_ID_OPENAI, call_id, refusal_of
from weir_router.dialects.translate.fields import as_dict, as_text
from weir_router.dialects.translate.tables import STOP_TO_OPENAI, USED_TIER_TO_OPENAI, usage_to_openai
from weir_router.dialects.wire.failures import malformed
from weir_router.dialects.wire.frame import Frame
from weir_router.dialects.wire.relay import encode


class _Call:
    """A tool call under way."""

    def __init__(self, position: int, given: dict[str, Any]) -> None:
        self.position = position
        self.given = given  # the input that stood in content_block_start; normally empty
        self.streamed = False  # arguments have come as deltas


class OpenAIStream:
    """A `Renderer`; the chunks of one answer."""

    skims = False

    def __init__(self, *, include_usage: bool, created: int) -> None:
        self._include_usage = include_usage
        self._head: dict[str, Any] = {
            "id": NO_ID_OPENAI,
            "object": "chat.completion.chunk",
            "created": created,
            "model": "",
        }
        self._usage: dict[str, Any] = {}
        self._calls: dict[Any, _Call] = {}  # by the block's index
        self._opened = self._stopped = self._ended = False

    def feed(self, event: Event, payload: dict[str, Any] | None, signal: Signal) -> bytes:
        """See `Renderer`."""
        if payload is None or self._ended:
            return b""
        handler = _HANDLERS.get(as_text(payload.get("type")))
        try:
            return handler(self, payload) if handler else b""
        except RecursionError:
            raise malformed("an event that is nested too deeply") from None

    def pass_on(self, part: bytes, signal: Signal) -> bytes | None:
        return None

    def frame(self) -> Frame:
        return Frame()

    def end(self) -> bytes:
        """The usage chunk and `[DONE]`, once; nothing while the upstream has given no stop reason."""
        if self._ended or not self._stopped:
            return b""
        self._ended = True
        usage = b""
        if self._include_usage:
            usage = _line({**self._head, "choices": [], "usage": usage_to_openai(self._usage)})
        return usage + b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        role = b"" if self._opened else self._open()
        return role + self._bare(delta, finish)

    def _bare(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _line({**self._head, "choices": [choice]})

    def _open(self) -> bytes:
        self._opened = True
        return self._bare({"role": "assistant", "content": None, "refusal": None})

    def _message_start(self, payload: dict[str, Any]) -> bytes:
        message = as_dict(payload.get("message"))
        self._head["id"] = as_text(message.get("id")) or NO_ID_OPENAI
        self._head["model"] = as_text(message.get("model"))
        self._usage.update(as_dict(message.get("usage")))
        if tier := USED_TIER_TO_OPENAI.get(as_text(self._usage.get("service_tier"))):
            self._head["service_tier"] = tier
        return b"" if self._opened else self._open()

    def _block_start(self, payload: dict[str, Any]) -> bytes:
        block, index = as_dict(payload.get("content_block")), _index(payload)
        kind = block.get("type")
        if kind == "text":
            return self._text("content", block.get("text"))
        if kind == "thinking":
            return self._text("reasoning_content", block.get("thinking"))
        if kind != "tool_use":
            return b""
        if not (name := as_text(block.get("name"))):
            raise malformed("a tool_use block without a name")
        call = self._calls[index] = _Call(len(self._calls), as_dict(block.get("input")))
        opening = {
            "index": call.position,
            "id": call_id(block.get("id"), self._head["id"], call.position),
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        return self._chunk({"tool_calls": [opening]})

    def _block_delta(self, payload: dict[str, Any]) -> bytes:
        delta = as_dict(payload.get("delta"))
        kind = delta.get("type")
        if kind == "text_delta":
            return self._text("content", delta.get("text"))
        if kind == "thinking_delta":
            return self._text("reasoning_content", delta.get("thinking"))
        if kind != "input_json_delta" or not (part := as_text(delta.get("partial_json"))):
            return b""
        if (call := self._calls.get(_index(payload))) is None:
            raise malformed("an input_json_delta for a block that is no tool_use")
        call.streamed = True
        return self._arguments(call, part)

    def _block_stop(self, payload: dict[str, Any]) -> bytes:
        call = self._calls.get(_index(payload))
        if call is None or call.streamed:
            return b""
        call.streamed = True
        # A tool without input sends no delta, but arguments must be JSON.
        return self._arguments(call, encode(call.given).decode())

    def _message_delta(self, payload: dict[str, Any]) -> bytes:
        given = as_dict(payload.get("usage"))
        self._usage.update({key: value for key, value in given.items() if value is not None})
        delta = as_dict(payload.get("delta"))
        stop = as_text(delta.get("stop_reason"))
        if not stop or self._stopped:
            return b""
        self._stopped = True
        refusal = refusal_of(delta) if stop == "refusal" else ""
        told = self._chunk({"refusal": refusal}) if refusal else b""
        return told + self._chunk({}, STOP_TO_OPENAI.get(stop, "stop"))

    def _message_stop(self, payload: dict[str, Any]) -> bytes:
        return self.end()

    def _text(self, field: str, text: Any) -> bytes:
        return self._chunk({field: text}) if as_text(text) else b""

    def _arguments(self, call: _Call, part: str) -> bytes:
        return self._chunk({"tool_calls": [{"index": call.position, "function": {"arguments": part}}]})


_HANDLERS = {
    "message_start": OpenAIStream._message_start,
    "content_block_start": OpenAIStream._block_start,
    "content_block_delta": OpenAIStream._block_delta,
    "content_block_stop": OpenAIStream._block_stop,
    "message_delta": OpenAIStream._message_delta,
    "message_stop": OpenAIStream._message_stop,
}


def _index(payload: dict[str, Any]) -> int:
    index = payload.get("index", 0)
    if not isinstance(index, int):
        raise malformed("a content block whose index is no number")
    return index


def _line(chunk: dict[str, Any]) -> bytes:
    return b"data: " + encode(chunk) + b"\n\n"
