"""Assembles an Anthropic stream into the answer that the same request would have got without a stream.

Used through `relay.Assembled`. A block's start holds everything but the fields of its deltas, so unknown blocks
survive. Texts of unknown deltas are joined; for other values the last one stays.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.wire import positions, sse
from weir_router.dialects.wire.relay import LoneText

_NOT_IN_ANSWERS = frozenset({"type", "delta", "usage"})


class AnthropicAssembler:
    """The assembler of one answer."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, dict[str, list[str]]] = {}
        self._citations: dict[int, list[Any]] = {}

    def feed(self, payload: dict[str, Any]) -> None:
        """Adds an event."""
        match payload.get("type"):
            case "message_start":
                self._message = dict(payload["message"])
                self._add_usage(self._message.get("usage"))
            case "content_block_start":
                self._begin(positions.position(payload["index"]), payload["content_block"])
            case "content_block_delta":
                self._add_delta(payload["index"], payload["delta"])
            case "message_delta":
                self._message.update({k: v for k, v in payload.items() if k not in _NOT_IN_ANSWERS})
                self._message.update(payload.get("delta") or {})
                self._add_usage(payload.get("usage"))

    def lone_text(self, payload: dict[str, Any]) -> LoneText | None:
        """See `relay.Assembler`."""
        if payload["type"] != "content_block_delta":
            return None
        delta = payload["delta"]
        said = [name for name in delta if name != "type"]
        if len(said) != 1 or said[0] == "citation" or not isinstance(delta[said[0]], str):
            return None
        return LoneText(said[0], self._texts[payload["index"]][said[0]])

    def answer(self) -> dict[str, Any]:
        """The whole answer."""
        content = [self._block(index) for index in sorted(self._blocks)]
        answer = {**self._message, "content": [*(self._message.get("content") or ()), *content]}
        if self._usage:
            answer["usage"] = self._usage
        return answer

    def _add_usage(self, usage: dict[str, Any] | None) -> None:
        """Counts are for the whole answer so far, so the last one stays."""
        for name, value in (usage or {}).items():
            if value is not None or name not in self._usage:
                self._usage[name] = value

    def _begin(self, index: int, start: dict[str, Any]) -> None:
        self._blocks[index] = dict(start)
        self._texts[index] = {}
        self._citations.pop(index, None)

    def _add_delta(self, index: int, delta: dict[str, Any]) -> None:
        block, texts = self._blocks[index], self._texts[index]
        for name, value in delta.items():
            if name == "type":
                continue
            if name == "citation":
                citations = self._citations.setdefault(index, list(block.get("citations") or ()))
                citations.append(value)
            elif isinstance(value, str):
                texts.setdefault(name, []).append(value)
            else:
                block[name] = value

    def _block(self, index: int) -> dict[str, Any]:
        block = self._blocks[index]
        texts = {name: "".join(pieces) for name, pieces in self._texts[index].items()}
        arguments = texts.pop("partial_json", "")
        for name, text in texts.items():
            start = block.get(name)
            block[name] = start + text if isinstance(start, str) else text
        if index in self._citations:
            block["citations"] = self._citations[index]
        if arguments:
            block["input"] = _input(arguments, block.get("input"))
        return block


def _input(arguments: str, start: Any) -> Any:
    """A tool's input. If `max_tokens` cut it off, it is not JSON, and the block keeps its first value."""
    try:
        return sse.loads(arguments.encode("utf-8", "surrogatepass"))
    except ValueError:
        return {} if start is None else start
