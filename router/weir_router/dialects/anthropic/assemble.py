"""Assembles an Anthropic stream into the answer that the same request would have got without a stream.

Used through `relay.Assembled`. A block's start holds everything but the fields of its deltas, so unknown blocks
survive. Texts of unknown deltas are joined; for other values the last one stays.
"""

from __future__ import annotations

from typing import Any

from weir_router.dialects.anthropic.stream import index_of
from weir_router.dialects.wire import sse
from weir_router.dialects.wire.lossy import is_several, lossy
from weir_router.dialects.wire.relay import LoneText

_NOT_IN_ANSWERS = frozenset({"type", "delta", "usage"})


class AnthropicAssembler:
    """The assembler of one answer."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: list[_Block] = []
        self._last: dict[int, _Block] = {}  # of each index: some servers give all blocks the same

    def feed(self, payload: dict[str, Any]) -> None:
        """Adds an event."""
        match payload.get("type"):
            case "message_start":
                self._message = dict(payload["message"])
                self._add_usage(self._message.get("usage"))
            case "content_block_start":
                index = index_of(payload)
                self._last[index] = block = _Block(index, payload["content_block"])
                self._blocks.append(block)
            case "content_block_delta":
                self._last[index_of(payload)].add(payload["delta"])
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
        return LoneText(said[0], self._last[index_of(payload)].texts[said[0]])

    def answer(self) -> dict[str, Any]:
        """The whole answer."""
        blocks = self._blocks
        if len(self._last) == len(blocks):
            blocks = sorted(blocks, key=lambda block: block.index)
        content = [block.whole() for block in blocks]
        answer = {**self._message, "content": [*(self._message.get("content") or ()), *content]}
        if self._usage:
            answer["usage"] = self._usage
        return answer

    def _add_usage(self, usage: dict[str, Any] | None) -> None:
        """Counts are for the whole answer so far, so the last one stays."""
        for name, value in (usage or {}).items():
            if value is not None or name not in self._usage:
                self._usage[name] = value


class _Block:
    """A content block under way."""

    __slots__ = ("_citations", "_start", "index", "texts")

    def __init__(self, index: int, start: dict[str, Any]) -> None:
        self.index = index
        self.texts: dict[str, list[str]] = {}  # pieces, by the name of the delta's field
        self._start = dict(start)
        self._citations: list[Any] | None = None

    def add(self, delta: dict[str, Any]) -> None:
        """Adds a delta."""
        for name, value in delta.items():
            if name == "type":
                continue
            if name == "citation":
                if self._citations is None:
                    self._citations = list(self._start.get("citations") or ())
                self._citations.append(value)
            elif isinstance(value, str):
                self.texts.setdefault(name, []).append(value)
            else:
                self._start[name] = value

    def whole(self) -> dict[str, Any]:
        """The block, with its texts joined. Raises `AttemptFailed` (lossy) for calls that are mixed up."""
        block = self._start
        texts = {name: "".join(pieces) for name, pieces in self.texts.items()}
        arguments = texts.pop("partial_json", "")
        for name, text in texts.items():
            start = block.get(name)
            block[name] = start + text if isinstance(start, str) else text
        if self._citations is not None:
            block["citations"] = self._citations
        if arguments:
            block["input"] = _input(arguments, block.get("input"))
        return block


def _input(arguments: str, start: Any) -> Any:
    """A tool's input. If `max_tokens` cut it off, it is not JSON, and the block keeps its first value."""
    try:
        return sse.loads(arguments.encode("utf-8", "surrogatepass"))
    except ValueError:
        if is_several(arguments):
            raise lossy("its tool calls are mixed up") from None
        return {} if start is None else start
